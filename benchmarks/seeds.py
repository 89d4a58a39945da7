"""Times a training step of several seeds: one after the other, and vectorised in one call.

    python -m benchmarks.seeds configs/digits.py
    python -m benchmarks.seeds configs/cifair10.py --seeds=2 --steps=3

Runs steps of the generator, and of the classifier with mixing, on images of noise, for one seed and for several, in the
two ways that ``config.seeds_per_call`` chooses between. The table has the wall time of one step of all seeds, its
processor time over all cores (which other work on the machine hardly affects), and the ratio of each to a single
seed's.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import memory
from chimeramix_jax import config as settings
from chimeramix_jax.runtime import cpu_setup
from chimeramix_jax.training import finiteness
from chimeramix_jax.training.calls import Carry, CompletedCall, EpochDraws, Span, StepCall, Steps
from chimeramix_jax.training.execution import OneDevice
from chimeramix_jax.training.loop import Stage
from chimeramix_jax.training.team import Stacked

Run = Callable[[list[StepCall]], list[CompletedCall]]


def main() -> None:
    """Prints a line per stage and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file, as for main.py's --config")
    parser.add_argument("--seeds", type=int, default=5, help="how many seeds")
    parser.add_argument("--steps", type=int, default=10, help="how many steps are timed")
    arguments = parser.parse_args()
    cpu_setup.prepare()
    config = settings.load(arguments.config)
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}, python {sys.version.split()[0]}")
    heading = f"{'first':>7}  {'clock':>8}  {'of one':>6}  {'cores':>8}  {'of one':>6}"
    print(f"{'stage':10}  {'seeds':>5}  {'way':10}  {heading}")
    for stage in (memory.generator_stage(config), memory.classifier_stage(config)):
        alone: tuple[float, ...] = ()
        compiled = OneDevice().compiled(step_of(stage))
        stacked = Stacked(step_of(stage), jax.local_devices()[:1], arguments.seeds)
        ways: dict[str, tuple[int, Run]] = {
            "alone": (1, in_turn),
            "in turn": (arguments.seeds, in_turn),
            "vectorised": (arguments.seeds, stacked.run),
        }
        for way, (seeds, run) in ways.items():
            first, *times = timed(stage, compiled, run, seeds, arguments.steps)
            alone = alone or tuple(times)
            cells = [f"{time * 1e3:5.0f} ms  {time / one:6.2f}" for time, one in zip(times, alone, strict=True)]
            print(f"{stage.name:10}  {seeds:5}  {way:10}  {first:5.1f} s  {'  '.join(cells)}", flush=True)


def step_of(stage: Stage) -> Steps:
    """Returns one step of a stage in the form of the training loop's steps."""

    def step(carry: Carry, inputs: Any, draws: EpochDraws, span: Span) -> Carry:
        state, _ = stage.train_step(carry.state, inputs, draws.order, None, draws.key, jax.random.key(span.first))
        return carry._replace(state=state)

    return step


def in_turn(calls: list[StepCall]) -> list[CompletedCall]:
    """Runs the calls one after the other."""
    return [call.run() for call in calls]


def begin(stage: Stage, seeds: int) -> tuple[list[Carry], list[EpochDraws]]:
    """Returns every seed's initial state and, in place of an epoch's order, one batch of images."""
    indices = jnp.arange(stage.plan.batch_size) % stage.plan.examples
    initial_state = jax.jit(stage.initial_state)
    states = [initial_state(jax.random.key(seed, impl="rbg")) for seed in range(seeds)]
    carries = [Carry(state, {}, finiteness.no_fault({})) for state in states]
    return carries, [EpochDraws(indices, None, jax.random.key(seed)) for seed in range(seeds)]


def calls_of(
    stage: Stage, compiled: Steps, carries: list[Carry], draws: list[EpochDraws], number: int
) -> list[StepCall]:
    """Returns every seed's call of step ``number``."""
    span = Span(0, number, number + 1)
    return [
        StepCall(None, compiled, compiled, carry, stage.inputs, drawn, span)
        for carry, drawn in zip(carries, draws, strict=True)
    ]


def timed(stage: Stage, compiled: Steps, run: Run, seeds: int, steps: int) -> tuple[float, float, float]:
    """Returns the seconds of a step of all seeds: the first call's, and the later calls' median wall and CPU times."""
    carries, draws = begin(stage, seeds)
    clock, cores = [], []
    for number in range(steps + 1):
        started, used = time.perf_counter(), time.process_time()
        carries = [completed.carry for completed in run(calls_of(stage, compiled, carries, draws, number))]
        clock.append(time.perf_counter() - started)
        cores.append(time.process_time() - used)
    return clock[0], statistics.median(clock[1:]), statistics.median(cores[1:])


if __name__ == "__main__":
    main()
