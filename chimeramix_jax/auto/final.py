"""Chooses a recipe for the images at hand, and trains it on all of them, within a given time."""

import copy
import math
import os
import sys
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.auto import halving, menu, sides
from chimeramix_jax.auto.choice import Candidates, choose
from chimeramix_jax.auto.clock import Clock
from chimeramix_jax.auto.halving import Cost
from chimeramix_jax.auto.record import Begun, Record
from chimeramix_jax.auto.trials import FoldTrials, evaluation_seconds
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.identity import changes
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import leaving_no_empty_folders
from chimeramix_jax.reporting.wording import counted
from chimeramix_jax.runs import data_check, same_data, same_settings
from chimeramix_jax.runs.lock import locked
from chimeramix_jax.runs.out_of_fold import OutOfFold, config_of_fold
from chimeramix_jax.runs.preparation import prepared
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import compilation_cache, precision, stopping
from chimeramix_jax.training import checkpoints
from chimeramix_jax.training.calls import drive
from chimeramix_jax.training.evaluation_views import EvaluationViews
from chimeramix_jax.training.members import member_directories
from chimeramix_jax.training.pace import TimeLimit
from chimeramix_jax.training.stage_data import epoch_plan
from chimeramix_jax.workflow.completion import completed_with_report

_OF_CHOOSING = ("recipes", "larger_sides", "minutes")  # settings without an effect on a given recipe


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
        config = _choice_with_changes(record, directory, config)
    _check(config)
    if record is None:
        settings.refuse_enlarged(config)
    directory.refuse_among_photos(config)
    with leaving_no_empty_folders(directory.path):
        directory.create()
        with locked(directory.path):
            choosing = _Choosing(config, directory, _own_record(record, config, directory, measuring=measuring))
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
        self._dataset, self._config.folds = _data_and_folds(config)
        self._clock = Clock(config.minutes * 60, max(record.used + self._uncounted(), self._used_by_the_final_run()))
        recipes = self._usable()
        if not recipes:
            raise InputError(
                f"recipes: {config.recipes!r}, but each needs more than {counted(self._fewest_images(), 'image')} of "
                "every class to train on"
            )
        self._candidates = Candidates(
            recipes,
            {recipe: menu.usual_schedule(recipe, config) for recipe in recipes},
            {recipe: menu.family(recipe, config) for recipe in recipes},
        )
        self._trials = FoldTrials(self._config, workdir, recipes, self._save_before)

    def refuse_other_data(self, stage: str) -> None:
        """Raises InputError, before anything is written, if the choice was begun with other images."""
        same_data.refuse_other_data(self._workdir, self._dataset, stage)
        if self._workdir.read_data() is not None:
            return
        # An earlier version recorded the images of the trials only.
        of_folds = {run.fold: run.workdir for rung in self._record.rungs for run in rung.tried}
        for fold, place in of_folds.items():
            stored = Workdir(self._workdir.path / place).read_data()
            if stored is not None and (differences := changes(stored, self._data_of(fold).identity)):
                raise same_data.refusal(self._workdir, differences)

    def begin(self) -> None:
        """Refuses unsuitable copies before anything is trained, records the data, and says what they are like."""
        data_check.refuse_copies(self._config, self._dataset)
        recipes, usable = menu.recipes_of(self._config), self._candidates.names
        if unusable := [recipe for recipe in recipes if recipe not in usable]:
            verb, images = ("needs" if len(unusable) == 1 else "need"), counted(self._fewest_images(), "image")
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
            choose(self._candidates, self._config.folds, self._trials, self._clock, self._record, self._save)
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
        cost, measuring = self._cost_of_final(winner)
        side = before
        larger = settings.parse_larger_sides(self._config.larger_sides, before)
        photos = self._dataset.originals
        if larger and photos and not families[winner] and self._config.classifier.image_side == before:
            shorter = int(np.median([min(photo.width, photo.height) for photo in photos.train]))
            side = sides.chosen(before, larger, shorter, seconds, cost, usual[winner], measuring)
            model = "final model" if len(self._candidates.names) > 1 else "model"
            print(f"the {model} sees images of {side}x{side} pixels", file=sys.stderr)
        if side != before:
            cost = sides.cost_at(cost, before, side, measuring)
        elif not self._config.folds:
            cost = cost.compiled  # the run that measured it had the same images, so its programs are there
        self._record.final = halving.schedules(seconds, 1, {winner: cost}, usual, families)[winner]
        self._record.planned_at = self._clock.used()
        self._record.side = None if side == before else side

    def complete(self) -> dict[str, Any]:
        """Trains the winner on all images; returns its results."""
        with prepared(Request(self._config_of_final(), self._workdir, limits=self._limits())) as run:
            try:
                return drive(completed_with_report(run, out_of_fold=self._out_of_fold(run.config, "all")))
            finally:
                self._save()  # the time counts, even if the run is stopped

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
        final, (cost, measuring) = self._record.final, self._cost_of_final(self._record.winner)
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

    def _fewest_images(self) -> int:
        """Returns how many training images the smallest class has, when the fold with most of them is left out."""
        labels, folds = self._dataset.train.labels, self._dataset.fold_of_each
        parts = [labels] if folds is None else [labels[folds != fold] for fold in range(self._dataset.folds)]
        return min(int(np.bincount(part, minlength=len(self._dataset.class_names)).min()) for part in parts)

    def _usable(self) -> list[str]:
        """Returns the recipes that every class has enough images for, whichever fold is left out."""
        training_images = self._fewest_images()
        usable = []
        for recipe in menu.recipes_of(self._config):
            own = menu.config_of(recipe, self._config)
            if own.mixing.mask == "none" or training_images >= max(own.mixing.images, own.generator.images):
                usable.append(recipe)
        return usable

    def _cost_of_final(self, winner: str) -> tuple[Cost, float]:
        """Returns the cost of a run on all images, and how much of its set-up the test images take, in seconds."""
        config, cost = menu.config_of(winner, self._config), self._record.costs[winner]
        of_test_images = partial(
            evaluation_seconds,
            len(self._dataset.held_out.labels),
            EvaluationViews.of(config).count,
            cost,
            batch_size=config.classifier.batch_size,
        )
        if not self._config.folds:
            steps_measured = epoch_plan(config, "classifier", self._dataset.train.labels).steps
            return cost, min(of_test_images(steps_measured), cost.setup)  # measured on all images
        of_fold = self._data_of(1).train.labels
        labels = self._dataset.train.labels
        without_fold = config_of_fold(config, 1)
        steps = {
            stage: (epoch_plan(config, stage, labels).steps, epoch_plan(without_fold, stage, of_fold).steps)
            for stage in ("generator", "classifier")
        }
        more = {stage: final / fold for stage, (final, fold) in steps.items()}
        measuring = of_test_images(steps["classifier"][1])
        of_all = replace(
            cost,
            setup=cost.setup + measuring,
            generator_epoch=cost.generator_epoch * more["generator"],
            classifier_epoch=cost.classifier_epoch * more["classifier"],
        )
        return of_all, measuring

    def _data_of(self, fold: int) -> FewShotDataset:
        """Returns the data without a fold, whose images are held out."""
        config = self._config
        return load_few_shot(config.dataset, config.max_labels_per_class, config.seed, config.folds, fold)

    def _out_of_fold(self, config: ConfigDict, stage: str) -> OutOfFold | None:
        """Returns the winner's predictions in the last rung, and by how much their accuracy is too high.

        The stage is carried out for the folds, too. Returns None for a single recipe that was only trained.
        """
        record, index = self._record, len(self._record.rungs)
        if not record.rungs:
            return None
        rung = record.rungs[-1]
        folds = sorted(run.fold for run in rung.tried if run.recipe == record.winner)
        schedule = rung.schedules[record.winner]
        runs = [self._trials.finished(record.winner, schedule, f"rung-{index}", fold, stage) for fold in folds]
        of_winner = OutOfFold.of(runs, config, self._dataset, self._workdir, complete=len(folds) == self._config.folds)
        return replace(of_winner, optimism=record.optimism or 0.0)


def _check(config: ConfigDict) -> None:
    """Raises InputError for settings that a choice cannot use."""
    settings.check(config)
    for key, only in (("experiment", settings.AUTO), ("seeds", ""), ("fold_repeats", 1), ("fold", 0)):
        if config[key] != only:
            raise InputError(f"{key}: {config[key]!r}, but to choose a recipe it must be {only!r}")


def _choice_with_changes(record: Record, workdir: Workdir, config: ConfigDict) -> ConfigDict:
    """Returns the settings of a finished choice, with what ``config`` changes in them or in those of its final run."""
    choice = settings.from_dict(record.requested)
    stored = choice if config.experiment == settings.AUTO else workdir.read_config()
    if differing := settings.differences(stored, config, measuring=True):
        raise InputError(
            f"--workdir={workdir.path}: holds a run with other settings ({settings.shortened(differing)}); choose "
            "another with --workdir"
        )
    before, requested = settings.flatten(stored), settings.flatten(config)
    changed = {key: value for key, value in requested.items() if before[key] != value and key not in _OF_CHOOSING}
    choice.update_from_flattened_dict(changed)
    return choice


def _own_record(record: Record | None, config: ConfigDict, workdir: Workdir, *, measuring: bool = False) -> Record:
    """Returns the record to continue; raises InputError if the directory belongs to something else."""
    requested = settings.config_to_dict(settings.with_absolute_paths(config))
    if record is None:
        if workdir.has_config():
            raise InputError(
                f"--workdir={workdir.path}: holds a run that was trained without --minutes or a choice of the recipe; "
                "choose another with --workdir"
            )
        return Record(requested, precision=precision.resolved(config.precision))
    if not measuring and not workdir.results.exists():
        same_settings.refuse_other_precision(workdir, "the choice was begun", record.precision or None, config)
    stored = settings.from_dict(record.requested)
    if stored.precision == "auto" and config.precision == record.precision:
        requested["precision"] = "auto"  # it is the same
    differing = settings.differences(stored, requested, measuring=measuring)
    for key in _OF_CHOOSING:  # ``differences`` leaves these out
        if key == "minutes" and not (record.rungs or record.final):
            continue
        if stored[key] != requested[key]:
            differing.append(f"{key}: {stored[key]!r} stored, {requested[key]!r} requested")
    if differing:
        raise InputError(
            f"--workdir={workdir.path}: holds a run with other settings ({settings.shortened(differing)}); choose "
            "another with --workdir"
        )
    record.requested = requested
    return record


def _data_and_folds(config: ConfigDict) -> tuple[FewShotDataset, int]:
    """Returns all training and test images, and the number of folds: as set, or else as usual or as classes allow.

    Raises InputError if a class has fewer than two images to divide.
    """
    draw = config.dataset, config.max_labels_per_class, config.seed
    dataset = load_few_shot(*draw, settings.folds_of_choice(config))
    if not dataset.folds:
        return dataset, 0
    if dataset.smallest_class < 2:
        raise InputError(
            f"experiment: {config.experiment!r}, but a class has a single different training image (copies, and images "
            "of a group, count once); every class needs at least two"
        )
    if not config.folds:
        dataset = dataset.with_folds(min(dataset.folds, dataset.smallest_class))
    # Refuses folds that the images do not allow, before anything is compiled.
    load_few_shot(*draw, dataset.folds, fold=1)
    return dataset, dataset.folds
