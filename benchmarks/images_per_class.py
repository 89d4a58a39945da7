"""Whether an epoch's time depends on the number of images per class, which it should not: an epoch's size is fixed.

    python -m benchmarks.images_per_class configs/cifair10.py

Prints, for the published sizes of a subset of ten classes, the steps of an epoch and the seconds that they take at the
measured time of a step, on images of noise.
"""

import argparse
import statistics
import sys
import time

from chimeramix_jax import config as settings
from chimeramix_jax import cpu_setup

IMAGES_PER_CLASS = (5, 10, 20, 30, 50, 100)
STEPS = 10


def main() -> None:
    """Prints a line per size and stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file, as for main.py's --config")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps that are timed, after the first")
    arguments = parser.parse_args()
    cpu_setup.prepare()
    import jax  # only now: what prepares the CPU has to come first

    from benchmarks import memory

    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, python {sys.version.split()[0]}")
    print(f"{'stage':12}  {'images per class':>16}  {'steps':>6}  {'per step':>9}  {'per epoch':>10}")
    for name, make in (("generator", memory.generator_stage), ("classifier", memory.classifier_stage)):
        for images_per_class in IMAGES_PER_CLASS:
            config = settings.load(arguments.config)
            config.max_labels_per_class = images_per_class
            stage = make(config)
            seconds = seconds_per_step(stage, arguments.steps)
            print(
                f"{name:12}  {images_per_class:16}  {stage.plan.steps:6}  {seconds * 1e3:6.0f} ms  "
                f"{seconds * stage.plan.steps:8.1f} s",
                flush=True,
            )


def seconds_per_step(stage, steps: int) -> float:
    """The median time of a step, after the first, which compiles."""
    import jax

    step = jax.jit(stage.train_step, donate_argnums=0)
    state = jax.jit(stage.initial_state)(jax.random.key(0, impl="rbg"))
    order, counts = stage.plan.order(jax.random.key(0))
    seconds = []
    for number in range(steps + 1):
        started = time.perf_counter()
        mask = None if counts is None else counts[0]
        state, metrics = step(state, stage.inputs, order[number % len(order)], mask, jax.random.key(number))
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


if __name__ == "__main__":
    main()
