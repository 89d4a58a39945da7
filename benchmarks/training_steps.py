"""Times the training steps of a configuration, and shows their processor time, system time and page faults.

    python -m benchmarks.training_steps configs/digits.py
    python -m benchmarks.training_steps configs/digits.py --return-memory
    python -m benchmarks.training_steps configs/digits.py:baseline --config.classifier.convolutions=harmonic

Runs steps of the generator, and of the classifier with and without mixing, on images of noise; for an experiment that
does not mix, only the last of the three. The first call of each compiles and is shown separately. Processor times and
page faults are the whole process's, per step. With ``--return-memory`` the memory settings of
``chimeramix_jax/runtime/cpu_setup.py`` are not made.
"""

import argparse
import resource
import statistics
import sys
import time
from typing import Any

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime import cpu_setup, xla_flags

STEPS = 20


def main() -> None:
    """Prints a line per kind of step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file, as for main.py's --config")
    parser.add_argument("--return-memory", action="store_true", help="let glibc return freed memory to the system")
    arguments, changes = parser.parse_known_args()
    if unknown := [text for text in changes if not text.startswith("--config.")]:
        parser.error(f"unknown: {' '.join(unknown)}; settings are written --config.KEY=VALUE")
    try:
        config = settings.load(arguments.config)
        settings.override(config, changes)
        settings.check(config)
    except InputError as problem:
        parser.error(str(problem))
    if arguments.return_memory:
        xla_flags.keep_convolutions_from_ynnpack()
    else:
        cpu_setup.prepare()
    import jax  # only now: preparing the CPU must come first

    from benchmarks import memory

    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, python {sys.version.split()[0]}")
    print(f"{'step':24}  {'first':>7}  {'median':>8}  {'user':>8}  {'system':>8}  {'faults':>7}  {'peak':>8}")
    stages: dict[str, Any] = {}
    if settings.needs_generator(config):
        stages["generator"] = memory.generator_stage(config)
    if config.mixing.mask != "none":
        stages["classifier, mixing"] = memory.classifier_stage(config)
        config.mixing.mask = "none"
    stages["classifier, no mixing"] = memory.classifier_stage(config)
    for name, stage in stages.items():
        print(f"{name:24}  {timed(stage)}", flush=True)


def timed(stage) -> str:
    """Times steps as in training, with a donated state, one after the other; returns the cells of a line."""
    import jax
    import jax.numpy as jnp

    step = jax.jit(stage.train_step, donate_argnums=0)
    state = jax.jit(stage.initial_state)(jax.random.key(0, impl="rbg"))
    indices = jnp.arange(stage.plan.batch_size) % stage.plan.examples
    seconds = []
    for number in range(STEPS + 1):
        if number == 1:
            before = resource.getrusage(resource.RUSAGE_SELF)
        started = time.perf_counter()
        state, metrics = step(state, stage.inputs, indices, None, *(2 * [jax.random.key(number)]))
        jax.block_until_ready((state, metrics))
        seconds.append(time.perf_counter() - started)
    after = resource.getrusage(resource.RUSAGE_SELF)
    user, system, faults = (
        (getattr(after, name) - getattr(before, name)) / STEPS for name in ("ru_utime", "ru_stime", "ru_minflt")
    )
    return (
        f"{seconds[0]:5.1f} s  {statistics.median(seconds[1:]) * 1e3:5.0f} ms  {user * 1e3:5.0f} ms  "
        f"{system * 1e3:5.0f} ms  {faults:7.0f}  {after.ru_maxrss / 1024:4.0f} MiB"
    )


if __name__ == "__main__":
    main()
