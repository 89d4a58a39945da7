"""The training loop of both stages: epochs of compiled steps, metrics, checkpoints, and going on where it stopped."""

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray
from ml_collections import ConfigDict
from PIL import Image

from chimeramix_jax.config import config_to_dict
from chimeramix_jax.errors import InputError, NonFiniteError
from chimeramix_jax.reporting.stage_log import StageLog
from chimeramix_jax.runtime import stopping
from chimeramix_jax.training import epochs
from chimeramix_jax.training.checkpoints import StageCheckpoints, State
from chimeramix_jax.training.epochs import EpochRunner, TrainStep
from chimeramix_jax.training.execution import Execution, Progress, for_one_run

# Where random numbers come from: keys are folded from the run's seed by these addresses, never stored. A classifier
# trained with and one trained without mixing share an address: they start equal and see the images in one order.
_STAGE_ADDRESS = {"generator": 0, "classifier": 1}
_INITIAL_STATE, _FIRST_EPOCH = 0, 1  # within a stage
_FIRST_RETRY = 2**31  # within an epoch that is tried again: beyond all its steps

Draw = Callable[[State], Mapping[str, Image.Image]]  # pictures of a state, by name

MOST_ROLLBACKS = 3  # of a stage: numbers that go bad more often than this do not do so by chance


class Stage(TrainStep, Protocol):
    """What the loop has to know of a stage."""

    name: str
    epochs: int

    def initial_state(self, key: PRNGKeyArray) -> State:
        """The state at step 0."""

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, the stage's first one being step 0."""

    def evaluate(self, state: State) -> dict[str, float]:
        """Measures the state on the way; an empty dictionary where there is nothing to measure."""


@dataclass(frozen=True)
class Trained:
    """A finished stage: its state, the seconds that its training took, interruptions left out, and its rollbacks."""

    state: State
    seconds: float
    rollbacks: list[dict[str, Any]]


@dataclass(frozen=True)
class Position:
    """How far a stage is: all that a checkpoint has to tell beside the state.

    Attributes:
        epoch: epochs done.
        steps_in_epoch: steps done of the next one.
        sums: of the metrics over those steps.
        rollbacks: how often training went back because numbers were not finite, and from where; see ``_roll_back``.
    """

    epoch: int = 0
    steps_in_epoch: int = 0
    sums: dict[str, Any] = field(default_factory=dict)
    rollbacks: list[dict[str, Any]] = field(default_factory=list)


def train(
    stage: Stage,
    directory: Path,
    config: ConfigDict,
    about: dict[str, Any],
    *,
    title: str,
    draw: Draw | None = None,
    execution: Execution | None = None,
) -> Trained:
    """Trains a stage from its newest intact checkpoint, or from the beginning, to its last epoch.

    Every random number is drawn by its address (seed, stage, epoch, step), so a resumed run is bit for bit the
    uninterrupted one.

    Args:
        stage: what to train.
        directory: where ``checkpoints/`` and what ``StageLog`` keeps go.
        config: the run's settings, of which ``seed``, ``checkpoint``, ``evaluation``, ``logging``, ``steps_per_call``
            and ``on_nonfinite`` count here.
        about: stored with every checkpoint, for those who restore it later.
        title: what the progress display calls the stage.
        draw: makes pictures, by name, of a state that is measured on the way; None: there are none.
        execution: where the steps run, and with whose others; None: those of this run alone, on ``config.devices``.

    Raises:
        Stopped: the run was asked to stop; a checkpoint has been written.
        NonFiniteError: a loss or a gradient was not finite, and no rollback is wanted or has helped.
        StorageError: a file cannot be written.
        InputError: no checkpoint is intact.
    """
    log = StageLog(directory, config.logging, config_to_dict(config))
    with StageCheckpoints(directory / "checkpoints", config.checkpoint.keep) as checkpoints:
        return _Training(stage, log, checkpoints, config, about, title, draw, execution).to_the_end()


class _Training:
    """A stage in progress."""

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
        execution: Execution | None,
    ):
        self.stage, self.log, self.checkpoints, self.config = stage, log, checkpoints, config
        self.about, self.title, self.draw = about, title, draw
        self.key = jax.random.fold_in(jax.random.key(config.seed), _STAGE_ADDRESS[stage.name])
        self._go_to_newest()
        if self.position.epoch < stage.epochs:
            self.execution = execution or for_one_run(stage.plan.batch_size, config.devices, title)
            self.state = self.execution.place(self.state)
            self.runner = EpochRunner(stage, config.steps_per_call, self.execution, title)

    @property
    def step(self) -> int:
        """Steps of the stage that are done."""
        return self._steps_until(self.position)

    def _steps_until(self, position: Position) -> int:
        return position.epoch * self.stage.plan.steps + position.steps_in_epoch

    def to_the_end(self) -> Trained:
        """Trains until the last epoch is done and stored."""
        while self.position.epoch < self.stage.epochs:
            try:
                self._epochs()
            except NonFiniteError as error:
                self._roll_back(error)
        return Trained(self.state, self.seconds, self.position.rollbacks)

    def _go_to_newest(self) -> None:
        """Takes up the state and the position of the newest intact checkpoint, or those of the beginning."""
        key = _quickly_compiled(jax.random.fold_in(self.key, _INITIAL_STATE))
        self.position, self.seconds = Position(), 0.0
        newest_step = self.checkpoints.latest_step()
        if newest_step is None:
            self.state = jax.jit(self.stage.initial_state)(key)
        else:
            self.checkpoints.set_aside_after(newest_step)
            abstract_state = jax.eval_shape(self.stage.initial_state, key)
            self.state, about = self.checkpoints.restore(newest_step, abstract_state)
            self.position = Position(**{one.name: about[one.name] for one in dataclasses.fields(Position)})
            self.seconds = about["seconds"]
        self.saved = None if newest_step is None else self.position
        self.saved_at = time.monotonic()
        self.started_at = self.saved_at - self.seconds

    def _epochs(self) -> None:
        """Trains until the end, a request to stop, or numbers that are not finite."""
        self.log.rewind(self.position.epoch * self.stage.plan.steps)
        with (
            self.log,
            self.execution.progress(self.title, self.stage.epochs * self.stage.plan.steps, self.step) as progress,
        ):
            try:
                while self.position.epoch < self.stage.epochs:
                    self._epoch(progress)
            except stopping.Stopped:
                self._save()
                raise

    def _epoch(self, progress: Progress) -> None:
        """Runs what is left of an epoch, and puts its measurements down."""
        epoch, sums = self.position.epoch, self.position.sums
        for advance in self.runner.run(self.state, epoch, self._epoch_key(), self.position.steps_in_epoch, sums):
            if advance.fault.found():
                step = epoch * self.stage.plan.steps + int(advance.fault.step) + 1
                raise NonFiniteError(self.title, epoch + 1, step, advance.fault.terms())
            self.state, sums = advance.state, advance.sums
            self.position = dataclasses.replace(self.position, steps_in_epoch=advance.steps, sums=sums)
            stopping.raise_if_asked()
            if advance.steps < self.stage.plan.steps:
                self._save_if_due()
                progress.update(self.step)
        metrics = self.runner.means(sums)
        if epoch + 1 < self.stage.epochs and (epoch + 1) % self.config.evaluation.every_epochs == 0:
            metrics |= self.stage.evaluate(self.state)
            if self.draw is not None:
                step = (epoch + 1) * self.stage.plan.steps
                self.log.write_pictures(self.draw(self.state), epoch=epoch + 1, step=step)
        self.position = dataclasses.replace(self.position, epoch=epoch + 1, steps_in_epoch=0, sums={})
        progress.update(self.step, **metrics)
        metrics["learning_rate"] = self.stage.learning_rate(self.step - 1)
        self.log.write(stage=self.stage.name, epoch=epoch + 1, step=self.step, **metrics)
        self._save_if_due(epoch_ended=True)

    def _epoch_key(self) -> PRNGKeyArray:
        """What the numbers of the present epoch are drawn from: others than before where it is tried again."""
        key = jax.random.fold_in(self.key, _FIRST_EPOCH + self.position.epoch)
        rollbacks = len(self.position.rollbacks)
        return jax.random.fold_in(key, _FIRST_RETRY + rollbacks) if rollbacks else key

    def _save_if_due(self, *, epoch_ended: bool = False) -> None:
        """Writes a checkpoint at the stage's end, and where the newest is old enough."""
        interval = self.config.checkpoint.every_seconds
        old_enough = time.monotonic() - self.saved_at >= interval
        if self.position.epoch == self.stage.epochs or (old_enough and (interval > 0 or epoch_ended)):
            self._save()

    def _save(self) -> None:
        """Writes a checkpoint of the present position, unless there is one."""
        if self.position == self.saved:
            return
        now = time.monotonic()
        self.seconds = now - self.started_at
        self.position = dataclasses.replace(self.position, sums=epochs.plain(self.position.sums))
        progress = {"step": self.step, "seconds": self.seconds}
        self.checkpoints.save(self.step, self.state, self.about | dataclasses.asdict(self.position) | progress)
        self.saved, self.saved_at = self.position, now

    def _roll_back(self, error: NonFiniteError) -> None:
        """Goes back to the newest checkpoint, to try with other random numbers, where the settings ask for it."""
        self.checkpoints.wait()
        rollbacks = self.position.rollbacks
        if self.config.on_nonfinite != "rollback":
            raise self._with_advice(error, "--config.on_nonfinite=rollback tries again with other random numbers")
        if len(rollbacks) == MOST_ROLLBACKS:
            raise self._with_advice(error, f"{MOST_ROLLBACKS} rollbacks did not help; a lower learning rate may")
        self._go_to_newest()
        self.state = self.execution.place(self.state)
        record = {"epoch": error.epoch, "step": error.step, "terms": error.terms, "back_to_step": self.step}
        self.position = dataclasses.replace(self.position, rollbacks=[*rollbacks, record])

    def _with_advice(self, error: NonFiniteError, advice: str) -> NonFiniteError:
        """The error with a word about what is left on disk and what can be done."""
        kept = "there is no checkpoint yet"
        if self.saved is not None:
            kept = f"the checkpoint of step {self._steps_until(self.saved)} is kept"
        return NonFiniteError(error.stage, error.epoch, error.step, error.terms, f" ({kept}; {advice})")


def is_finished(directory: Path, epochs: int) -> bool:
    """Whether the stage in this directory has been trained to its last epoch."""
    about = newest(directory)
    return about is not None and about["epoch"] >= epochs


def require_finished(directory: Path, stage: str, epochs: int) -> None:
    """Refuses to go on where a stage, "generator" or "classifier", has not been trained to its last epoch.

    Raises:
        InputError: it has not.
    """
    if not is_finished(directory, epochs):
        raise InputError(f"{directory}: holds no finished {stage}; train it first with --stage={stage}")


def newest(directory: Path) -> dict[str, Any] | None:
    """What the newest intact checkpoint of a stage says of itself; None where there is none."""
    if not (directory / "checkpoints").is_dir():
        return None
    with StageCheckpoints(directory / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest_step()
        return None if step is None else checkpoints.about(step)


def _quickly_compiled(key: PRNGKeyArray) -> PRNGKeyArray:
    """A key derived from this one, of the kind whose numbers XLA draws by one instruction of its own.

    Initial states draw once for every parameter, and XLA would compile the default kind's arithmetic as often: seconds.
    """
    return jax.random.wrap_key_data(jax.random.bits(key, (4,), jnp.uint32), impl="rbg")
