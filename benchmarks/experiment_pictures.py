"""Draws what the classifier sees in each experiment, on the handwritten digits.

    python -m benchmarks.experiment_pictures --output docs/experiments
    python -m benchmarks.experiment_pictures --output docs/experiments --experiments cutout mixup

First trains the generators, one for each kind of mix, with the settings of ``configs/digits.py``, which takes some
minutes on two cores. Generators that are already in ``--runs`` are used again.
"""

import argparse
import tempfile
from collections.abc import Sequence
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
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.run import Run, load_dataset
from chimeramix_jax.runs.workdir import Workdir

CONFIG = Path(__file__).parents[1] / "configs" / "digits.py"
SHOWN = 3  # examples of each image, each augmented or mixed again


def main(command_line: Sequence[str] | None = None) -> None:
    """Writes ``<experiment>.png`` for every experiment, or for those on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs that train the generators")
    parser.add_argument(
        "--experiments", nargs="+", choices=EXPERIMENTS, default=list(EXPERIMENTS), metavar="NAME", help="default: all"
    )
    arguments = parser.parse_args(command_line)
    for experiment in arguments.experiments:
        config = settings.load(f"{CONFIG}:{experiment}")
        if config.augment.cutmix_probability:
            config.augment.cutmix_probability = 1.0  # to show batches that have a rectangle
        path = arguments.output / f"{experiment}.png"
        pictures.save_png(path, picture(config, arguments.runs))
        print(path, flush=True)


def picture(config: ConfigDict, runs: Path) -> Image.Image:
    """Draws a digit of every class: the image itself, and what the classifier sees instead."""
    with tempfile.TemporaryDirectory() as scratch:
        workdir: Path = Path(scratch)
        if settings.needs_generator(config):
            trained = first_with_the_same_generator(config)
            workdir = runs / f"pictures-{trained}"
            train_and_evaluate(settings.load(f"{CONFIG}:{trained}"), workdir, stage="generator")
        directory = Workdir(workdir)
        run = Run(Request(config, directory), load_dataset(config), directory)
        stage = run.classifier_stage(mixes=config.mixing.mask != "none")
        labels = np.asarray(stage.inputs.data.labels)
        indices = jnp.asarray([np.flatnonzero(labels == label)[0] for label in range(len(run.dataset.class_names))])
        shown = jax.jit(stage.batches.images)
        mixes = config.mixing.mask != "none"
        rows: dict[str, np.ndarray | jax.Array] = {"image": np.asarray(stage.inputs.data.images[indices]) / 127.5 - 1}
        for number in range(SHOWN):
            key = jax.random.key(number)
            images = shown(key, stage.inputs.data, stage.inputs.networks, indices, mixes)
            blend = stage.batches.blend(key, images, None, jnp.asarray(False))
            rows[f"shown, {number + 1}"] = images if blend is None else blend.blend(images)
        return pictures.image_sheet(rows, run.dataset.class_names)


def first_with_the_same_generator(config: ConfigDict) -> str:
    """Returns the name of the first experiment that trains the generator of these settings, which may be their own."""
    wanted = settings.generator_identity(config)
    candidates = {name: settings.load(f"{CONFIG}:{name}") for name in EXPERIMENTS}
    return next(
        name
        for name, candidate in candidates.items()
        if settings.needs_generator(candidate) and settings.generator_identity(candidate) == wanted
    )


if __name__ == "__main__":
    main()
