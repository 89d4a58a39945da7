"""Runs an epoch's steps, compiled, several per call; how an epoch is divided into calls does not change a bit."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, PyTree

from chimeramix_jax.data.sampling import EpochPlan
from chimeramix_jax.runtime import backend
from chimeramix_jax.training import finiteness
from chimeramix_jax.training.calls import Carry, CompletedCall, EpochDraws, Metrics, Span, State, StepCall, Steps
from chimeramix_jax.training.execution import Execution, OneDevice
from chimeramix_jax.training.growing import GrowingSides

_EPOCH_ORDER, _FIRST_STEP = 0, 1  # addresses of random numbers within an epoch

# All draws that the seeds share come from one key. A branch that depends on such a draw stays a branch when seeds are
# vectorised; if it depended on a draw of each seed's own, it would become a select that computes both sides.
_OF_ALL_SEEDS = 2**31  # not the address of any stage (loop.py), so no seed's own keys coincide with it

# A call cannot be interrupted. So it must be short compared with the time that a run has to stop after a request, and
# long compared with the overhead of starting it.
SECONDS_PER_CALL = 2.0


@runtime_checkable
class TrainStep(Protocol):
    """The part of a stage needed to run its epochs; ``inputs`` is everything that steps read besides the state."""

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
        """Runs a step, as a pure function.

        Args:
            state: parameters, statistics and optimizer states.
            inputs: the stage's ``inputs``.
            indices: positions of the batch's images among the training images.
            example_mask: False where an image only pads an incomplete batch; None if there is no padding.
            key: the source of the step's random numbers.
            shared_key: that of the draws that all seeds share: it depends on the epoch and the step, not on the seed.

        Returns:
            The state after the step, and its metrics by name.
        """


@runtime_checkable
class GrowingStep(TrainStep, Protocol):
    """A stage whose steps show their images at sides that grow."""

    growing: GrowingSides

    def train_step(
        self,
        state: State,
        inputs: PyTree,
        indices: Int[Array, "batch"],
        example_mask: Bool[Array, "batch"] | None,
        key: PRNGKeyArray,
        shared_key: PRNGKeyArray,
        side: int | None = None,
    ) -> tuple[State, Metrics]:
        """Runs a step that shows its images at ``side``, in pixels; None: at the full side."""


def shared_key(epoch: int | Int[Array, ""], step: int | Int[Array, ""]) -> PRNGKeyArray:
    """Returns the key of the draws that all seeds share at a step."""
    key = jax.random.fold_in(jax.random.key(0), _OF_ALL_SEEDS)
    return jax.random.fold_in(jax.random.fold_in(key, epoch), step)


class Progress(NamedTuple):
    """An epoch in progress: its number, its random draws, the number of completed steps, and the carry after them."""

    epoch: int
    draws: EpochDraws
    steps: int
    carry: Carry


class StepFunctions:
    """A stage's steps as pure functions, all at one side: what is compiled."""

    def __init__(self, stage: TrainStep, side: int | None = None):
        """Takes the steps at a side, if the stage's sides grow; for any other stage it is None."""
        self._train_step = partial(stage.train_step, side=side) if isinstance(stage, GrowingStep) else stage.train_step
        self.step = jax.jit(self._one_step, inline=True)  # traced once, for both the metrics and the program

    def several_steps(self, carry: Carry, inputs: PyTree, draws: EpochDraws, span: Span) -> Carry:
        """Runs the steps of a span in a loop on the device."""

        def body(index: Int[Array, ""], carry: Carry) -> Carry:
            return self._counted_step(carry, inputs, draws, span.epoch, index)

        return jax.lax.fori_loop(span.first, span.end, body, carry)

    def first_step(self, carry: Carry, inputs: PyTree, draws: EpochDraws, span: Span) -> Carry:
        """Runs the first step of a span, which has no other."""
        return self._counted_step(carry, inputs, draws, span.epoch, span.first)

    def _counted_step(self, carry: Carry, inputs: PyTree, draws: EpochDraws, epoch: Any, index: Any) -> Carry:
        """Runs a step, adds its metrics to the sums, and watches for non-finite numbers."""
        state, metrics = self.step(carry.state, inputs, draws, epoch, index)
        sums = jax.tree.map(jnp.add, carry.sums, metrics)
        return Carry(state, sums, finiteness.watch(carry.fault, index, metrics, state))

    def _one_step(
        self, state: State, inputs: PyTree, draws: EpochDraws, epoch: Any, index: Any
    ) -> tuple[State, Metrics]:
        """Runs the stage's step with the images and keys that its place in the epoch determines."""
        example_mask = None if draws.counts is None else draws.counts[index]
        key = jax.random.fold_in(draws.key, _FIRST_STEP + index)
        return self._train_step(state, inputs, draws.order[index], example_mask, key, shared_key(epoch, index))


@dataclass(frozen=True)
class StepProgram:
    """The compiled steps at one side.

    Attributes:
        key: equal for programs that differ only in their arguments.
        functions: the stage's steps at this side.
        steps: the function of them that is compiled.
        compiled: that function, compiled for a single run at a time.
    """

    key: Hashable
    functions: StepFunctions
    steps: Steps
    compiled: Steps


class EpochRunner:
    """Runs a stage's epochs, several steps in one compiled call.

    ``steps_per_call`` 0 chooses what suits the backend: as many steps as take about ``SECONDS_PER_CALL``, but a single
    one on CPU, since XLA:CPU runs the body of a loop on one core. The number of steps per call is not part of the
    compiled program, so results do not depend on where an epoch is divided or interrupted. If the sides of the images
    grow, there is a program for each side, and no call has steps at two sides.
    """

    def __init__(
        self,
        stage: TrainStep,
        steps_per_call: int = 0,
        execution: Execution | None = None,
        title: str | None = None,
    ):
        """Prepares running the stage; its steps are compiled at the first call, or at the first at their side.

        ``execution`` None means one device; ``title`` distinguishes the stage from others that the same seeds train.
        """
        self._execution = execution or OneDevice()
        self._stage, self._title = stage, title
        self._inputs = self._execution.place(stage.inputs)
        self._adapts = steps_per_call == 0 and backend.runs_several_steps_per_call()
        self._steps_per_call = steps_per_call or 1
        self._loops = self._adapts or self._steps_per_call > 1
        self._order = jax.jit(stage.plan.order)
        self._metrics: dict[str, jax.ShapeDtypeStruct] | None = None
        self._growing = stage.growing if isinstance(stage, GrowingStep) else None
        self._programs: dict[int | None, StepProgram] = {}
        self._last_program: StepProgram | None = None

    def begin(
        self, state: State, epoch: int, epoch_key: PRNGKeyArray, done: int = 0, sums: Mapping[str, Any] | None = None
    ) -> Progress:
        """Begins an epoch, or resumes one.

        Args:
            state: the state before the first step to run. Its memory is donated, as is that of every later state.
            epoch: the epoch's number, from which the draws that all seeds share are derived.
            epoch_key: the source of the epoch's other random numbers.
            done: how many of the epoch's steps an interrupted run has completed.
            sums: the sums of the metrics over those steps; None if there are none.
        """
        order, counts = self._order(jax.random.fold_in(epoch_key, _EPOCH_ORDER))
        draws = EpochDraws(order, counts, epoch_key)
        return Progress(epoch, draws, done, self._first_carry(state, draws, sums, self.program(epoch, done)))

    def work(self, steps: int, weights: Sequence[float] = ()) -> float:
        """Returns how much work the stage's first ``steps`` steps are; ``weights`` are those of ``GrowingSides``."""
        return float(steps) if self._growing is None else self._growing.work(steps, weights)

    def programs(self) -> int:
        """Returns how many programs have been needed so far, each of which has to be compiled."""
        return len(self._programs)

    def is_over(self, progress: Progress) -> bool:
        """Returns whether all steps of the epoch are completed."""
        return progress.steps == self._stage.plan.steps

    def call(self, progress: Progress) -> StepCall:
        """Returns the call that runs the epoch's next steps."""
        program = self.program(progress.epoch, progress.steps)
        if self._adapts and program is not self._last_program:
            self._steps_per_call = 1  # it has to be compiled, and its steps take longer than those at a smaller side
        self._last_program = program
        return StepCall(
            program=program.key,
            steps=program.steps,
            compiled=program.compiled,
            carry=progress.carry,
            inputs=self._inputs,
            draws=progress.draws,
            span=Span(progress.epoch, progress.steps, self._end(progress)),
        )

    def after(self, call: StepCall, completed: CompletedCall) -> Progress:
        """Returns the progress after a call, whose duration decides how many steps the next call has."""
        self._adapt(completed.seconds)
        return Progress(int(call.span.epoch), call.draws, int(call.span.end), completed.carry)

    def means(self, sums: Metrics) -> dict[str, float]:
        """Returns the metrics averaged over an epoch, given their sums."""
        return {name: float(value) / self._stage.plan.steps for name, value in sums.items()}

    def program(self, epoch: int, step: int) -> StepProgram:
        """Returns the program of a step of an epoch: that of its side."""
        side = None if self._growing is None else self._growing.side(epoch * self._stage.plan.steps + step)
        if side not in self._programs:
            key = (self._title, self._stage.plan, self._loops, side)
            self._programs[side] = self._execution.shared(key, partial(self._new_program, key, side))
        return self._programs[side]

    def _new_program(self, key: Hashable, side: int | None) -> StepProgram:
        functions = StepFunctions(self._stage, side)
        steps = functions.several_steps if self._loops else functions.first_step
        return StepProgram(key, functions, steps, self._execution.compiled(steps))

    def _end(self, progress: Progress) -> int:
        """Returns the step before which the epoch's next call ends: at the latest where the side changes."""
        end = min(progress.steps + self._steps_per_call, self._stage.plan.steps)
        first_of_epoch = progress.epoch * self._stage.plan.steps
        growth = None if self._growing is None else self._growing.next_start(first_of_epoch + progress.steps)
        return end if growth is None else min(end, growth - first_of_epoch)

    def _first_carry(
        self, state: State, draws: EpochDraws, sums: Mapping[str, Any] | None, program: StepProgram
    ) -> Carry:
        """Returns the carry before the first step to run."""
        if self._metrics is None:
            _, self._metrics = jax.eval_shape(program.functions.step, state, self._inputs, draws, 0, 0)
        total = {name: jnp.zeros(metric.shape, metric.dtype) for name, metric in self._metrics.items()}
        fault = finiteness.no_fault(total)
        if sums:
            total = {name: jnp.asarray(sums[name], zero.dtype) for name, zero in total.items()}
        return Carry(state, *self._execution.place((total, fault)))

    def _adapt(self, seconds: float) -> None:
        """Doubles or halves the steps of the next call; after the slow first call, which compiles, it stays at one."""
        if self._adapts and seconds < SECONDS_PER_CALL / 2:
            self._steps_per_call = min(2 * self._steps_per_call, self._stage.plan.steps)
        elif self._adapts and seconds > SECONDS_PER_CALL:
            self._steps_per_call = max(self._steps_per_call // 2, 1)


def plain(sums: Metrics) -> dict[str, Any]:
    """Returns sums of metrics as JSON types without losing a bit, since every float32 is also a float64."""
    return {name: np.asarray(value).tolist() for name, value in sums.items()}
