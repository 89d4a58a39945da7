"""Carries out a run with folds: a run without each fold of the training images, then the final one on all of them.

Every fold's run is an ordinary run in ``folds/`` of the final run's directory: it can be interrupted, resumed and
restored like any other. Together, the folds' models predict every training image once (or once for each repeat), always
by a model that has not seen it. Their accuracy is what can be expected of the final model.

The folds train together like several seeds: all of them have equally many images, so they share compiled programs.
"""

import contextlib
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import data_check
from chimeramix_jax.runs.out_of_fold import FoldRun, OutOfFold, config_of_fold, folder_of_fold
from chimeramix_jax.runs.preparation import prepared
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.results import Results
from chimeramix_jax.runs.run import Run
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.calls import drive
from chimeramix_jax.training.execution import available_devices
from chimeramix_jax.training.team import Team, raise_first_error
from chimeramix_jax.workflow.completion import completed_with_report, measured_with_report


def completed_with_folds(request: Request) -> dict[str, Any]:
    """Completes the runs of all folds and then the requested run; returns the same as ``train_and_evaluate``.

    A stage is carried out for the folds, too, so that nothing is measured with other networks than before.
    """
    if request.workdir.auto_record.exists():
        raise InputError(
            f"--workdir={request.workdir.path}: holds a run whose recipe was chosen; its folds are not those of the "
            "final model's settings, so use choose_and_train"
        )
    with contextlib.ExitStack() as stack:
        final = stack.enter_context(prepared(request))
        again = request.retrain and not final.continues_retraining
        folds = [stack.enter_context(prepared(_request_of_fold(request, fold, again))) for fold in _numbers(request)]
        for run in (*folds, final):  # the final run last: it notes that all have begun
            run.begin()
        if request.stage not in settings.MEASURING_STAGES:
            final.claim()  # so that all that reads folders sees a run while its folds are trained
        data_check.record_and_print(final.workdir, final.config, final.dataset)
        results = _completed(folds)
        out_of_fold = None
        if request.stage != "generator":
            runs = [FoldRun(run.workdir, run.dataset, measured) for run, measured in zip(folds, results, strict=True)]
            out_of_fold = OutOfFold.of(runs, request.config, final.dataset, request.workdir)
        completed = drive(completed_with_report(final, out_of_fold=out_of_fold))
        for run in (*folds, final):
            run.end()
    return completed


def _numbers(request: Request) -> range:
    return range(1, request.config.folds * request.config.fold_repeats + 1)


def _request_of_fold(request: Request, fold: int, retrain: bool) -> Request:
    """Returns the request for a fold's run; it never uses a generator that was trained on other images.

    If another run's generator is to be used, that is the one of the same fold there, if that run has folds.
    """
    folder = folder_of_fold(request.config, fold)
    workdir, generator = Workdir(request.workdir.folds / folder), None
    if request.generator_workdir is not None:
        other = Workdir(request.generator_workdir).folds / folder
        generator = other if other.exists() else None
    return Request(config_of_fold(request.config, fold), workdir, request.stage, retrain, generator)


def _completed(runs: Sequence[Run]) -> list[Results]:
    """Trains the folds together; raises the first error after all other folds have ended."""
    config = runs[0].config
    for run in runs:
        run.seeds_together = len(runs)
    team: Team[Results | None] = Team(available_devices(config.devices), config.seeds_per_call)
    outcomes = team.run([partial(measured_with_report, run) for run in runs])
    raise_first_error(outcomes, [os.fspath(run.workdir.path) for run in runs])
    return [outcome.result for outcome in outcomes if outcome.result is not None]
