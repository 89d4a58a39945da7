"""Trains recipes of ``:auto`` for several lengths of time, and stores which validation images each predicts correctly.

    python -m benchmarks.choice_lengths --images=FOLDER --seconds=10,30,90 --workdir=runs/lengths/NAME

``benchmarks.choice_shares`` computes from these files how ``:auto`` should divide its time. Each recipe's steps are
timed first, and each length is the time that these take, generator and classifier together, as in a comparison of
``:auto``; what a run takes beside its steps is not counted. A length that has been trained is not trained again.
"""

import argparse
import dataclasses
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.auto import halving
from chimeramix_jax.auto.menu import MENU, family, usual_schedule
from chimeramix_jax.auto.trials import TIMING, FoldTrials
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import compilation_cache


def train(config: ConfigDict, recipe: str, lengths: list[int], workdir: Workdir) -> None:
    """Trains a recipe for each of these numbers of seconds; writes a file for each into ``workdir``."""
    missing = [seconds for seconds in lengths if not _file(workdir, recipe, seconds).exists()]
    if not missing:
        return
    trials = FoldTrials(config, workdir, [recipe, "another"], lambda trial: None)
    usual = usual_schedule(recipe, config)
    shortest = dataclasses.replace(halving.SHORTEST, generator=min(usual.generator, 1))
    _, measured = trials.run(recipe, shortest, TIMING, 0)
    assert measured is not None  # it is always trained from the beginning
    of_steps = {recipe: dataclasses.replace(measured, compiling=0.0, setup=0.0)}
    for seconds in missing:
        families = {recipe: family(recipe, config)}
        schedule = halving.schedules(seconds, 1, of_steps, {recipe: usual}, families)[recipe]
        tried, cost = trials.run(recipe, schedule, f"{seconds}-seconds", 0)
        taken = (cost or measured).training(schedule)
        content = {"correct": tried.correct.tolist(), "taken": taken, "cost": dataclasses.asdict(measured)}
        content |= {"schedule": dataclasses.asdict(schedule), "usual": dataclasses.asdict(usual)}
        files.write_json(_file(workdir, recipe, seconds), content)
        print(
            f"{recipe:32} {seconds:5} s, really {taken:6.1f} s, {schedule}: {100 * tried.correct.mean():.1f} %",
            flush=True,
        )


def _file(workdir: Workdir, recipe: str, seconds: int) -> Path:
    return workdir.path / f"{recipe}-{seconds}.json"


def main() -> None:
    """Trains each recipe, the shortest lengths first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder that holds train/<class>/*")
    parser.add_argument("--images_per_class", type=int, default=20, help="training images of each class")
    parser.add_argument("--recipes", default=",".join(MENU), help="experiments")
    parser.add_argument("--seconds", default="10,30,90", help="lengths of the training")
    parser.add_argument("--seed", type=int, default=100, help="seed of the choice of images and of the training")
    parser.add_argument("--workdir", required=True, help="folder for the runs and the files")
    arguments = parser.parse_args()
    config = settings.load("image_folder:auto")
    config.dataset.directory, config.max_labels_per_class = arguments.images, arguments.images_per_class
    config.dataset.evaluate_on, config.seed = "validation", arguments.seed
    compilation_cache.enable()  # as in the program
    for recipe in arguments.recipes.split(","):
        train(config, recipe, sorted(map(int, arguments.seconds.split(","))), Workdir(arguments.workdir))


if __name__ == "__main__":
    main()
