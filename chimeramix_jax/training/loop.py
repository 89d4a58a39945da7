"""The training loop of all stages: epochs of compiled steps, metrics, checkpoints, and resuming."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray
from ml_collections import ConfigDict
from PIL import Image

from chimeramix_jax.config import config_to_dict
from chimeramix_jax.errors import NonFiniteError
from chimeramix_jax.reporting.stage_files import CHECKPOINTS
from chimeramix_jax.reporting.stage_log import StageLog
from chimeramix_jax.runtime import stopping
from chimeramix_jax.training import epochs
from chimeramix_jax.training.calls import Running, State
from chimeramix_jax.training.checkpoints import StageCheckpoints
from chimeramix_jax.training.epochs import EpochRunner, TrainStep
from chimeramix_jax.training.execution import Execution, ProgressDisplay, for_one_run
from chimeramix_jax.training.pace import Pace, TimeLimit
from chimeramix_jax.training.profiling import StepProfiler

# Random numbers come from keys that are folded from the run's seed with these addresses and are never stored. The
# classifiers trained with and without mixing share an address, so they start equal and see images in the same order.
_STAGE_ADDRESS = {"generator": 0, "classifier": 1, "pretraining": 2}
_INITIAL_STATE, _FIRST_EPOCH = 0, 1  # within a stage
_FINISHED = 2**31 - 1  # within a stage; larger than any epoch's address
_FIRST_MEMBER = 2**31  # within a stage, of the further members of an ensemble; larger than any epoch's address
_FIRST_RETRY = 2**31  # within an epoch that is tried again; larger than any step's address

Draw = Callable[[State], Mapping[str, Image.Image]]  # pictures of a state, by name

MOST_ROLLBACKS = 3  # per stage; numbers that become non-finite more often than this do not do so by chance


@runtime_checkable
class Stage(TrainStep, Protocol):
    """The part of a stage that the loop uses."""

    name: str
    epochs: int

    def initial_state(self, key: PRNGKeyArray) -> State:
        """Returns the state before the first step."""

    def learning_rate(self, step: int) -> float:
        """Returns the learning rate at a step, counted from 0."""

    def skip(self, state: State, steps: int) -> State:
        """Returns the state from which training goes on after steps that were left out to keep to a time limit."""

    def finished(self, state: State, key: PRNGKeyArray) -> State:
        """Returns the state that is evaluated, and stored after the last step, given that of the steps."""

    def evaluate(self, state: State) -> dict[str, float]:
        """Measures a finished state during training; returns an empty dictionary if there is nothing to measure."""


@dataclass(frozen=True)
class Trained:
    """A finished stage.

    Attributes:
        state: after the last step.
        seconds: of training, interruptions excluded.
        rollbacks: a record of each.
        epochs_left_out: how many epochs were not trained, to keep to a time limit.
    """

    state: State
    seconds: float
    rollbacks: list[dict[str, Any]]
    epochs_left_out: int


@dataclass(frozen=True)
class Position:
    """The position in a stage's training: everything that a checkpoint stores besides the state.

    Attributes:
        epoch: number of completed epochs, those that were left out included.
        steps_in_epoch: number of completed steps of the next epoch.
        sums: the metrics, summed over those steps.
        rollbacks: a record of every return to a checkpoint because of non-finite numbers; see ``_roll_back``.
        epochs_left_out: number of epochs that were not trained, to keep to a time limit.
    """

    epoch: int = 0
    steps_in_epoch: int = 0
    sums: dict[str, Any] = field(default_factory=dict)
    rollbacks: list[dict[str, Any]] = field(default_factory=list)
    epochs_left_out: int = 0


def train(
    stage: Stage,
    directory: Path,
    config: ConfigDict,
    about: dict[str, Any],
    *,
    title: str,
    draw: Draw | None = None,
    execution: Execution | None = None,
    member: int = 0,
    members: int = 1,
    limit: TimeLimit | None = None,
) -> Running[Trained]:
    """Trains a stage to its last epoch, from its newest intact checkpoint or from the beginning.

    Every random number is determined by its address (seed, stage, epoch, step), so a resumed run is bit for bit the
    same as an uninterrupted one. Those of an ensemble's further members are addressed by the member as well. With a
    time limit, how many epochs are left out depends on the machine, and so does the result.

    Args:
        stage: the stage to train.
        directory: where to write ``checkpoints/``, ``profile/`` and the files of ``StageLog``.
        config: the run's settings; ``seed``, ``checkpoint``, ``evaluation``, ``logging``, ``steps_per_call``,
            ``profile_steps`` and ``on_nonfinite`` are used here.
        about: stored with every checkpoint, for use when it is restored.
        title: the stage's name in the progress display and in messages.
        draw: draws pictures, by name, of each state that is evaluated during training; None: no pictures.
        execution: where the steps run; None: for this run alone, on ``config.devices``.
        member: the number of the ensemble's member that is trained, from 0; the first has the random numbers of a
            classifier alone.
        members: how many members there are.
        limit: the time that the stage may take; None: as long as all of its epochs need.

    Returns:
        A generator of the calls to be executed (``calls.py``), whose result is the trained stage.

    Raises:
        Stopped: the run was asked to stop; a checkpoint has been written.
        NonFiniteError: a loss or a gradient was not finite, and rollbacks are off or did not help.
        StorageError: a file cannot be written.
        InputError: no checkpoint is intact.
    """
    log = StageLog(directory, config.logging, config_to_dict(config))
    with StageCheckpoints(directory / CHECKPOINTS, config.checkpoint.keep) as checkpoints:
        training = _Training(stage, log, checkpoints, config, about, title, draw, directory, (member, members), limit)
        return (yield from training.run(execution))


class _Training:
    """A stage being trained."""

    state: State
    position: Position

    def __init__(
        self,
        stage: Stage,
        log: StageLog,
        checkpoints: StageCheckpoints,
        config: ConfigDict,
        about: dict[str, Any],
        title: str,
        draw: Draw | None,
        directory: Path,
        place: tuple[int, int],
        limit: TimeLimit | None,
    ):
        self.stage, self.log, self.checkpoints, self.config = stage, log, checkpoints, config
        self.about, self.draw, self.limit = about, draw, limit
        self.pace: Pace | None = None
        self.key = jax.random.fold_in(jax.random.key(config.seed), _STAGE_ADDRESS[stage.name])
        member, members = place
        if member:
            self.key = jax.random.fold_in(self.key, _FIRST_MEMBER + member)
        self.program_title = title  # members of an ensemble share their compiled steps
        self.title = f"{title}, member {member + 1} of {members}" if members > 1 else title
        self.profiler = StepProfiler(directory / "profile", config.profile_steps)
        self._restore_newest()

    @property
    def step(self) -> int:
        """The number of completed steps of the stage."""
        return self._steps_until(self.position)

    def _steps_until(self, position: Position) -> int:
        return position.epoch * self.stage.plan.steps + position.steps_in_epoch

    def run(self, execution: Execution | None) -> Running[Trained]:
        """Trains until the last epoch is completed and its checkpoint is written."""
        if self.position.epoch < self.stage.epochs:
            execution = execution or for_one_run(self.stage.plan.batch_size, self.config.devices, self.title)
            runner = EpochRunner(self.stage, self.config.steps_per_call, execution, self.program_title)
            self.state = execution.place(self.state)
            self.pace = self._pace(runner)
            while self.position.epoch < self.stage.epochs:
                try:
                    yield from self._epochs(runner, execution)
                except NonFiniteError as error:
                    self._roll_back(error)
                    self.state = execution.place(self.state)
        return Trained(self.state, self.seconds, self.position.rollbacks, self.position.epochs_left_out)

    def _pace(self, runner: EpochRunner) -> Pace | None:
        if self.limit is None:
            return None
        steps, weights = self.stage.plan.steps, self.limit.weights

        def work(epochs: int) -> float:
            return runner.work(epochs * steps, weights)

        return Pace(self.limit, self.stage.epochs, work, runner.programs)

    def _restore_newest(self) -> None:
        """Restores the state and position of the newest intact checkpoint, or starts from the beginning."""
        key = _quickly_compiled(jax.random.fold_in(self.key, _INITIAL_STATE))
        self.position, self.seconds = Position(), 0.0
        newest_step = self.checkpoints.latest_step()
        if newest_step is None:
            self.state = jax.jit(self.stage.initial_state)(key)
        else:
            self.checkpoints.set_aside_after(newest_step)
            abstract_state = jax.eval_shape(self.stage.initial_state, key)
            self.state, about = self.checkpoints.restore(newest_step, abstract_state)
            known = {field.name for field in dataclasses.fields(Position)}
            self.position = Position(**{name: value for name, value in about.items() if name in known})
            self.seconds = about["seconds"]
        self.saved = None if newest_step is None else self.position
        self.saved_at = time.monotonic()
        self.started_at = self.saved_at - self.seconds

    def _epochs(self, runner: EpochRunner, execution: Execution) -> Running[None]:
        """Trains until the last epoch is over, a stop is requested, or a number is not finite."""
        self.log.rewind(self.position.epoch * self.stage.plan.steps)
        total_steps = self.stage.epochs * self.stage.plan.steps
        work = partial(runner.work, weights=() if self.limit is None else self.limit.weights)
        with self.log, execution.progress(self.title, total_steps, self.step, work) as display:
            try:
                while self.position.epoch < self.stage.epochs:
                    yield from self._epoch(runner, display)
            except stopping.Stopped:
                self._save()
                raise
            finally:
                self.profiler.close()

    def _epoch(self, runner: EpochRunner, display: ProgressDisplay) -> Running[None]:
        """Runs the rest of the current epoch and records its metrics."""
        epoch, position = self.position.epoch, self.position
        progress = runner.begin(self.state, epoch, self._epoch_key(), position.steps_in_epoch, position.sums)
        while not runner.is_over(progress):
            call = runner.call(progress)
            self.profiler.before_call()
            progress = runner.after(call, (yield call))
            self.profiler.after_call(progress.steps - int(call.span.first))
            carry = progress.carry
            if carry.fault.found():
                step = epoch * self.stage.plan.steps + int(carry.fault.step) + 1
                raise NonFiniteError(self.title, epoch + 1, step, carry.fault.terms())
            self.state = carry.state
            self.position = dataclasses.replace(self.position, steps_in_epoch=progress.steps, sums=carry.sums)
            stopping.raise_if_asked()
            if not runner.is_over(progress):
                self._save_if_due()
                display.update(self.step)
        self._end_epoch(runner.means(progress.carry.sums), display)

    def _end_epoch(self, metrics: dict[str, float], display: ProgressDisplay) -> None:
        """Finishes the state after the last epoch, evaluates it if that is due before, and records the epoch."""
        epoch, key = self.position.epoch, jax.random.fold_in(self.key, _FINISHED)
        if epoch + 1 == self.stage.epochs:
            self.state = self.stage.finished(self.state, key)
        elif (epoch + 1) % self.config.evaluation.every_epochs == 0:
            metrics |= self.stage.evaluate(self.stage.finished(self.state, key))
            if self.draw is not None:
                step = (epoch + 1) * self.stage.plan.steps
                self.log.write_pictures(self.draw(self.state), epoch=epoch + 1, step=step)
        self.position = dataclasses.replace(self.position, epoch=epoch + 1, steps_in_epoch=0, sums={})
        display.update(self.step, **metrics)
        metrics["learning_rate"] = self.stage.learning_rate(self.step - 1)
        self.log.write(stage=self.stage.name, epoch=epoch + 1, step=self.step, **metrics)
        self._leave_out_epochs()
        self._save_if_due(epoch_ended=True)

    def _leave_out_epochs(self) -> None:
        """Skips as many of the next epochs as the time limit requires."""
        left_out = 0 if self.pace is None else self.pace.left_out_after(self.position.epoch)
        if left_out:
            self.state = self.stage.skip(self.state, left_out * self.stage.plan.steps)
            epoch, before = self.position.epoch + left_out, self.position.epochs_left_out
            self.position = dataclasses.replace(self.position, epoch=epoch, epochs_left_out=before + left_out)

    def _epoch_key(self) -> PRNGKeyArray:
        """Returns the key of the current epoch's random numbers, which changes when an epoch is tried again."""
        key = jax.random.fold_in(self.key, _FIRST_EPOCH + self.position.epoch)
        rollbacks = len(self.position.rollbacks)
        return jax.random.fold_in(key, _FIRST_RETRY + rollbacks) if rollbacks else key

    def _save_if_due(self, *, epoch_ended: bool = False) -> None:
        """Writes a checkpoint at the end of the stage, and whenever the newest one is old enough."""
        interval = self.config.checkpoint.every_seconds
        old_enough = time.monotonic() - self.saved_at >= interval
        if self.position.epoch == self.stage.epochs or (old_enough and (interval > 0 or epoch_ended)):
            self._save()

    def _save(self) -> None:
        """Writes a checkpoint of the current position, unless there is one already."""
        if self.position == self.saved:
            return
        now = time.monotonic()
        self.seconds = now - self.started_at
        self.position = dataclasses.replace(self.position, sums=epochs.plain(self.position.sums))
        progress = {"step": self.step, "seconds": self.seconds}
        self.checkpoints.save(self.step, self.state, self.about | dataclasses.asdict(self.position) | progress)
        self.saved, self.saved_at = self.position, now

    def _roll_back(self, error: NonFiniteError) -> None:
        """Returns to the newest checkpoint to retry with other random numbers, if ``on_nonfinite`` is "rollback"."""
        self.checkpoints.wait()
        rollbacks = self.position.rollbacks
        if self.config.on_nonfinite != "rollback":
            raise self._with_advice(error, "--config.on_nonfinite=rollback tries again with other random numbers")
        if len(rollbacks) == MOST_ROLLBACKS:
            raise self._with_advice(error, f"{MOST_ROLLBACKS} rollbacks did not help; a lower learning rate may")
        self._restore_newest()
        record = {"epoch": error.epoch, "step": error.step, "terms": error.terms, "back_to_step": self.step}
        self.position = dataclasses.replace(self.position, rollbacks=[*rollbacks, record])

    def _with_advice(self, error: NonFiniteError, advice: str) -> NonFiniteError:
        """Returns the error with advice: which checkpoint is kept, and what to try."""
        kept = "there is no checkpoint yet"
        if self.saved is not None:
            kept = f"the checkpoint of step {self._steps_until(self.saved)} is kept"
        return NonFiniteError(error.stage, error.epoch, error.step, error.terms, f" ({kept}; {advice})")


def _quickly_compiled(key: PRNGKeyArray) -> PRNGKeyArray:
    """Derives a key of the ``rbg`` kind, for which XLA generates random numbers with a single instruction.

    Initial states draw once for every parameter. With the default kind, XLA would compile its arithmetic each time,
    which takes seconds.
    """
    return jax.random.wrap_key_data(jax.random.bits(key, (4,), jnp.uint32), impl="rbg")
