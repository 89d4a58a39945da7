"""Times what the runs that ``:auto`` compares take beside their steps: the first of a recipe, and two later ones.

    python -m benchmarks.trials --images=FOLDER

The first run of each recipe traces and compiles its programs. The second has another length and the third is of
another fold, so both find them.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.auto.halving import Cost, Schedule
from chimeramix_jax.auto.menu import config_of
from chimeramix_jax.auto.trials import TIMING, FoldTrials
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import compilation_cache

RECIPES = "mixup_trivialaugment,chimeramix_grid"
RUNS = (("first", TIMING, 1, 1), ("another length", "rung-1", 2, 1), ("another fold", "rung-1", 2, 2))


def measured(config: ConfigDict, recipes: Sequence[str], folder: Path) -> Iterator[tuple[str, str, float, Cost]]:
    """Yields recipe, run, processor seconds and cost of every run, all of which are in ``folder``."""
    trials = FoldTrials(config, Workdir(folder), recipes, lambda workdir: None)
    for recipe in recipes:
        mixes = settings.needs_generator(config_of(recipe, config))
        for run, place, epochs, fold in RUNS:
            started = time.process_time()
            _, cost = trials.run(recipe, Schedule(epochs if mixes else 0, epochs), place, fold)
            assert cost is not None  # every run is trained from the beginning
            yield recipe, run, time.process_time() - started, cost


def main() -> None:
    """Prints a line per run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder that holds train/<class>/*")
    parser.add_argument("--images_per_class", type=int, default=20, help="training images of each class")
    parser.add_argument("--recipes", default=RECIPES, help=f"experiments, such as {RECIPES}")
    arguments = parser.parse_args()
    config = settings.load("image_folder:auto")
    config.dataset.directory, config.max_labels_per_class = arguments.images, arguments.images_per_class
    config.folds = 5
    config.generator.num_dataset_repeats_base = config.classifier.num_dataset_repeats_base = 4  # short epochs
    compilation_cache.enable()  # as in the program
    with tempfile.TemporaryDirectory() as folder:
        for recipe, run, processor, cost in measured(config, arguments.recipes.split(","), Path(folder) / "run"):
            print(
                f"{recipe:24} {run:16} processor {processor:5.1f} s, beside the steps {cost.setup:5.1f} s, "
                f"tracing and compiling {cost.compiling:5.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
