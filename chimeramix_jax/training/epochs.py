"""An epoch's steps, compiled: several in one call, and the same bits however an epoch is cut into calls."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, PyTree

from chimeramix_jax.data.sampling import EpochPlan
from chimeramix_jax.training import finiteness
from chimeramix_jax.training.checkpoints import State
from chimeramix_jax.training.execution import Execution, OneDevice
from chimeramix_jax.training.finiteness import Fault

_EPOCH_ORDER, _FIRST_STEP = 0, 1  # addresses of random numbers within an epoch

# What every seed draws alike comes from one key. A branch that hangs on it stays a branch where seeds are vectorised;
# on a number of each seed's own it would become a selection, for which both sides are computed.
_OF_ALL_SEEDS = 2**31  # beside the stages' addresses (loop.py), so that it is no seed's own

# A call cannot be interrupted. So it has to be short against the time in which a run that is asked to stop has to
# stop, and long against the moment that starting one takes.
SECONDS_PER_CALL = 2.0

Metrics = dict[str, Float[Array, ""]]


class TrainStep(Protocol):
    """What is needed of a stage to run its epochs. ``inputs`` is whatever the steps read beside the state."""

    plan: EpochPlan
    inputs: PyTree

    def train_step(
        self,
        state: State,
        inputs: PyTree,
        indices: Int[Array, "batch"],
        example_mask: Bool[Array, "batch"] | None,
        key: PRNGKeyArray,
        shared_key: PRNGKeyArray,
    ) -> tuple[State, Metrics]:
        """One step, as a pure function; ``shared_key`` depends on the epoch and the step, but not on the seed."""


def shared_key(epoch: int | Int[Array, ""], step: int | Int[Array, ""]) -> PRNGKeyArray:
    """What a step draws from that is the same for every seed."""
    key = jax.random.fold_in(jax.random.key(0), _OF_ALL_SEEDS)
    return jax.random.fold_in(jax.random.fold_in(key, epoch), step)


class Advance(NamedTuple):
    """How far an epoch is after a call: the state, the steps done in it, the sums of their metrics, and any fault."""

    state: State
    steps: int
    sums: Metrics
    fault: Fault


class EpochRunner:
    """Runs a stage's epochs, several steps in one compiled call.

    ``steps_per_call`` 0 is the backend's best: as many as take about ``SECONDS_PER_CALL``, but on CPU one step, since
    XLA:CPU runs the body of a loop on a single core. How many steps a call has is no part of the compiled program, so
    that it makes no difference to the results where an epoch is cut, or interrupted.
    """

    def __init__(
        self,
        stage: TrainStep,
        steps_per_call: int = 0,
        execution: Execution | None = None,
        program: str | None = None,
    ):
        """Prepares the compiled functions; compilation itself happens at the first call.

        ``execution`` None is one device; ``program`` tells the stage from others that the same seeds go through.
        """
        execution = execution or OneDevice()
        self._stage, self._inputs, self._place = stage, execution.place(stage.inputs), execution.place
        self._adapts = steps_per_call == 0 and jax.default_backend() != "cpu"
        self._steps_per_call = steps_per_call or 1
        self._loops = self._adapts or self._steps_per_call > 1
        self._order = jax.jit(stage.plan.order)
        self._step = jax.jit(self._one_step, inline=True)  # so that it is traced once, for its metrics and its program
        self._metrics: dict[str, jax.ShapeDtypeStruct] | None = None
        self._call = execution.compiled(
            self._many_steps if self._loops else self._add_step, program=(program, stage.plan, self._loops)
        )

    def run(
        self, state: State, epoch: int, epoch_key: PRNGKeyArray, done: int = 0, sums: Mapping[str, Any] | None = None
    ) -> Iterator[Advance]:
        """Runs an epoch, or what is left of it; yields after every call, when its steps are done.

        Args:
            state: before the first step to run. Its memory is given to the next one, here and after every call.
            epoch: its number, which addresses what all seeds draw alike.
            epoch_key: what the epoch's other random numbers are drawn from.
            done: steps of the epoch that an earlier, interrupted run has done.
            sums: the sums of their metrics; None where there are none.
        """
        order = self._order(jax.random.fold_in(epoch_key, _EPOCH_ORDER))
        total = self._zeros(state, order, epoch_key)
        fault = finiteness.no_fault(total)
        if sums:
            total = {name: jnp.asarray(sums[name], zero.dtype) for name, zero in total.items()}
        total, fault = self._place((total, fault))
        while done < self._stage.plan.steps:
            count = min(self._steps_per_call, self._stage.plan.steps - done)
            bounds = (done, done + count) if self._loops else (done,)
            carried, seconds = self._call(state, total, fault, self._inputs, order, epoch_key, epoch, *bounds)
            state, total, fault = carried
            done += count
            self._adapt(seconds)
            yield Advance(state, done, total, fault)

    def means(self, sums: Metrics) -> dict[str, float]:
        """The means over an epoch of the metrics whose sums these are."""
        return {name: float(value) / self._stage.plan.steps for name, value in sums.items()}

    def _adapt(self, seconds: float) -> None:
        """Doubles or halves the steps of the next call; the first call, which also compiles, leaves it at one."""
        if self._adapts and seconds < SECONDS_PER_CALL / 2:
            self._steps_per_call = min(2 * self._steps_per_call, self._stage.plan.steps)
        elif self._adapts and seconds > SECONDS_PER_CALL:
            self._steps_per_call = max(self._steps_per_call // 2, 1)

    def _zeros(self, state: State, order, epoch_key: PRNGKeyArray) -> Metrics:
        if self._metrics is None:
            _, self._metrics = jax.eval_shape(self._step, 0, 0, state, self._inputs, order, epoch_key)
        return {name: jnp.zeros(metric.shape, metric.dtype) for name, metric in self._metrics.items()}

    def _one_step(self, epoch, index, state: State, inputs: PyTree, order, epoch_key: PRNGKeyArray):
        indices, counts = order
        example_mask = None if counts is None else counts[index]
        key = jax.random.fold_in(epoch_key, _FIRST_STEP + index)
        return self._stage.train_step(state, inputs, indices[index], example_mask, key, shared_key(epoch, index))

    def _add_step(self, state: State, sums: Metrics, fault: Fault, inputs: PyTree, order, epoch_key, epoch, index):
        state, metrics = self._step(epoch, index, state, inputs, order, epoch_key)
        return state, jax.tree.map(jnp.add, sums, metrics), finiteness.watch(fault, index, metrics, state)

    def _many_steps(
        self, state: State, sums: Metrics, fault: Fault, inputs: PyTree, order, epoch_key, epoch, first, end
    ):
        def body(index, carry):
            state, sums, fault = carry
            return self._add_step(state, sums, fault, inputs, order, epoch_key, epoch, index)

        return jax.lax.fori_loop(first, end, body, (state, sums, fault))


def plain(sums: Metrics) -> dict[str, Any]:
    """Sums of metrics as JSON holds them, without losing a bit: every float32 is also a float64."""
    return {name: np.asarray(value).tolist() for name, value in sums.items()}
