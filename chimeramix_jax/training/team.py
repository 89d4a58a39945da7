"""Trains several seeds together: each as if alone, except that compiled steps run for many seeds at once.

Each seed's run is a Python generator that yields its next call (``calls.py``), so it goes through its stages,
checkpoints, logs and results exactly as it would alone. The team advances every run to its next call and executes these
calls, combining calls of the same program as far as suits the backend. Then it hands the results back. The seeds of a
combined call are at the same step of the same stage, because the draws that they share, such as whether a batch is
mixed, depend on it.
"""

import contextlib
import math
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from chimeramix_jax.errors import one_line
from chimeramix_jax.reporting.shared_progress import SharedProgress
from chimeramix_jax.runtime import backend
from chimeramix_jax.runtime.stopping import Stopped
from chimeramix_jax.training.calls import Carry, CompletedCall, EpochDraws, Running, Span, StepCall, Steps
from chimeramix_jax.training.execution import OneDevice, ProgressDisplay

Result = TypeVar("Result")

_SEEDS = "seeds"  # the mesh's only axis


@dataclass
class MemberOutcome(Generic[Result]):
    """How a member ended: its result, or the error that ended it."""

    result: Result | None = None
    error: BaseException | None = None


class Member(OneDevice):
    """The execution of one seed in a team: it shares compiled programs and the progress display with the others."""

    def __init__(self, programs: dict[Hashable, Any], progress: SharedProgress):
        """Joins a team with these programs and this display."""
        super().__init__(programs)
        self._progress = progress

    def progress(self, title: str, total_steps: int, first_step: int, work: Callable[[int], float]) -> ProgressDisplay:
        """Returns this seed's part of the team's display."""
        return self._progress.part(title, total_steps, first_step, work)


class Team(Generic[Result]):
    """Seeds that train together."""

    def __init__(self, devices: Sequence[jax.Device], seeds_per_call: int = 0):
        """Prepares a team without members.

        Args:
            devices: the devices that the seeds share.
            seeds_per_call: how many seeds a device trains in one compiled call, vectorised; 0 chooses what suits the
                backend: all of them, but one on CPU, since XLA:CPU is slow at the grouped convolutions that
                vectorising creates.
        """
        automatic = None if backend.vectorizes_seeds() else 1
        self._devices, self._seeds_per_device = devices, seeds_per_call or automatic
        self._stacked: dict[Hashable, Stacked] = {}

    def run(self, members: Sequence[Callable[[Member], Running[Result]]]) -> list[MemberOutcome[Result]]:
        """Runs all members until each has ended; returns their outcomes in the same order.

        If a member fails or is asked to stop, the others continue. Any other exception, such as a keyboard interrupt,
        ends all members and is raised again.
        """
        programs: dict[Hashable, Any] = {}
        progress = SharedProgress()
        outcomes: list[MemberOutcome[Result]] = [MemberOutcome() for _ in members]
        with contextlib.ExitStack() as stack:
            runs = [stack.enter_context(contextlib.closing(start(Member(programs, progress)))) for start in members]
            answers: dict[int, CompletedCall | Exception | None] = dict.fromkeys(range(len(runs)))
            while answers:
                calls = {}
                for index, answer in answers.items():
                    call = _advance(runs[index], answer, outcomes[index])
                    if call is not None:
                        calls[index] = call
                answers = self._answers(calls)
        return outcomes

    def _answers(self, calls: dict[int, StepCall]) -> dict[int, CompletedCall | Exception | None]:
        """Executes every member's call, combining those that can share a program."""
        groups: dict[Hashable, list[int]] = {}
        for index, call in calls.items():
            groups.setdefault(_group(call), []).append(index)
        answers: dict[int, CompletedCall | Exception | None] = {}
        for group in groups.values():
            try:
                completed = self._run_together([calls[index] for index in group])
                answers |= dict(zip(group, completed, strict=True))
            except Exception as error:  # for the members to report
                answers |= dict.fromkeys(group, error)
        return answers

    def _run_together(self, calls: list[StepCall]) -> list[CompletedCall]:
        """Executes equal calls in rounds of equal size, none larger than the devices take at once.

        Every member gets the total seconds of all rounds. Seeds adapt their steps per call to that duration, so they
        stay in step.
        """
        most = len(self._devices) * (self._seeds_per_device or len(calls))
        size = math.ceil(len(calls) / math.ceil(len(calls) / most))
        completed: list[CompletedCall] = []
        seconds = 0.0
        for start in range(0, len(calls), size):
            together = calls[start : start + size]
            results = [together[0].run()] if size == 1 else self._stacked_program(together[0], size).run(together)
            completed += results
            seconds += results[0].seconds
        return [result._replace(seconds=seconds) for result in completed]

    def _stacked_program(self, call: StepCall, seeds: int) -> "Stacked":
        key = (call.program, seeds)
        if key not in self._stacked:
            self._stacked[key] = Stacked(call.steps, self._devices, seeds)
        return self._stacked[key]


def raise_first_error(outcomes: Sequence[MemberOutcome[Result]], names: Sequence[str]) -> None:
    """Raises the error of the first member that failed, and prints the name and the error of each that did.

    Their messages do not say whose they are. Members that were asked to stop have not failed.
    """
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome.error, Exception):
            print(f"{name} failed: {one_line(outcome.error)}", file=sys.stderr)
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error


def _advance(
    run: Running[Result], answer: CompletedCall | Exception | None, outcome: MemberOutcome[Result]
) -> StepCall | None:
    """Hands a run the result or the error of its call; returns its next call, or None when it has ended."""
    try:
        if answer is None:
            return next(run)
        return run.throw(answer) if isinstance(answer, Exception) else run.send(answer)
    except StopIteration as end:
        outcome.result = end.value
    except (Exception, Stopped) as error:
        outcome.error = error
    return None


def _group(call: StepCall) -> Hashable:
    """Returns a key that is equal for calls that can be combined: same program, same shapes, same steps."""
    leaves, structure = jax.tree.flatten((call.carry, call.inputs, call.draws))
    return call.program, call.span, structure, tuple(map(jax.typeof, leaves))


class Stacked:
    """Steps of several seeds in one call, with their arrays stacked and the stack sharded over a mesh of devices.

    A device with several seeds vectorises over them; a device with a single seed runs its steps unchanged. If there are
    more places than seeds, the last seed is computed more than once, which takes no longer.
    """

    def __init__(self, steps: Steps, devices: Sequence[jax.Device], seeds: int):
        """Prepares the compiled functions for up to ``seeds`` seeds."""
        self._steps, self._home = steps, devices[0]
        self._mesh = Mesh(np.array(devices[:seeds]), (_SEEDS,))
        self._places = self._mesh.size * math.ceil(seeds / self._mesh.size)
        self._stack = jax.jit(lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees))
        self._unstack = jax.jit(lambda tree: [jax.tree.map(itemgetter(place), tree) for place in range(self._places)])
        self.compiled = jax.jit(self._on_the_mesh, donate_argnums=0)
        self._inputs: tuple[list[PyTree], PyTree] | None = None

    def run(self, calls: Sequence[StepCall]) -> list[CompletedCall]:
        """Runs calls with equal spans together."""
        together = StepCall(
            program=calls[0].program,
            steps=self._steps,
            compiled=self.compiled,
            carry=self._placed([call.carry for call in calls]),
            inputs=self._placed_inputs([call.inputs for call in calls]),
            draws=self._placed([call.draws for call in calls]),
            span=calls[0].span,
        )
        completed = together.run()
        carries = self._unstack(jax.device_put(completed.carry, self._home))
        return [CompletedCall(carry, completed.seconds) for carry in carries[: len(calls)]]

    def _placed(self, trees: list[PyTree]) -> PyTree:
        """Returns the seeds' arrays, stacked and sharded over the mesh."""
        stacked = self._stack([*trees, *[trees[-1]] * (self._places - len(trees))])
        return jax.device_put(stacked, NamedSharding(self._mesh, PartitionSpec(_SEEDS)))

    def _placed_inputs(self, inputs: list[PyTree]) -> PyTree:
        """Returns the seeds' inputs, stacked; they stay the same throughout a stage, so they are placed only once."""
        if self._inputs is None or not _same_objects(self._inputs[0], inputs):
            self._inputs = None  # frees the old inputs' memory first
            self._inputs = (inputs, self._placed(inputs))
        return self._inputs[1]

    def _on_the_mesh(self, carry: Carry, inputs: PyTree, draws: EpochDraws, span: Span) -> Carry:
        local = jax.shard_map(
            self._on_one_device,
            mesh=self._mesh,
            in_specs=(PartitionSpec(_SEEDS), PartitionSpec()),
            out_specs=PartitionSpec(_SEEDS),
            check_vma=False,  # the steps are written for one device and know nothing of the mesh
        )
        return local((carry, inputs, draws), span)

    def _on_one_device(self, stacked: tuple[Carry, PyTree, EpochDraws], span: Span) -> Carry:
        def steps(seed: tuple[Carry, PyTree, EpochDraws]) -> Carry:
            carry, inputs, draws = seed
            return self._steps(carry, inputs, draws, span)

        if len(jax.tree.leaves(stacked)[0]) > 1:
            return jax.vmap(steps)(stacked)
        return jax.tree.map(lambda leaf: leaf[None], steps(jax.tree.map(itemgetter(0), stacked)))


def _same_objects(some: Sequence[object], others: Sequence[object]) -> bool:
    return len(some) == len(others) and all(one is other for one, other in zip(some, others, strict=True))
