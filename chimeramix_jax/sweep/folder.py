"""The folder of a sweep: whether it may be used for these runs, and the file in it that lists them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.config.catalog import own_folder
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.identity import changes
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import lock
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.stored_format import marked
from chimeramix_jax.summary.plan import FILE, read_plan
from chimeramix_jax.sweep.processes import ERROR, LOG
from chimeramix_jax.sweep.selection import SweepRun


def check_folder(folder: Path, runs: Sequence[SweepRun]) -> None:
    """Raises InputError unless the folder and the runs' directories are new or of this sweep; changes nothing."""
    if settings.SEED_PLACE in str(folder):
        raise InputError(
            f"--workdir={folder}: contains {settings.SEED_PLACE}, which stands for the seed in the folders of runs; "
            "choose another folder, in which every run gets its own"
        )
    outer = next((parent for parent in folder.absolute().parents if (parent / FILE).exists()), None)
    if outer is not None:
        raise InputError(f"--workdir={folder}: is inside {outer}, the folder of another sweep; choose another folder")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--workdir={folder}: is not a folder; choose a folder")
    if not (folder / FILE).exists() and files.names_in(folder) - {lock.NAME}:
        raise InputError(f"--workdir={folder}: is not empty and not a sweep (no {FILE}); choose another folder")
    for run in runs:
        _check_run_directory(Workdir(run.workdir), run)


def _check_run_directory(workdir: Workdir, run: SweepRun) -> None:
    workdir.refuse_among_photos(run.config)
    if workdir.config.exists():
        differing = settings.differences(workdir.read_config(), run.config)
        if differing:
            raise InputError(
                f"--workdir={workdir.path.parent}: {run.name} is a run with different settings "
                f"({settings.shortened(differing)}); choose another folder"
            )
        _refuse_other_images(workdir, run)
    elif files.names_in(workdir.path) - {LOG, ERROR, lock.NAME, workdir.extensions.name, workdir.folds.name}:
        raise InputError(
            f"--workdir={workdir.path.parent}: {run.name} is not empty and not a run; choose another folder"
        )


def _refuse_other_images(workdir: Workdir, run: SweepRun) -> None:
    """Checks that a folder of images has not changed, as finished runs are not run again and would not notice.

    Published data sets do not change, and need not be there for a report.
    """
    config = run.config
    stored = workdir.read_data() if own_folder(config.dataset.name, config.dataset.directory) else None
    if stored is None:
        return
    dataset = load_few_shot(config.dataset, config.max_labels_per_class, config.seed, config.folds, config.fold)
    if differing := changes(stored, dataset.identity):
        raise InputError(
            f"--workdir={workdir.path.parent}: {run.name} is a run on different data ({'; '.join(differing)}); choose "
            "another folder"
        )


def write_plan(folder: Path, runs: Sequence[SweepRun]) -> None:
    """Writes the plan file, which ``chimeramix summarize`` reads; keeps runs that an earlier command planned."""
    planned = {run.name: _planned(run) for run in runs}
    if read_plan(folder) is not None:
        earlier = json.loads((folder / FILE).read_bytes())["runs"]
        planned = {run["workdir"]: run for run in earlier} | planned
    files.write_json(folder / FILE, marked({"runs": list(planned.values())}))


def _planned(run: SweepRun) -> dict[str, Any]:
    dataset = run.config.dataset
    return {
        "workdir": run.name,
        "dataset": dataset.name,
        "directory": dataset.directory,
        "division": dataset.division,
        "evaluate_on": dataset.evaluate_on,
        "experiment": run.config.experiment,
        "max_labels_per_class": run.config.max_labels_per_class,
        "seed": run.config.seed,
        "folds": run.config.folds,
    }
