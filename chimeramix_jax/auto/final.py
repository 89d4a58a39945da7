"""Chooses a recipe for the images at hand, and trains it on all of them, within a given time."""

import copy
import math
import os
import sys
from dataclasses import replace
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.auto import halving, menu, sides, stored_choice
from chimeramix_jax.auto.candidates import (
    Candidates,
    data_and_folds,
    data_without_fold,
    fewest_images,
    units_of_folds,
)
from chimeramix_jax.auto.choice import choose
from chimeramix_jax.auto.clock import Clock
from chimeramix_jax.auto.final_cost import cost_of_final
from chimeramix_jax.auto.halving import Cost
from chimeramix_jax.auto.record import Begun, Record
from chimeramix_jax.auto.trials import FoldTrials
from chimeramix_jax.data.identity import changes
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import leaving_no_empty_folders
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.wording import counted
from chimeramix_jax.runs import data_check, same_data
from chimeramix_jax.runs.lock import locked
from chimeramix_jax.runs.out_of_fold import OutOfFold
from chimeramix_jax.runs.preparation import prepared
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import compilation_cache, stopping
from chimeramix_jax.training import checkpoints
from chimeramix_jax.training.calls import drive
from chimeramix_jax.training.members import member_directories
from chimeramix_jax.training.pace import TimeLimit
from chimeramix_jax.workflow.completion import completed_with_report


def choose_and_train(config: ConfigDict, workdir: str | os.PathLike[str], *, stage: str = "all") -> dict[str, Any]:
    """Compares recipes, trains the best on all images, and returns its results. A single recipe is only trained.

    All of it takes ``config.minutes``. The recipes are compared by folds of the training images alone; images in
    ``test/`` only measure the final model. The final run has the chosen recipe's settings, and ``auto.json`` in its
    directory records everything that was tried.

    Args:
        config: the settings, as in ``configs/``, with experiment "auto". Stages "evaluate" and "report" also take the
            stored settings of the finished run; what has no effect on training may be changed, such as where the
            photos are.
        workdir: the directory of the final run. A choice that was interrupted continues; the time does not start anew.
        stage: "all" does everything; "evaluate" and "report" measure or draw the finished run again.

    Returns:
        The same as ``train_and_evaluate``.

    Raises:
        InputError: a setting, the data or the directory is unsuitable, or the time is too short; the message says how
            much is needed at least.
        NonFiniteError, StorageError, Stopped: as for ``train_and_evaluate``.
    """
    compilation_cache.enable()  # the runs of a recipe's folds have the same programs
    directory = Workdir(workdir)
    if stage not in ("all", *settings.MEASURING_STAGES):
        raise InputError(f"--stage={stage}: a chosen recipe is trained as a whole; it must be all, evaluate or report")
    record, measuring = Record.read(directory), stage in settings.MEASURING_STAGES
    if measuring:
        if record is None or record.final is None or not directory.has_config():
            raise InputError(f"--workdir={directory.path}: holds a run that is not finished; finish it first")
        config = stored_choice.with_changes(record, directory, config)
    stored_choice.check_settings(config)
    if record is None:
        settings.refuse_enlarged(config)
    directory.refuse_among_photos(config)
    with leaving_no_empty_folders(directory.path):
        directory.create()
        with locked(directory.path):
            record = stored_choice.own_record(record, config, directory, measuring=measuring)
            choosing = _Choosing(config, directory, record)
            choosing.refuse_other_data(stage)
            if not measuring:
                choosing.begin()
                choosing.choose()
    return choosing.measure(stage) if measuring else choosing.complete()


class _Choosing:
    """A choice in progress."""

    def __init__(self, config: ConfigDict, workdir: Workdir, record: Record):
        """Loads the data and prepares the candidates."""
        self._config, self._workdir, self._record = copy.deepcopy(config), workdir, record
        self._dataset, self._config.folds = data_and_folds(config)
        self._clock = Clock(config.minutes * 60, max(record.used + self._uncounted(), self._used_by_the_final_run()))
        self._candidates = Candidates.of(self._config, self._dataset)
        self._trials = FoldTrials(self._config, workdir, self._candidates.names, self._save_before)

    def refuse_other_data(self, stage: str) -> None:
        """Raises InputError, before anything is written, if the choice was begun with other images."""
        same_data.refuse_other_data(self._workdir, self._dataset, stage)
        if self._workdir.read_data() is not None:
            return
        # An earlier version recorded the images of the trials only.
        of_folds = {run.fold: run.workdir for rung in self._record.rungs for run in rung.tried}
        for fold, place in of_folds.items():
            stored = Workdir(self._workdir.path / place).read_data()
            if stored is not None and (differences := changes(stored, data_without_fold(self._config, fold).identity)):
                raise same_data.refusal(self._workdir, differences)

    def begin(self) -> None:
        """Refuses unsuitable copies before anything is trained, records the data, and says what they are like."""
        data_check.refuse_copies(self._config, self._dataset)
        recipes, usable = menu.recipes_of(self._config), self._candidates.names
        if unusable := [recipe for recipe in recipes if recipe not in usable]:
            verb, images = ("needs" if len(unusable) == 1 else "need"), counted(fewest_images(self._dataset), "image")
            print(
                f"auto: {', '.join(unusable)} {verb} more than {images} of every class to mix, and cannot be compared",
                file=sys.stderr,
            )
        self._save()
        same_data.record(self._workdir, self._dataset)
        data_check.record_and_print(self._workdir, self._config, self._dataset)

    def choose(self) -> None:
        """Compares the recipes, and decides how long the best is trained on all images."""
        try:
            folds, units = self._config.folds, units_of_folds(self._dataset)
            choose(
                self._candidates, folds, self._trials, self._clock, self._record, self._save, units, self._on_all_images
            )
        except stopping.Stopped:
            self._save()  # the time counts
            raise
        if self._record.final is None:
            self._plan_final()
            self._save()

    def _plan_final(self) -> None:
        """Decides on the side of the final model's images, and for how many epochs the time that is left is enough."""
        winner, seconds, before = self._record.winner, self._clock.left(), self._config.dataset.image_side
        usual, families = self._candidates.usual, self._candidates.families
        cost, measuring = self._cost_of_final()
        side = before if families[winner] else self._side_of_final(seconds, cost, measuring)
        if side != before:
            cost = sides.cost_at(cost, before, side, measuring)
        elif not self._config.folds:
            cost = cost.compiled  # the run that measured it had the same images, so its programs are there
        self._record.final = halving.schedules(seconds, 1, {winner: cost}, usual, families)[winner]
        self._record.planned_at = self._clock.used()
        self._record.side = None if side == before else side
        self._say_if_little_is_left()

    def _say_if_little_is_left(self) -> None:
        """Says so if the folds leave less time for the final model than its training usually takes."""
        winner, final = self._record.winner, self._record.final
        usual = self._candidates.usual[winner]
        assert final is not None  # it has been planned
        if not self._record.rungs or final.classifier >= usual.classifier:
            return
        alone = f", or with {winner} by itself in the same time" if len(self._candidates.names) > 1 else ""
        print(
            f"auto: the folds took {duration(self._record.planned_at)} of {self._config.minutes:g} minutes, which "
            f"leaves {counted(final.classifier, 'epoch')} for the final model instead of the usual {usual.classifier}. "
            f"With more minutes{alone}, expect a better model.",
            file=sys.stderr,
        )

    def _side_of_final(self, seconds: float, cost: Cost, measuring: float) -> int:
        """Returns the side at which the final model sees photos, which may be larger if there is time for it."""
        before, photos = self._config.dataset.image_side, self._dataset.originals
        larger = settings.parse_larger_sides(self._config.larger_sides, before)
        if not larger or not photos or self._config.classifier.image_side != before:
            return before
        shorter = int(np.median([min(photo.width, photo.height) for photo in photos.train]))
        usual = self._candidates.usual[self._record.winner]
        side = sides.chosen(before, larger, shorter, seconds, cost, usual, measuring)
        model = "final model" if len(self._candidates.names) > 1 else "model"
        print(f"the {model} sees images of {side}x{side} pixels", file=sys.stderr)
        return side

    def _cost_of_final(self) -> tuple[Cost, float]:
        winner = self._record.winner
        return cost_of_final(winner, self._record.costs[winner], self._config, self._dataset)

    def _on_all_images(self, recipe: str, cost: Cost) -> Cost:
        return cost_of_final(recipe, cost, self._config, self._dataset)[0]

    def complete(self) -> dict[str, Any]:
        """Trains the winner on all images; returns its results."""
        same_side = self._record.side is None
        execution = self._trials.execution(self._record.winner) if same_side else None
        with prepared(Request(self._config_of_final(), self._workdir, limits=self._limits())) as run:
            try:
                results = drive(completed_with_report(run, execution, self._out_of_fold(run.config, "all")))
            finally:
                self._save()  # the time counts, even if the run is stopped
        self._say_if_little_is_left()  # again, as the accuracy is shown now
        return results

    def measure(self, stage: str) -> dict[str, Any]:
        """Measures the finished final model again, or draws its report; returns its results.

        The record has the settings that were changed only if that succeeds.
        """
        with prepared(Request(self._config_of_final(), self._workdir, stage)) as run:
            results = drive(completed_with_report(run, out_of_fold=self._out_of_fold(run.config, stage)))
            self._record.write(self._workdir)
        return results

    def _config_of_final(self) -> ConfigDict:
        config = menu.config_of(self._record.winner, self._config, self._record.final)
        return config if self._record.side is None else sides.config_at(config, self._record.side)

    def _limits(self) -> dict[str, TimeLimit]:
        """Returns the times that the stages of the final run may take, if their steps are slower than expected."""
        assert self._record.final is not None  # it is planned before it is trained
        final, (cost, measuring) = self._record.final, self._cost_of_final()
        if self._record.side is not None:
            cost = sides.cost_at(cost, self._config.dataset.image_side, self._record.side, measuring)
        end = self._clock.end() - cost.setup  # what is left to do after the training is a part of this
        before_the_classifier = end - final.classifier * cost.classifier_epoch
        return {
            "generator": TimeLimit(before_the_classifier, cost.generator_epoch),
            "classifier": TimeLimit(end, cost.classifier_epoch, cost.weights),
        }

    def _used_by_the_final_run(self) -> float:
        """Returns the time that was used up to the final run's newest checkpoints, which a killed process leaves."""
        return self._record.planned_at + self._seconds_of_checkpoints(self._workdir)

    def _uncounted(self) -> float:
        """Returns what the trial that a killed process left took up to its newest checkpoints, if there is one."""
        if self._record.trial is None:
            return 0.0
        trained = self._seconds_of_checkpoints(Workdir(self._workdir.path / self._record.trial.workdir))
        return max(trained - self._record.trial.counted, 0.0)

    def _seconds_of_checkpoints(self, workdir: Workdir) -> float:
        """Returns how long a run has been trained, as its newest checkpoints say."""
        members = member_directories(workdir.classifier, self._config.classifier.members)
        stages = (checkpoints.newest(directory) for directory in (workdir.generator, *members))
        return math.fsum(about["seconds"] for about in stages if about is not None)

    def _save_before(self, trial: Workdir) -> None:
        """Saves the record when a trial begins, so that the time is counted even if the process is killed."""
        place = os.path.relpath(trial.path, self._workdir.path)
        self._save(Begun(place, self._seconds_of_checkpoints(trial)))

    def _save(self, trial: Begun | None = None) -> None:
        self._record.used, self._record.trial = self._clock.used(), trial
        self._record.write(self._workdir)

    def _out_of_fold(self, config: ConfigDict, stage: str) -> OutOfFold | None:
        """Returns the winner's predictions in the last rung, and by how much their accuracy is too high.

        The stage is carried out for the folds, too. Returns None for a single recipe that was only trained.
        """
        record, index = self._record, len(self._record.rungs)
        if not record.rungs:
            return None
        rung = record.rungs[-1]
        folds = rung.folds_of(record.winner)
        schedule = rung.schedules[record.winner]
        runs = [self._trials.finished(record.winner, schedule, f"rung-{index}", fold, stage) for fold in folds]
        of_winner = OutOfFold.of(runs, config, self._dataset, self._workdir, complete=len(folds) == self._config.folds)
        return replace(of_winner, optimism=record.optimism or 0.0)
