"""Calls of compiled training steps: what they take and return, and how a run gets them executed.

A run is a Python generator. Whenever it needs steps, it yields a ``StepCall`` and receives a ``CompletedCall``. So the
code that drives the run decides where its steps are executed, and together with which other runs: ``drive`` executes
the calls of a single run one by one, a ``team.Team`` executes those of several seeds together.
"""

import time
from collections.abc import Callable, Generator, Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import jax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from chimeramix_jax.training.finiteness import Fault

Result = TypeVar("Result")
State = dict[str, PyTree]
Metrics = dict[str, Float[Array, ""]]


class Carry(NamedTuple):
    """The values that steps update.

    Attributes:
        state: parameters and optimizer states.
        sums: the metrics, summed over the epoch's steps so far.
        fault: the epoch's first step with a non-finite number, if any.
    """

    state: State
    sums: Metrics
    fault: Fault


class EpochDraws(NamedTuple):
    """The random draws of a seed for an epoch: the order of its images, and the key for everything drawn in its steps.

    ``counts`` is False where an image only pads an incomplete last batch; None if all batches are complete.
    """

    order: Int[Array, "steps batch_size"]
    counts: Bool[Array, "steps batch_size"] | None
    key: PRNGKeyArray


class Span(NamedTuple):
    """A range of an epoch's steps, from ``first`` up to but not including ``end``; the same for every seed."""

    epoch: int | Int[Array, ""]
    first: int | Int[Array, ""]
    end: int | Int[Array, ""]


# Steps as a pure function: (carry, inputs, draws, span) -> carry.
Steps = Callable[[Carry, PyTree, EpochDraws, Span], Carry]


@dataclass(frozen=True)
class StepCall:
    """Some steps that a run needs executed before it can continue.

    Attributes:
        program: equal for calls whose steps differ only in their arguments.
        steps: the function, to be compiled for several seeds.
        compiled: the function compiled for this run alone; it donates the carry's memory to the new carry.
        carry: the values that the steps update.
        inputs: the values that they read: training images and frozen networks. The same object throughout a stage.
        draws: the epoch's random order and key.
        span: which steps to run.
    """

    program: Hashable
    steps: Steps
    compiled: Steps
    carry: Carry
    inputs: PyTree
    draws: EpochDraws
    span: Span

    def run(self) -> "CompletedCall":
        """Runs the steps on their own and waits for them."""
        started_at = time.monotonic()
        carry = jax.block_until_ready(self.compiled(self.carry, self.inputs, self.draws, self.span))
        return CompletedCall(carry, time.monotonic() - started_at)


class CompletedCall(NamedTuple):
    """The new carry, and the seconds that the steps took; seeds that were run together all get their total."""

    carry: Carry
    seconds: float


# A run in progress, or part of one: yields calls, receives their results, and finally returns its own result.
Running = Generator[StepCall, CompletedCall, Result]


def drive(run: Running[Result]) -> Result:
    """Executes all calls of a run and returns the run's result.

    An error in a call is raised inside the run, so that it can close its files.
    """
    try:
        call = next(run)
        while True:
            try:
                completed = call.run()
            except BaseException as error:
                call = run.throw(error)
            else:
                call = run.send(completed)
    except StopIteration as end:
        result: Any = end.value
        return result
