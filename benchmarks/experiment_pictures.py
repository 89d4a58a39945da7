"""Draws what the classifier sees in each experiment, on the handwritten digits.

    python -m benchmarks.experiment_pictures --output docs/experiments

First trains the generators, one for each kind of mix, with the settings of ``configs/digits.py``, which takes some
minutes on two cores. Generators that are already in ``--runs`` are used again.
"""

import argparse
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from chimeramix_jax import config as settings
from chimeramix_jax import train_and_evaluate
from chimeramix_jax.config.experiments import EXPERIMENTS
from chimeramix_jax.reporting import pictures
from chimeramix_jax.runs.run import Request, Run, load_dataset
from chimeramix_jax.runs.workdir import Workdir

CONFIG = Path(__file__).parents[1] / "configs" / "digits.py"
SHOWN = 3  # examples of each image, each augmented or mixed again


def main() -> None:
    """Writes ``<experiment>.png`` for every experiment."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs that train the generators")
    arguments = parser.parse_args()
    for experiment in EXPERIMENTS:
        config = settings.load(f"{CONFIG}:{experiment}")
        path = arguments.output / f"{experiment}.png"
        pictures.save_png(path, picture(config, arguments.runs))
        print(path, flush=True)


def picture(config: ConfigDict, runs: Path) -> Image.Image:
    """Draws a digit of every class: the image itself, and what the classifier sees instead."""
    with tempfile.TemporaryDirectory() as scratch:
        workdir: Path = Path(scratch)
        if settings.needs_generator(config):
            trained = "_".join(config.experiment.split("_")[:2])  # the experiment without a policy, which shares it
            workdir = runs / f"pictures-{trained}"
            train_and_evaluate(settings.load(f"{CONFIG}:{trained}"), workdir, stage="generator")
        directory = Workdir(workdir)
        run = Run(Request(config, directory), load_dataset(config), directory)
        stage = run.classifier_stage(mixes=config.mixing.mask != "none")
        labels = np.asarray(stage.inputs.data.labels)
        indices = jnp.asarray([np.flatnonzero(labels == label)[0] for label in range(len(run.dataset.class_names))])
        shown = jax.jit(stage.images)
        mixes = config.mixing.mask != "none"
        rows = {"image": np.asarray(stage.inputs.data.images[indices]) / 127.5 - 1}
        for number in range(SHOWN):
            rows[f"shown, {number + 1}"] = shown(jax.random.key(number), stage.inputs, indices, mixes)
        return pictures.image_sheet(rows, run.dataset.class_names)


if __name__ == "__main__":
    main()
