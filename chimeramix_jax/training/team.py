"""Training several seeds together: each as if alone, but for the compiled steps, which run for many seeds at once.

Every seed's run has a thread of its own, so that it goes through its stages, checkpoints, logs and results exactly as
it would alone. The threads take turns: one works until it has steps to run and waits for them, then the next. When all
wait, their steps are run together, those of one program in as few calls as the backend likes. The seeds of a call
stand at the same step of the same stage: what they draw alike, such as whether a batch is mixed, hangs on it.
"""

import math
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from chimeramix_jax.reporting.shared_progress import SharedProgress
from chimeramix_jax.training.execution import CARRIED, OneDevice, Progress, Steps, TimedSteps, timed

Result = TypeVar("Result")

_SEEDS = "seeds"  # the mesh's only axis

SECONDS_BETWEEN_LOOKS = 0.2  # for an interruption, while seeds train


@dataclass
class _Call:
    """Steps that a member waits for."""

    program: Hashable
    steps: Steps
    arguments: tuple[Any, ...]
    group: Hashable = None
    outcome: PyTree = None
    seconds: float = 0.0
    error: BaseException | None = None
    done: bool = False

    def __post_init__(self) -> None:
        """Finds the group: equal where two calls can be one, the same program on the same shapes and steps."""
        leaves, structure = jax.tree.flatten(self.arguments)
        shapes = tuple(leaf if isinstance(leaf, int) else jax.typeof(leaf) for leaf in leaves)
        self.group = (self.program, structure, shapes)


@dataclass
class Outcome(Generic[Result]):
    """What came of a member: its result, or the error that ended it."""

    result: Result | None = None
    error: BaseException | None = None


class Team:
    """Seeds that train together."""

    def __init__(self, devices: Sequence[jax.Device], seeds_per_call: int = 0):
        """Gathers nobody yet.

        Args:
            devices: what the seeds share.
            seeds_per_call: how many seeds a device trains in one compiled call, vectorised; 0 is the backend's best:
                all of them, but on CPU one, since XLA:CPU is slow at the grouped convolutions that vectorising makes.
        """
        self.progress = SharedProgress()
        self._devices, self._seeds_per_call = devices, seeds_per_call
        self._turn = threading.Condition()
        self._waiting: list[_Call] = []
        self._working = 0
        self._interruption: BaseException | None = None
        self._programs: dict[Hashable, Single | Stacked] = {}

    def run(self, members: Sequence[Callable[["Member"], Result]]) -> list[Outcome[Result]]:
        """Runs each member in a thread of its own until all have ended; returns what came of them, in their order.

        A member that fails leaves the others at work. An exception in the calling thread (an interruption) ends all
        of them at their next step, and is raised again.
        """
        outcomes = [Outcome[Result]() for _ in members]
        self._working = len(members)
        threads = [
            threading.Thread(target=self._member, args=(member, outcome), daemon=True)
            for member, outcome in zip(members, outcomes, strict=True)
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():  # Python looks for signals in this thread only, and when it wakes
                    thread.join(SECONDS_BETWEEN_LOOKS)
        except BaseException as interruption:
            self._interruption = interruption
            with self._turn:  # those that never started would be waited for by the others
                self._working -= sum(thread.ident is None for thread in threads)
                self._run_if_all_wait()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
            raise
        return outcomes

    def _member(self, member: Callable[["Member"], Result], outcome: Outcome[Result]) -> None:
        with self._turn:  # held while this member works; waiting for steps hands it on
            try:
                outcome.result = member(Member(self))
            except BaseException as error:  # told by the calling thread, when the others have ended
                outcome.error = error
            finally:
                self._working -= 1
                self._run_if_all_wait()

    def call(self, call: _Call) -> tuple[PyTree, float]:
        """Waits for the call's steps to be run; the member whose call is the last one runs them all.

        The seconds are those of all the calls that could be one, so the same for each: seeds that run more steps in a
        call, or fewer, by how long the last one took, stay in step.
        """
        self._waiting.append(call)
        self._run_if_all_wait()
        while not call.done:
            self._turn.wait()
        if self._interruption is not None:
            raise self._interruption
        if call.error is not None:
            raise call.error
        return call.outcome, call.seconds

    def _run_if_all_wait(self) -> None:
        if not self._waiting or len(self._waiting) < self._working:
            return
        calls, self._waiting = self._waiting, []
        groups: dict[Hashable, list[_Call]] = {}
        for call in calls:
            groups.setdefault(call.group, []).append(call)
        for group in groups.values():
            self._run_together(group)
        for call in calls:
            call.done = True
        self._turn.notify_all()

    def _run_together(self, group: list[_Call]) -> None:
        """Runs equal calls, cut into equal rounds, none larger than what the devices take at once."""
        automatic = 1 if jax.default_backend() == "cpu" else len(group)
        most = len(self._devices) * (self._seeds_per_call or automatic)
        size = math.ceil(len(group) / math.ceil(len(group) / most))
        seconds = 0.0
        for start in range(0, len(group), size):
            calls = group[start : start + size]
            if self._interruption is not None:
                return
            try:
                program = timed(self._program(calls[0], size))
                outcomes, taken = program([call.arguments for call in calls])
                seconds += taken
                for call, outcome in zip(calls, outcomes, strict=True):
                    call.outcome = outcome
            except Exception as error:  # whoever runs the steps, it is their owners who have to know
                for call in calls:
                    call.error = error
        for call in group:
            call.seconds = seconds

    def _program(self, call: _Call, seeds: int) -> "Single | Stacked":
        key = (call.program, seeds)
        if key not in self._programs:
            stacked = seeds > 1
            self._programs[key] = Stacked(call.steps, self._devices, seeds) if stacked else Single(call.steps)
        return self._programs[key]


class Single:
    """Steps of one seed in a call: the program that it would run alone."""

    def __init__(self, steps: Steps):
        """Prepares the compiled function."""
        self._call = OneDevice().compiled(steps)

    def __call__(self, members: Sequence[tuple[Any, ...]]) -> list[PyTree]:
        """Runs the steps for the arguments of the only member."""
        return [self._call(*arguments)[0] for arguments in members]


class Stacked:
    """Steps of several seeds in one call: their arrays stacked, the stack cut over a mesh of devices.

    A device that has several seeds vectorises over them; one that has a single seed runs just its steps. Where the
    places cannot be filled, the last seed is computed more than once, which takes no longer.
    """

    def __init__(self, steps: Steps, devices: Sequence[jax.Device], seeds: int):
        """Prepares the compiled functions for up to so many seeds."""
        self._steps, self._home = steps, devices[0]
        self._mesh = Mesh(np.array(devices[:seeds]), (_SEEDS,))
        self._places = self._mesh.size * math.ceil(seeds / self._mesh.size)
        self._stack = jax.jit(lambda trees: jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees))
        self._unstack = jax.jit(lambda tree: [jax.tree.map(itemgetter(place), tree) for place in range(self._places)])
        self._call = jax.jit(self._on_the_mesh, donate_argnums=0)

    def __call__(self, members: Sequence[tuple[Any, ...]]) -> list[PyTree]:
        """Runs the steps for the arguments of every member; the numbers at their end are the same for all."""
        arrays = [[one for one in arguments if not isinstance(one, int)] for arguments in members]
        which = members[0][len(arrays[0]) :]
        stacked = self._stack([*arrays, *[arrays[-1]] * (self._places - len(members))])
        stacked = jax.device_put(stacked, NamedSharding(self._mesh, PartitionSpec(_SEEDS)))
        outcome = self._call(stacked[:CARRIED], stacked[CARRIED:], which)
        return self._unstack(jax.device_put(outcome, self._home))[: len(members)]

    def _on_the_mesh(self, carried: PyTree, others: PyTree, which: PyTree) -> PyTree:
        local = jax.shard_map(
            self._on_one_device,
            mesh=self._mesh,
            in_specs=(PartitionSpec(_SEEDS), PartitionSpec()),
            out_specs=PartitionSpec(_SEEDS),
            check_vma=False,  # the steps are written for one device and know nothing of the mesh
        )
        return local((*carried, *others), which)

    def _on_one_device(self, stacked: PyTree, which: PyTree) -> PyTree:
        def steps(arrays):
            return self._steps(*arrays, *which)

        if len(jax.tree.leaves(stacked)[0]) > 1:
            return jax.vmap(steps)(stacked)
        alone = steps(jax.tree.map(lambda leaf: leaf[0], stacked))
        return jax.tree.map(lambda leaf: leaf[None], alone)


class Member(OneDevice):
    """One seed's place in a team: its steps run with those of the others, and its progress is shown with theirs."""

    def __init__(self, team: Team):
        """Joins the team."""
        self._team = team

    def compiled(self, steps: Steps, *, program: Any = None) -> TimedSteps:
        """The steps, to be run when the others' are."""

        def together(*arguments: Any) -> tuple[PyTree, float]:
            return self._team.call(_Call(program, steps, arguments))

        return together

    def progress(self, title: str, total_steps: int, first_step: int) -> Progress:
        """A part of the team's display."""
        return self._team.progress.part(title, total_steps, first_step)
