"""The runs that are tried: ordinary runs that leave out a fold, whose steps are timed as they go."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ml_collections import ConfigDict

from chimeramix_jax.auto.halving import Cost, Schedule
from chimeramix_jax.auto.menu import config_of
from chimeramix_jax.auto.record import Tried
from chimeramix_jax.runs.out_of_fold import FoldRun, config_of_fold, folder_of_fold
from chimeramix_jax.runs.preparation import prepared
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import compilation_cache
from chimeramix_jax.training.calls import Running, StepCall, drive
from chimeramix_jax.training.classifier import ClassifierInputs
from chimeramix_jax.training.execution import OneDevice, available_devices

# The folders of runs that only measure what a recipe costs, for the first time and once more.
TIMING, TIMING_AGAIN = "timing", "timing-again"

Result = TypeVar("Result")


@dataclass
class _ProgramTimes:
    """The calls of one compiled program; the first one compiles it."""

    first_seconds: float
    first_steps: int
    kept_seconds: float  # of the first call: those of compiling what is kept for other runs
    later_seconds: float = 0.0  # with what is between the calls
    later_steps: int = 0

    @property
    def seconds_per_step(self) -> float:
        """The seconds of a step, without compiling unless there was a single call."""
        if self.later_steps:
            return self.later_seconds / self.later_steps
        return self.first_seconds / self.first_steps

    @property
    def seconds(self) -> float:
        """The seconds that all steps would take without compiling."""
        return (self.first_steps + self.later_steps) * self.seconds_per_step

    @property
    def starting_seconds(self) -> float:
        """The seconds of tracing and compiling that nothing keeps but the program, as far as they can be told."""
        return max(self.first_seconds - self.first_steps * self.seconds_per_step - self.kept_seconds, 0.0)


class StageTimes:
    """What the steps of a stage take, without compiling. Growing images have a program for every side."""

    def __init__(self) -> None:
        """Prepares for the first call."""
        self._programs: dict[Hashable, _ProgramTimes] = {}
        self._last_end = 0.0
        self._steps_per_epoch = 0

    def add(self, call: StepCall, seconds: float, now: float, kept: float = 0.0) -> None:
        """Notes a call that took these seconds and ends now; ``kept`` of them compiled what is kept for other runs."""
        steps = int(call.span.end) - int(call.span.first)
        if call.program in self._programs:
            self._programs[call.program].later_seconds += now - self._last_end
            self._programs[call.program].later_steps += steps
        else:
            self._programs[call.program] = _ProgramTimes(seconds, steps, kept)
        self._last_end = now
        self._steps_per_epoch = max(self._steps_per_epoch, int(call.span.end))

    @property
    def seconds(self) -> float:
        """The seconds that all steps would take without compiling; 0 without calls."""
        return sum(times.seconds for times in self._programs.values())

    @property
    def starting_seconds(self) -> float:
        """The seconds of tracing and compiling the programs, without compiling what is kept for other runs."""
        return sum(times.starting_seconds for times in self._programs.values())

    @property
    def seconds_per_epoch(self) -> float:
        """The seconds of an epoch, on average."""
        steps = sum(times.first_steps + times.later_steps for times in self._programs.values())
        return self._steps_per_epoch * self.seconds / steps if steps else 0.0

    @property
    def seconds_per_step(self) -> tuple[float, ...]:
        """The seconds of a step of each program, in the order of their first calls."""
        return tuple(times.seconds_per_step for times in self._programs.values())


def watched(running: Running[Result], generator: StageTimes, classifier: StageTimes) -> Running[Result]:
    """Carries out a run and notes the times of its calls."""
    try:
        call = next(running)
        while True:
            kept_before = compilation_cache.seconds_of_kept_programs()
            try:
                completed = yield call
            except BaseException as error:
                call = running.throw(error)
            else:
                times = classifier if isinstance(call.inputs, ClassifierInputs) else generator
                kept = compilation_cache.seconds_of_kept_programs() - kept_before
                times.add(call, completed.seconds, time.monotonic(), kept)
                call = running.send(completed)
    except StopIteration as end:
        result: Result = end.value
        return result


class FoldTrials:
    """Trains recipes without a fold, or without leaving out any (fold 0), in ``auto/`` of a run's directory.

    The runs of a rung and a fold lie beside each other, so that recipes with equal generators share one. The runs of a
    recipe share their compiled steps: those without a fold of equal size differ only in the arguments of these.
    """

    def __init__(self, config: ConfigDict, workdir: Workdir, recipes: Sequence[str], before: Callable[[Workdir], None]):
        """Prepares runs of these recipes with these settings.

        Args:
            config: the settings; ``folds`` is the number of folds; 0: all runs are of fold 0.
            workdir: the directory of the final run.
            recipes: those to choose from; a single one is only trained.
            before: called before a run with its directory.
        """
        self._config, self._workdir, self._recipes, self._before = config, workdir, recipes, before
        self._finished: dict[str, FoldRun] = {}
        self._programs: dict[str, dict[Hashable, Any]] = {}  # by recipe

    def run(self, recipe: str, schedule: Schedule, folder: str, fold: int) -> tuple[Tried, Cost | None]:
        """Completes a run in a folder; returns its predictions, and its cost if it had to be trained.

        A run that measures the cost is trained from the beginning: what an interrupted process trained of it would not
        be measured.
        """
        print(self._in_words(recipe, folder, fold), file=sys.stderr)
        workdir = Workdir(self._directory(recipe, folder, fold))
        if folder in (TIMING, TIMING_AGAIN) and workdir.path.exists():
            shutil.rmtree(workdir.path)
        self._before(workdir)
        started_at, kept_before = time.monotonic(), compilation_cache.seconds_of_kept_programs()
        generator, classifier = StageTimes(), StageTimes()
        finished = self._completed(recipe, schedule, workdir, fold, (generator, classifier))
        seconds = time.monotonic() - started_at
        path = os.path.relpath(finished.workdir.path, self._workdir.path)
        predictions = finished.results.predictions["classifier"].tolist()
        tried = Tried(recipe, fold, path, seconds, predictions, finished.dataset.held_out.labels.tolist())
        if not classifier.seconds:
            return tried, None
        compiling = 0.0
        if folder == TIMING:  # runs after it find its programs
            compiling = compilation_cache.seconds_of_kept_programs() - kept_before
            if self.execution(recipe) is not None:
                compiling += generator.starting_seconds + classifier.starting_seconds
        setup = max(seconds - compiling - generator.seconds - classifier.seconds, 0.0)
        epochs = generator.seconds_per_epoch, classifier.seconds_per_epoch
        return tried, Cost(compiling, setup, *epochs, classifier.seconds_per_step)

    def finished(self, recipe: str, schedule: Schedule, folder: str, fold: int, stage: str = "all") -> FoldRun:
        """Returns a finished run, which is evaluated again if that was done by an earlier process, as a stage says."""
        path = self._directory(recipe, folder, fold)
        if path not in self._finished:
            self._completed(recipe, schedule, Workdir(path), fold, (StageTimes(), StageTimes()), stage)
        return self._finished[path]

    def execution(self, recipe: str) -> OneDevice | None:
        """Returns what all runs of a recipe share; None on several devices, where every stage has its own."""
        if len(available_devices(self._config.devices)) > 1:
            return None
        return OneDevice(self._programs.setdefault(recipe, {}))

    def _in_words(self, recipe: str, folder: str, fold: int) -> str:
        """Returns what a run is for, as a line of progress. Only a choice names recipes and comparisons."""
        is_choice = len(self._recipes) > 1
        if folder == TIMING:
            return f"measuring how long an epoch {f'of {recipe} ' if is_choice else ''}takes"
        if folder == TIMING_AGAIN:
            return f"measuring once more how long an epoch of {recipe} takes"
        if not is_choice:
            return f"fold {fold} of {self._config.folds}"
        return f"comparison {folder.removeprefix('rung-')}, fold {fold}: {recipe}"

    def _directory(self, recipe: str, folder: str, fold: int) -> str:
        of_fold = folder_of_fold(self._config, fold) if fold else ""
        return str(self._workdir.auto / folder / of_fold / recipe)

    def _completed(
        self,
        recipe: str,
        schedule: Schedule,
        workdir: Workdir,
        fold: int,
        times: tuple[StageTimes, StageTimes],
        stage: str = "all",
    ) -> FoldRun:
        """Completes a run, and notes the times of the steps of its generator and its classifier."""
        config = config_of(recipe, self._config, schedule)
        config = config_of_fold(config, fold) if fold else config
        with prepared(Request(config, workdir, stage, details=False)) as run:
            results = drive(watched(run.complete(self.execution(recipe)), *times))
            assert results is not None  # the stage is not "generator"
            finished = self._finished[str(workdir.path)] = FoldRun(run.workdir, run.dataset, results)
        return finished
