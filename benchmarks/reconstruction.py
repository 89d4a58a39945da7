"""Measures how well a generator reconstructs unseen images after a given time of training, for several settings.

    python -m benchmarks.reconstruction --images=path/to/images --seconds=60
    python -m benchmarks.reconstruction --images=path/to/images --variant=architecture=patches,learning_rate=2e-3

Trains the generator of ``configs/image_folder.py`` on a few images of each class. Each ``--variant`` changes settings
below ``generator``. The number of epochs is chosen by the time of the first steps, so that every variant trains for
about the same time, with its learning rate dropping as its settings say. The error is the mean squared difference of
images in [-1, 1] and their reconstructions, over images of the train split that are not in the few-shot subset; test
images are not touched. Data sets are prepared in ``--workdir``, where nothing else is written.
"""

import argparse
import statistics
import sys
import time

from ml_collections import ConfigDict

from benchmarks.images_per_class import training
from chimeramix_jax import config as settings
from chimeramix_jax.runtime import cpu_setup

PUBLISHED_AND_FAST = ("architecture=cyclegan", "architecture=patches")
_TIMED_STEPS = 12
_IMAGES = 1000  # unseen images that are reconstructed
_BATCH = 100


def main() -> None:
    """Prints a line per variant and seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="a folder with train/<class>/*")
    parser.add_argument("--images_per_class", type=int, default=20, help="training images of each class")
    parser.add_argument("--seconds", type=float, default=60.0, help="training time of each variant")
    parser.add_argument("--seeds", default="0", help="seeds of the few-shot subsets, such as 0:3")
    parser.add_argument("--variant", action="append", help="settings of the generator; may be given several times")
    parser.add_argument("--workdir", default="runs/reconstruction", help="where the data set is prepared")
    arguments = parser.parse_args()
    cpu_setup.prepare()
    import jax  # only now: preparing the CPU must come first

    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, python {sys.version.split()[0]}")
    print(f"{'seed':4}  {'steps':>6}  {'seconds':>7}  {'seen':>7}  {'unseen':>7}  variant")
    for seed in settings.parse_seeds(arguments.seeds):
        for variant in arguments.variant or PUBLISHED_AND_FAST:
            row = measured(config_of(arguments, seed, variant), arguments.seconds)
            steps, seconds, seen, unseen = row
            print(f"{seed:4}  {steps:6}  {seconds:7.1f}  {seen:7.4f}  {unseen:7.4f}  {variant}", flush=True)


def config_of(arguments: argparse.Namespace, seed: int, variant: str) -> ConfigDict:
    """Returns the folder's settings with those of a variant; raises InputError if one is wrong."""
    config = settings.load("configs/image_folder.py:chimeramix_grid")
    config.dataset.directory, config.dataset.data_dir = arguments.images, f"{arguments.workdir}/data"
    config.dataset.evaluate_on = "validation"
    config.max_labels_per_class, config.seed = arguments.images_per_class, seed
    settings.override(config, [f"--config.generator.{change}" for change in variant.split(",")])
    settings.check(config)
    return config


def measured(config: ConfigDict, seconds: float) -> tuple[int, float, float, float]:
    """Trains a generator for about the given seconds.

    Returns:
        The number of steps, the seconds that they took, and the reconstruction error of seen and of unseen images.
    """
    import jax

    from chimeramix_jax.data import load_few_shot
    from chimeramix_jax.training.generator import GeneratorStage
    from chimeramix_jax.training.stage_data import load_stage_data

    dataset = load_few_shot(config.dataset, config.max_labels_per_class, config.seed)
    images, labels = dataset.train.images, dataset.train.labels
    data = load_stage_data(config, "generator", images, labels, len(dataset.class_names))
    trial = training(GeneratorStage(config, data))
    step_seconds = statistics.median([next(trial) for _ in range(_TIMED_STEPS)][2:])
    config.generator.epochs = max(round(seconds / step_seconds / data.plan.steps), 1)
    stage = GeneratorStage(config, data)
    step = jax.jit(stage.train_step, donate_argnums=0)
    key = jax.random.key(config.seed)
    state = jax.jit(stage.initial_state)(key)
    spent, steps = 0.0, 0
    for epoch in range(config.generator.epochs):
        order, counts = stage.plan.order(jax.random.fold_in(key, epoch))
        for number in range(stage.plan.steps):
            mask = None if counts is None else counts[number]
            step_key = jax.random.fold_in(key, steps)
            started = time.perf_counter()
            state, _ = jax.block_until_ready(step(state, stage.inputs, order[number], mask, step_key, step_key))
            spent += (time.perf_counter() - started) if steps else 0.0  # the first step compiles
            steps += 1
    generator = stage.generator(state)
    return steps, spent, error(generator, images), error(generator, dataset.held_out.images[:: _thinning(dataset)])


def _thinning(dataset) -> int:
    """Returns the distance between the unseen images that are used; their order is that of the files, by class."""
    return max(len(dataset.held_out.images) // _IMAGES, 1)


def error(generator, images) -> float:
    """Returns the mean squared error of reconstructing uint8 images of shape (count, side, side, 3), in [-1, 1]."""
    import jax.numpy as jnp
    import numpy as np
    from flax import nnx

    from chimeramix_jax.augment.geometry import normalize

    @nnx.jit
    def squared(generator, batch):
        batch = normalize(batch)
        return jnp.square(generator.decode(generator.encode(batch)) - batch).mean((1, 2, 3))

    batches = [images[first : first + _BATCH] for first in range(0, len(images), _BATCH)]
    return float(np.concatenate([squared(generator, jnp.asarray(batch)) for batch in batches]).mean())


if __name__ == "__main__":
    main()
