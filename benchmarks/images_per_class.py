"""Measures whether an epoch's time depends on the number of images per class. It should not: an epoch's size is fixed.

    python -m benchmarks.images_per_class configs/cifair10.py

Prints, for the published sizes of a few-shot subset, the number of steps in an epoch and their total seconds at the
measured time per step, on images of noise. The sizes take turns step by step, so that other work on the machine affects
all of them alike.
"""

import argparse
import itertools
import statistics
import sys
import time
from collections.abc import Iterator

from chimeramix_jax import config as settings
from chimeramix_jax.runtime import cpu_setup

IMAGES_PER_CLASS = (5, 10, 20, 30, 50, 100)
STEPS = 10


def main() -> None:
    """Prints a line per size and stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file, as for main.py's --config")
    parser.add_argument("--steps", type=int, default=STEPS, help="how many steps are timed after the first")
    arguments = parser.parse_args()
    cpu_setup.prepare()
    import jax  # only now: preparing the CPU must come first

    from benchmarks import memory

    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, python {sys.version.split()[0]}")
    print(f"{'stage':12}  {'images per class':>16}  {'steps':>6}  {'per step':>9}  {'per epoch':>10}")
    for name, make in (("generator", memory.generator_stage), ("classifier", memory.classifier_stage)):
        stages = []
        for images_per_class in IMAGES_PER_CLASS:
            config = settings.load(arguments.config)
            config.max_labels_per_class = images_per_class
            stages.append(make(config))
        medians = seconds_per_step(stages, arguments.steps)
        for images_per_class, stage, seconds in zip(IMAGES_PER_CLASS, stages, medians, strict=True):
            print(
                f"{name:12}  {images_per_class:16}  {stage.plan.steps:6}  {seconds * 1e3:6.0f} ms  "
                f"{seconds * stage.plan.steps:8.1f} s",
                flush=True,
            )


def seconds_per_step(stages, steps: int) -> list[float]:
    """Returns the median time of a step of each stage, without the first step, which compiles."""
    trainings = [training(stage) for stage in stages]
    seconds: list[list[float]] = [[] for _ in stages]
    for _ in range(steps + 1):
        for steps_of_stage, times in zip(trainings, seconds, strict=True):
            times.append(next(steps_of_stage))
    return [statistics.median(times[1:]) for times in seconds]


def training(stage) -> Iterator[float]:
    """Trains a stage endlessly; yields the seconds of each step."""
    import jax

    step = jax.jit(stage.train_step, donate_argnums=0)
    state = jax.jit(stage.initial_state)(jax.random.key(0, impl="rbg"))
    order, counts = stage.plan.order(jax.random.key(0))
    for number in itertools.count():
        started = time.perf_counter()
        mask = None if counts is None else counts[0]
        state, metrics = step(state, stage.inputs, order[number % len(order)], mask, *(2 * [jax.random.key(number)]))
        jax.block_until_ready((state, metrics))
        yield time.perf_counter() - started


if __name__ == "__main__":
    main()
