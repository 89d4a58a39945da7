"""Replaces the run in a directory by a newer one, and keeps the old run in a directory of its own.

The new run is made in ``update.unfinished/run`` of the old run's directory, which stays as it is meanwhile. Then files
and folders are renamed, first the old ones into a folder such as ``before-2026-11-28``, then the new ones into their
places. While that happens, ``replacing.json`` lists them, so that it can be finished if the process is killed. At every
moment the old run or the new one is complete in one of the three places. In the end, ``replaced.json`` says that the
new run is in its place, but not yet that its report is.
"""

import datetime
import json
import os
import shutil
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import files, stored_format
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import lock
from chimeramix_jax.runs.workdir import Workdir

_REPLACED = "replaced.json"
_EXPORTED = {"generated", "model.onnx", "model.savedmodel", "model.stablehlo", "model.zip"}  # by default


def new_run(workdir: Workdir) -> Workdir:
    """Returns the directory in which the new run is made."""
    return Workdir(workdir.update / "run")


def stored_settings(workdir: Workdir) -> ConfigDict:
    """Returns the settings of a run, also while it is being replaced; raises InputError if there is no run."""
    if workdir.replacing.exists():
        new = new_run(workdir)
        return (new if new.config.exists() else workdir).read_config(half_replaced=True)
    return workdir.read_config()


def name_of_old(workdir: Workdir) -> str:
    """Returns an unused name for the old run's folder, such as ``before-2026-11-28`` or ``before-2026-11-28-2``."""
    first = name = f"before-{datetime.date.today().isoformat()}"
    number = 1
    while os.path.lexists(workdir.path / name):
        number += 1
        name = f"{first}-{number}"
    return name


def replace(workdir: Workdir, before: str, photos: Path) -> None:
    """Puts the finished new run into the place of the old one.

    Args:
        workdir: the directory of both.
        before: the name of the folder that the old run moves into.
        photos: the folder or file of the photos, which stays where it is even if it has a name of a run's folder.
    """
    new = sorted(path.name for path in new_run(workdir).path.iterdir() if path.name != lock.NAME)
    old = sorted(
        path.name
        for path in workdir.path.iterdir()
        if (_belongs_to_run(path.name) or path.name in new) and not photos.resolve().is_relative_to(path.resolve())
    )
    files.write_json(workdir.replacing, stored_format.marked({"before": before, "old": old, "new": new}))
    finish(workdir)


def finish(workdir: Workdir) -> None:
    """Does what is left of a replacement that has begun."""
    plan = _plan(workdir)
    before, new = workdir.path / plan["before"], new_run(workdir).path
    before.mkdir(exist_ok=True)
    for name in plan["old"]:
        if name == workdir.generator_from.name:
            _move_generator_from(workdir, before)
        elif not os.path.lexists(before / name) and os.path.lexists(workdir.path / name):
            (workdir.path / name).rename(before / name)
    for name in plan["new"]:
        if os.path.lexists(new / name):
            (new / name).rename(workdir.path / name)
    workdir.replacing.rename(workdir.update / _REPLACED)


def is_replaced(workdir: Workdir) -> bool:
    """Whether a new run is in its place, but its report has not been drawn there yet."""
    return (workdir.update / _REPLACED).exists()


def discard(workdir: Workdir) -> None:
    """Deletes what an update has made: the new run, unless it is in its place, and the records of the replacement."""
    if workdir.update.exists():
        _delete_new_run(workdir)
    for record in (workdir.replacing, workdir.update / _REPLACED):
        record.unlink(missing_ok=True)
    if workdir.update.exists():
        shutil.rmtree(workdir.update)  # with what a kill, a file manager or somebody has left in it


def _delete_new_run(workdir: Workdir) -> None:
    """Deletes the new run; renames it first, so that half of one never has its name. Finishes earlier deletions."""
    run = new_run(workdir).path
    if run.exists():
        run.rename(files.unused_name_beside(run))
    for leftover in workdir.update.iterdir():
        if files.is_unfinished(leftover.name) and leftover.is_dir():
            shutil.rmtree(leftover)


def _plan(workdir: Workdir) -> dict[str, Any]:
    plan = stored_format.read(workdir.replacing) or {}
    if not {"before", "old", "new"} <= plan.keys():
        raise InputError(f"{workdir.replacing}: cannot be read: it lacks before, old or new")
    return plan


def _belongs_to_run(name: str) -> bool:
    """Whether this program writes a file or folder of this name into a run's directory.

    Anything else stays where it is; it may be the photos.
    """
    run = Workdir(".")
    return run.original_name(name) in (run.part_names() - {run.update.name}) | _EXPORTED


def _move_generator_from(workdir: Workdir, before: Path) -> None:
    """Moves the record of the run whose generator is used; its path is relative to the directory that it is in."""
    if not workdir.generator_from.exists():
        return
    moved = before / workdir.generator_from.name
    try:
        other = json.loads(workdir.generator_from.read_text(encoding="utf-8"))["workdir"]
        relative = os.path.relpath(workdir.path.resolve() / other, before.resolve())
    except (ValueError, KeyError, TypeError):  # damaged, which is reported where it is needed
        workdir.generator_from.rename(moved)
        return
    files.write_json(moved, {"workdir": relative})
    workdir.generator_from.unlink()
