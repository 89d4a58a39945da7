"""Trains a run anew after photos were added, removed or moved, and compares the new model with the old one.

The new run is made inside the old run's directory, which can be used as before meanwhile. When it is finished and
compared, it takes the place of the old run, which is kept in a folder such as ``before-2026-11-28``
(``runs/replacement.py``). An update that was interrupted at any point is continued by the same call.
"""

import datetime
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import files, stored_format
from chimeramix_jax.config import catalog
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.identity import changes
from chimeramix_jax.data.photo_changes import photo_changes
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import old_and_new, replacement, same_settings
from chimeramix_jax.runs.lock import locked
from chimeramix_jax.runs.out_of_fold import config_of_fold, folder_of_fold
from chimeramix_jax.runs.run import load_dataset
from chimeramix_jax.runs.unseen import Models
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import stopping
from chimeramix_jax.workflow.one_run import train_and_evaluate


def update(workdir: str | os.PathLike[str], *, config: ConfigDict | None = None) -> dict[str, Any]:
    """Trains a run anew on the photos as they are now, if they have changed, and compares the new and the old model.

    All settings stay the same, also those of a recipe that was chosen by the program. The new run takes the place of
    the old one, which is kept in a folder of the run's directory.

    Args:
        workdir: the directory of a finished run on a user's own photos.
        config: settings, which must equal the run's in everything that affects results; None: the run's own settings.

    Returns:
        ``changes``: lines about the photos; empty if nothing had to be done. Otherwise also ``update``, the content of
        ``update.json``, ``files`` (the paths written) and the results of the new run, as ``train_and_evaluate`` returns
        them, unless they were returned before and only the end of an interrupted update was missing.

    Raises:
        InputError: the run or the photos are unsuitable.
        NonFiniteError, StorageError, Stopped: as for ``train_and_evaluate``. Whatever happens, the old model or the new
            one is complete and in its place.
    """
    directory = Workdir(workdir)
    stored = replacement.stored_settings(directory)
    config = stored if config is None else config
    _check(config, directory)
    results: dict[str, Any] = {}
    with locked(directory.path):
        if directory.replacing.exists():
            replacement.finish(directory)
        directory.check(same_settings.as_begun(directory, config))
        old = Models.of(directory)
        dataset = load_dataset(config)
        differences = photo_changes(old.identity, dataset.identity)
        if differences:
            results = _replaced_by_new(directory, config, old, dataset, differences)
        elif not replacement.is_replaced(directory):
            replacement.discard(directory)  # an update that was begun for photos that are as before again
            return {"changes": []}
    # The report is drawn now because it shows the comparison, and commands with the directory where the run now is.
    train_and_evaluate(config, directory.path, stage="report")
    replacement.discard(directory)
    record = stored_format.read(directory.update_record) or {}
    return results | {"changes": record["changes"], "update": record, "files": directory.written()}


def _check(config: ConfigDict, directory: Workdir) -> None:
    """Raises InputError for a run that cannot be updated, before its data are loaded."""
    if catalog.dataset_entry(config.dataset.name).source != "directory":
        raise InputError(
            f"--workdir={directory.path}: holds a run on {config.dataset.name}, which does not change; an update is "
            "for a run on photos of your own"
        )
    if config.seeds:
        raise InputError(f"seeds: {config.seeds!r}, but an update is of a single run; name its --workdir instead")
    if config.fold:
        raise InputError(f"--workdir={directory.path}: holds the run of a fold; update the run that it belongs to")


def _replaced_by_new(
    directory: Workdir, config: ConfigDict, old: Models, dataset: FewShotDataset, differences: Sequence[str]
) -> dict[str, Any]:
    """Trains and compares the new run and puts it into the place of the old one; returns its results."""
    new = replacement.new_run(directory)
    if replacement.is_replaced(directory) or _is_on_other_photos(new, config, dataset):
        replacement.discard(directory)
    for line in differences:
        print(f"update: {line}", file=sys.stderr)
    results = train_and_evaluate(config, new.path)
    models = Models.of(new)
    if changes(models.identity, dataset.identity):
        raise InputError(f"--workdir={directory.path}: the photos changed while they were read; start again")
    before = replacement.name_of_old(directory)
    record = {
        "date": datetime.date.today().isoformat(),
        "before": before,
        "changes": list(differences),
        **old_and_new.compare(old, models, dataset),
    }
    files.write_json(new.update_record, stored_format.marked(record))
    stopping.raise_if_asked()
    replacement.replace(directory, before, Path(config.dataset.directory).expanduser())
    return results


def _is_on_other_photos(new: Workdir, config: ConfigDict, dataset: FewShotDataset) -> bool:
    """Whether an update was begun for photos that have changed again since, so that its run is of no use."""
    if not _has_changed(new, config, dataset):
        return False
    print("update: the photos have changed again since the update was begun, so it starts over", file=sys.stderr)
    return True


def _has_changed(new: Workdir, config: ConfigDict, dataset: FewShotDataset) -> bool:
    """Whether an unfinished run has recorded other photos; before it has, its folds may have."""
    if (stored := new.read_data()) is not None:
        return bool(changes(stored, dataset.identity))
    for fold in range(1, config.folds * config.fold_repeats + 1):
        if (stored := Workdir(new.folds / folder_of_fold(config, fold)).read_data()) is not None:
            return bool(changes(stored, load_dataset(config_of_fold(config, fold)).identity))
    return False
