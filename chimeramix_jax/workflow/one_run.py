"""Carries out a run, from its settings to its results and report."""

import os
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.model_archive import ModelArchive
from chimeramix_jax.runs.preparation import prepared
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.calls import drive
from chimeramix_jax.workflow import model_report
from chimeramix_jax.workflow.completion import completed_with_report
from chimeramix_jax.workflow.with_folds import completed_with_folds


def train_and_evaluate(
    config: ConfigDict,
    workdir: str | os.PathLike[str],
    *,
    stage: str = "all",
    retrain: bool = False,
    generator_workdir: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Completes a run and returns its results.

    Args:
        config: the settings, as in ``configs/``. With ``config.folds``, a run without each fold is completed first, in
            a directory of its own below ``workdir``.
        workdir: the run's directory. Finished stages in it are not trained again; interrupted ones are resumed. For
            stage "report" also a model file, whose report is written beside it.
        stage: "generator" and "classifier" train one stage, "evaluate" evaluates trained classifiers, "report" draws
            the report of a finished run again, "all" does everything.
        retrain: whether to train the stage again even if it is finished, and with it everything that depends on it; the
            old files are moved aside. If that was interrupted, the same call continues it.
        generator_workdir: the directory of another run whose generator to use instead of training one; None: that of a
            run in the same folder, if one has a finished generator with the same settings and images.

    Returns:
        The content of ``results.json`` (nothing for stages "generator" and "report"), ``summary`` (rows for
        ``reporting.results.summary_table``) and ``files`` (the paths written).

    Raises:
        InputError: a setting, the data or the directory is unsuitable, or another process uses the directory; nothing
            has been changed.
        NonFiniteError: a loss or a gradient was not finite.
        StorageError: the disk is full; files completed before are intact.
        Stopped: the run was asked to stop; a checkpoint has been written.
    """
    if config.get("seeds"):
        raise InputError(
            f"seeds: {config.seeds!r}, but this trains a single run; use train_and_evaluate_seeds for several"
        )
    if stage == "report" and (archive := ModelArchive.at(workdir)) is not None:
        return {"files": [model_report.write(archive, config)]}
    if config.get("experiment") == settings.AUTO:
        raise InputError(f"experiment: {settings.AUTO!r}, but this trains a given recipe; use choose_and_train")
    request = Request(config, Workdir(workdir), stage, retrain, generator_workdir)
    if config.get("folds") and not config.fold:
        return completed_with_folds(request)
    with prepared(request) as run:
        results = drive(completed_with_report(run))
        run.end()
    return results
