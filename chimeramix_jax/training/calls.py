"""Calls of compiled training steps: what they take and return, and how a run has them executed.

A run is a generator. It yields a ``StepCall`` whenever it needs steps to be run and receives a ``CompletedCall``, so
that whoever drives the run decides where, and together with which other runs, its steps are executed: ``drive`` runs
the calls of a single run as they come, a ``team.Team`` those of several seeds together.
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
    """What steps change.

    Attributes:
        state: parameters and optimizer states.
        sums: the sums of the metrics over the epoch's steps so far.
        fault: the epoch's first step after which a number was not finite.
    """

    state: State
    sums: Metrics
    fault: Fault


class EpochDraws(NamedTuple):
    """What a seed has drawn for an epoch: the order of its images, and the key of everything drawn in its steps.

    ``counts`` is False where an image fills up an incomplete last batch; None where all batches are complete.
    """

    order: Int[Array, "steps batch_size"]
    counts: Bool[Array, "steps batch_size"] | None
    key: PRNGKeyArray


class Span(NamedTuple):
    """Which steps of which epoch to run: ``first`` up to, but not including, ``end``. The same for every seed."""

    epoch: int | Int[Array, ""]
    first: int | Int[Array, ""]
    end: int | Int[Array, ""]


# Steps as a pure function: (carry, inputs, draws, span) -> carry.
Steps = Callable[[Carry, PyTree, EpochDraws, Span], Carry]


@dataclass(frozen=True)
class StepCall:
    """Some steps that a run needs before it can continue.

    Attributes:
        program: equal for calls whose steps differ in their arguments only.
        steps: the function, for those who compile it for several seeds.
        compiled: the same, compiled for this run alone. The carry's memory is used for the new one.
        carry: what the steps change.
        inputs: what they read: the training images and frozen networks. The same object throughout a stage.
        draws: the epoch's random order and key.
        span: which steps.
    """

    program: Hashable
    steps: Steps
    compiled: Steps
    carry: Carry
    inputs: PyTree
    draws: EpochDraws
    span: Span

    def run(self) -> "CompletedCall":
        """Runs the steps by themselves, and waits for them."""
        started_at = time.monotonic()
        carry = jax.block_until_ready(self.compiled(self.carry, self.inputs, self.draws, self.span))
        return CompletedCall(carry, time.monotonic() - started_at)


class CompletedCall(NamedTuple):
    """The new carry, and the seconds that the steps took (with those of the other seeds, if they shared the time)."""

    carry: Carry
    seconds: float


# A run in progress, or a part of it: yields calls, receives their results, and returns its own result at the end.
Running = Generator[StepCall, CompletedCall, Result]


def drive(run: Running[Result]) -> Result:
    """Runs every call of a run by itself, and returns the run's result.

    An error in a call is raised inside the run, which can then close its files.
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
