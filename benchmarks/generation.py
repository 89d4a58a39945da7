"""Measures how many mixed images per minute ``--stage=generate`` writes, as PNG files and as array records.

    python -m benchmarks.generation configs/image_folder.py:chimeramix_grid
    python -m benchmarks.generation configs/cifair10.py --count=300

Draws and writes images of a configuration that mixes, using a generator with fresh weights on images of noise. The
first batch of mixes, which includes compilation, is timed separately; the rates are for the images after it.
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data.sampling import ResidentData, to_device
from chimeramix_jax.errors import InputError
from chimeramix_jax.mixing.mixer import Mixer, Parameters
from chimeramix_jax.runtime import cpu_setup
from chimeramix_jax.training.networks import build_discriminator, build_generator
from chimeramix_jax.use.generation import mixes
from chimeramix_jax.use.generation.image_set import WRITERS

CLASSES, IMAGES_PER_CLASS = 10, 10
MIXES = "configs/image_folder.py:chimeramix_grid"


def main(command_line: Sequence[str] | None = None) -> None:
    """Prints a line per file format."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file, as for main.py's --config")
    parser.add_argument("--count", type=int, default=2000, help="how many images are timed (default: 2000)")
    arguments = parser.parse_args(command_line)
    try:
        config = settings.load(arguments.config)
        if config.mixing.mask == "none":
            raise InputError(f"{arguments.config}: mixes no images; name an experiment that does, as in {MIXES}")
    except InputError as error:
        print(f"generation: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    cpu_setup.prepare()
    size = f"{config.classifier.image_side}x{config.classifier.image_side}"
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, python {sys.version.split()[0]}; images of {size}")
    print(f"{'format':12}  {'first batch':>11}  {'images':>6}  {'images a minute':>15}")
    for name in WRITERS:
        first, rate = timed(config, name, arguments.count)
        print(f"{name:12}  {first:9.1f} s  {arguments.count:6}  {60 * rate:15.0f}", flush=True)


def timed(config: ConfigDict, name: str, count: int) -> tuple[float, float]:
    """Returns the seconds until the first batch is drawn, and the images per second after it until all are written."""
    drawn = mixes.draw(*inputs(config), mixes.BATCH_SIZE + count, seed=0)
    started = time.perf_counter()
    next(drawn)
    first = time.perf_counter() - started
    for _ in itertools.islice(drawn, mixes.BATCH_SIZE - 1):
        pass
    names, indices = [str(label) for label in range(CLASSES)], list(range(CLASSES * IMAGES_PER_CLASS))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        WRITERS[name](drawn, names, indices, Path(folder))
        return first, count / (time.perf_counter() - started)


def inputs(config: ConfigDict) -> tuple[Mixer, Parameters, ResidentData]:
    """Returns a mixer, its networks' parameters, and images of noise at the classifier's size."""
    side, random = config.classifier.image_side, np.random.default_rng(0)
    images = random.integers(0, 256, (CLASSES * IMAGES_PER_CLASS, side, side, 3), np.uint8)
    networks = (build_generator(config, nnx.Rngs(0)), build_discriminator(config, nnx.Rngs(1)))
    mixer, parameters = Mixer.of(config, Augmentation.for_classifier(config.augment, side), *networks)
    return mixer, parameters, to_device(images, np.arange(len(images)) % CLASSES, CLASSES)


if __name__ == "__main__":
    main()
