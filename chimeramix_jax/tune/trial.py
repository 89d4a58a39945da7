"""One trial: an ordinary run with the settings to try or, with folds, a run without each of them.

Trials are judged on validation images or on the folds, so the test images take no part in a search. A generator that
several trials can use is trained once, in a directory beside the trials (``generators/``).
"""

import enum
import hashlib
import json
import math
import os
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config import rules, shipped
from chimeramix_jax.config.comparing import belongs
from chimeramix_jax.errors import InputError, NonFiniteError
from chimeramix_jax.reporting import metrics
from chimeramix_jax.reporting.splits import is_measured
from chimeramix_jax.reporting.stage_files import METRICS
from chimeramix_jax.runs import lock
from chimeramix_jax.runs.out_of_fold import folder_of_fold
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.sweep.finished import has_generator, results, seconds_of
from chimeramix_jax.sweep.processes import ERROR, STOPPED, Task, last_error
from chimeramix_jax.sweep.workers import RunningTask, Worker
from chimeramix_jax.tune.claims import Claims
from chimeramix_jax.tune.space import Value

TRIALS, GENERATORS = "trials", "generators"  # in the search's folder

EVALUATIONS = 4  # of a trial that may be stopped early, the last one included

_EVERY_EPOCHS = "evaluation.every_epochs"

Report = Callable[[int, float], bool]  # takes per cent of the training and the accuracy; returns whether to stop


class End(enum.Enum):
    """How a trial ended."""

    DONE = enum.auto()
    PRUNED = enum.auto()  # stopped early, because others were better at this point
    DIVERGED = enum.auto()  # a loss was not finite
    FAILED = enum.auto()
    STOPPED = enum.auto()  # by a signal; it can be continued


@dataclass(frozen=True)
class Outcome:
    """How a trial ended and, if it is done, its accuracy on this many images and the seconds of its training."""

    end: End
    accuracy: float = math.nan
    examples: int = 0
    seconds: float = 0.0
    problem: str = ""  # of a trial that failed, or that has to wait for something that this search cannot wait for


@dataclass(frozen=True)
class Plan:
    """What all trials of a search have in common."""

    folder: Path  # of the search
    source: str  # the config file and experiment, as in ``--config``
    overrides: tuple[str, ...]  # the arguments ``--config.key=value`` for all trials
    config: ConfigDict  # the settings that these make
    prunes: bool  # whether trials may be stopped early

    def folder_of(self, number: int) -> Path:
        """Returns the directory of a trial."""
        return self.folder / TRIALS / str(number)

    def folders_of_runs(self, number: int) -> list[Path]:
        """Returns the directories of a trial's runs: a single one, or one for each fold."""
        return [self._in_fold(self.folder_of(number), fold) for fold in self.folds]

    def generator_folder(self, config: ConfigDict, fold: int) -> Path:
        """Returns the directory of the generator for these settings; trials that can share it have the same."""
        identity = json.dumps(settings.generator_identity(config), sort_keys=True)
        return self._in_fold(self.folder / GENERATORS / hashlib.sha256(identity.encode()).hexdigest()[:8], fold)

    @property
    def folds(self) -> list[int]:
        """The folds that a trial leaves out, one after the other, from 1; only 0 without folds."""
        count = self.config.folds * self.config.fold_repeats
        return list(range(1, count + 1)) if self.config.folds else [0]

    def config_of(self, values: Mapping[str, Value], fold: int) -> ConfigDict:
        """Returns the settings of a trial's run; raises InputError if they do not go together."""
        config = self._changed(values, fold)
        settings.check(config, environment=False)
        return config

    def arguments(self, values: Mapping[str, Value], fold: int, epochs: int) -> list[str]:
        """Returns the program's arguments for a trial's run, except for its directory and stage."""
        own = self._own_settings(fold)
        if not any(argument.startswith(f"--config.{_EVERY_EPOCHS}=") for argument in self.overrides):
            own[_EVERY_EPOCHS] = math.ceil(epochs / EVALUATIONS) if self.prunes and not fold else rules.NEVER
        changes = {f"--config.{key}": f"--config.{key}={value}" for key, value in {**values, **own}.items()}
        shared = [override for override in self.overrides if override.partition("=")[0] not in changes]
        source = shipped.as_path(self.source)  # a name could stand for other settings on a GPU
        config = self._changed(values, fold)
        settings.record(config)  # a value may be the name of another idea
        return [f"--config={source}", *shared, *changes.values(), *settings.code_arguments(config)]

    def _changed(self, values: Mapping[str, Value], fold: int) -> ConfigDict:
        """Returns the settings of a trial's run, which are not checked."""
        config = self.config.copy_and_resolve_references()
        config.update_from_flattened_dict({**values, **self._own_settings(fold)})
        return config

    def _own_settings(self, fold: int) -> dict[str, Value]:
        """Returns the settings that make a run a trial."""
        own: dict[str, Value] = {"dataset.evaluate_on": "validation", "compare_with_baseline": False}
        return own | ({"fold": fold} if fold else {})

    def _in_fold(self, folder: Path, fold: int) -> Path:
        return folder / folder_of_fold(self.config, fold) if fold else folder


class TrialRun:
    """A trial in progress."""

    def __init__(
        self, plan: Plan, number: int, values: Mapping[str, Value], worker: Worker, claims: Claims, report: Report
    ):
        """Prepares a trial; ``report`` gets intermediate accuracies and decides whether to stop early."""
        self.number, self.worker = number, worker
        self._plan, self._values, self._claims, self._report = plan, values, claims, report
        self._process: RunningTask | None = None
        self._stops = False

    def steps(self) -> Generator[None, None, Outcome]:
        """Carries out the trial; yields whenever it only has to wait, and returns how it ended."""
        correct = examples = 0
        seconds = 0.0
        try:
            for fold, folder in zip(self._plan.folds, self._plan.folders_of_runs(self.number), strict=True):
                config = self._plan.config_of(self._values, fold)
                outcome = yield from self._run(config, fold, folder)
                if outcome.end is not End.DONE:
                    return outcome
                correct += round(outcome.accuracy * outcome.examples)
                examples, seconds = examples + outcome.examples, seconds + outcome.seconds
                if fold and fold < self._plan.folds[-1]:
                    done = round(100 * fold / self._plan.folds[-1])
                    if self._report(done, correct / examples):
                        return Outcome(End.PRUNED)
        except lock.InUseError as error:
            return Outcome(End.STOPPED, problem=str(error))
        except InputError as error:
            return Outcome(End.FAILED, problem=str(error))
        # An image counts once, however often it was predicted in other divisions into folds.
        return Outcome(End.DONE, correct / examples, examples // self._plan.config.fold_repeats, seconds)

    def ask_to_stop(self) -> None:
        """Asks the process of the trial, if there is one, to write a checkpoint and exit; no other will start."""
        self._stops = True
        if self._process is not None:
            self._process.ask_to_stop()

    @property
    def has_process(self) -> bool:
        """Whether a process is running for the trial; otherwise it waits for another trial's."""
        return self._process is not None

    def last_line(self) -> str:
        """Returns the last line that the trial's process printed."""
        return "waits" if self._process is None else self._process.last_line()

    def _run(self, config: ConfigDict, fold: int, folder: Path) -> Generator[None, None, Outcome]:
        """Completes a run, and the generator that it needs before it."""
        arguments, stage = self._plan.arguments(self._values, fold, config.classifier.epochs), "all"
        if settings.needs_generator(config):
            generator = self._plan.generator_folder(config, fold)
            outcome = yield from self._provide_generator(generator, config, fold)
            if outcome.end is not End.DONE:
                return outcome
            stage = "classifier"
            arguments.append(f"--generator_workdir={generator}")
        yield from self._until_free(folder)
        if _measured(folder) is None:
            early = None if fold or not self._plan.prunes else _Early(folder, config.classifier.epochs, self._report)
            task = Task((*arguments, f"--workdir={folder}", f"--stage={stage}"), (folder,), stage)
            outcome = yield from self._processed(task, early)
            if outcome.end is not End.DONE:
                return outcome
        return _measured(folder) or Outcome(End.FAILED, problem=f"{Workdir(folder).results}: holds no accuracy")

    def _provide_generator(self, folder: Path, config: ConfigDict, fold: int) -> Generator[None, None, Outcome]:
        """Trains a generator, unless another trial has done so; waits for one that is doing so."""
        name = f"generator-{folder.relative_to(self._plan.folder / GENERATORS)}".replace(os.sep, "-")
        while not has_generator(folder):
            if not self._claims.take(name) and not self._claims.take_over(name, folder):
                yield
                continue
            try:
                yield from self._until_free(folder)
                if has_generator(folder):
                    break
                # Settings that other trials with this generator do not share are left as they are in the config file.
                groups = (*settings.generator_settings(config), "mixing.of")
                values = {key: value for key, value in self._values.items() if belongs(key, groups)}
                arguments = self._plan.arguments(values, fold, self._plan.config.classifier.epochs)
                task = Task((*arguments, f"--workdir={folder}", "--stage=generator"), (folder,), "generator")
                outcome = yield from self._processed(task)
                if outcome.end is not End.DONE:
                    return outcome
            finally:
                self._claims.drop(name)
        return Outcome(End.DONE)

    def _until_free(self, folder: Path) -> Generator[None, None, None]:
        """Yields until no process of a killed search works in a directory.

        Raises InUseError if that process was on another machine, so that nobody can tell.
        """
        while not self.worker.is_free(folder):
            lock.refuse_another_host(folder)
            yield

    def _processed(self, task: Task, early: "_Early | None" = None) -> Generator[None, None, Outcome]:
        """Carries out a task as a process of its own."""
        if self._stops:
            return Outcome(End.STOPPED)
        self._process = process = self.worker.start(task)
        try:
            while (code := process.poll()) is None:
                if early is not None and early.should_stop():
                    process.ask_to_stop()
                yield
        except Exception:  # raised once the process has ended, so that none is left behind
            process.ask_to_stop()
            while process.poll() is None:
                yield
            raise
        finally:
            self._process = None
        if code == 0:
            return Outcome(End.DONE)
        if code in STOPPED:
            return Outcome(End.PRUNED if early is not None and early.stopped else End.STOPPED)
        (folder,) = task.workdirs
        if not self.worker.is_free(folder):  # a process that a killed search had just started has locked it meanwhile
            (folder / ERROR).unlink(missing_ok=True)
            yield from self._until_free(folder)
            return (yield from self._processed(task, early))
        return Outcome(
            End.DIVERGED if code == NonFiniteError.exit_code else End.FAILED, problem=f"{folder}: {last_error(folder)}"
        )


def _measured(folder: Path) -> Outcome | None:
    """Returns the outcome of a finished run; None if it has no results, or none on validation images."""
    content = results(folder) or {}
    examples = content["validation"].get("examples") if is_measured(content, ["validation"]) else None
    if not isinstance(examples, int) or examples < 1:
        return None
    times = seconds_of(content)
    seconds = sum(times.values()) - times.get("generator", 0.0)  # trials may share the generator
    return Outcome(End.DONE, content["validation"]["top1"], examples, seconds)


class _Early:
    """Reports a run's accuracies as it goes, and says when to stop it."""

    def __init__(self, folder: Path, epochs: int, report: Report):
        self._path = Workdir(folder).classifier / METRICS
        self._epochs, self._report = epochs, report
        self._size, self._last = 0, 0
        self.stopped = False

    def should_stop(self) -> bool:
        """Whether to stop the run, which is said once; not while its metrics cannot be read."""
        try:
            size = self._path.stat().st_size if self._path.exists() else 0
            if size == self._size or self.stopped:
                return False
            lines = metrics.read(self._path)
        except (InputError, OSError):
            return False
        self._size = size
        for line in lines:
            accuracy, epoch = line.get("validation_top1"), line.get("epoch", 0)
            if accuracy is not None and self._last < epoch < self._epochs and not self.stopped:
                self._last = epoch
                self.stopped = self._report(round(100 * epoch / self._epochs), accuracy)
        return self.stopped
