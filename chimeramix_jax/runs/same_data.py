"""Checks whether the networks in a run's directory were trained on the current data.

A run records the identity of its data (``data.json``, ``data/identity.py``), and its checkpoints and results carry the
digests. Runs of earlier versions have neither, so their classes, the drawn indices and the numbers of test images are
compared instead.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chimeramix_jax.config.catalog import own_folder
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.identity import TRAIN, DataIdentity, changes
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.wording import counted
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training import checkpoints


def refuse_other_data(workdir: Workdir, dataset: FewShotDataset, stage: str, replaced: Sequence[Path] = ()) -> None:
    """Raises InputError, which says what has changed, unless everything kept of a run was made from the current data.

    ``replaced`` are files that are about to be moved aside. ``stage`` is the requested one, for the message's advice.
    """
    stored = workdir.read_data()
    if stored is not None and not replaced:
        differences = changes(stored, dataset.identity)
    else:
        parts = (part for part in (workdir.generator, workdir.classifier, workdir.baseline) if part not in replaced)
        by_part = (trained_otherwise(part, stored, dataset, workdir) for part in parts)
        differences = next(filter(None, by_part), [])
        if not differences and stored is None and workdir.results not in replaced:
            differences = _test_data_changes(workdir, dataset)
    if differences:
        differences += [*_division_change(workdir, dataset), *_change_of_validation(stored, dataset)]
        again = "--retrain" if not replaced and stage in ("all", "generator") else "--stage=all --retrain"
        is_own = bool(own_folder(dataset.name, str(dataset.directory or "")))
        can_update = is_own and stored is not None and workdir.results.exists()
        raise refusal(workdir, differences, again, can_update=can_update)


def _division_change(workdir: Workdir, dataset: FewShotDataset) -> list[str]:
    """Returns a line if other images belong together than when the run was begun, which alone can move some."""
    if not workdir.has_config() or not (dataset.divided or dataset.folds):
        return []
    key = "keep_together"
    stored = workdir.read_config().dataset.get(key, "copies")  # as in runs of earlier versions
    requested = "near_duplicates" if dataset.near_together else "copies"
    return [] if stored == requested else [f"dataset.{key}: {stored!r} stored, {requested!r} requested"]


def _change_of_validation(stored: DataIdentity | None, dataset: FewShotDataset) -> list[str]:
    """Returns a line if a run of an earlier version validates on images that are left out today."""
    unused = set(dataset.identity.unused.images)
    moved = 0 if stored is None else sum(image in unused for image in stored.held_out.images)
    if not (dataset.left_out and moved):
        return []
    return [
        f"an earlier version also validated on {counted(moved, 'image')} of a group with training images, or near them"
    ]


def refusal(
    workdir: Workdir, differences: Sequence[str], again: str = "--retrain", *, can_update: bool = False
) -> InputError:
    """Returns the error for a run on other data, with what can be done about it.

    Args:
        workdir: the run's directory.
        differences: how the data differ.
        again: the flags that train the run again; a run whose recipe was chosen does not take them.
        can_update: whether the run can be updated.
    """
    advice = ["update it with --stage=update, which compares the old model with the new one"] if can_update else []
    if not workdir.auto_record.exists():
        advice.append(f"train it again with {again}, which moves the old files aside")
    choices = f"{', '.join(advice)}, or choose" if advice else "choose"
    return InputError(
        f"--workdir={workdir.path}: holds a run on other data ({'; '.join(differences)}); {choices} another --workdir"
    )


def have_changed(workdir: Workdir, dataset: FewShotDataset) -> bool:
    """Whether a run has recorded other data than the current ones."""
    stored = workdir.read_data()
    return stored is not None and bool(changes(stored, dataset.identity))


def record(workdir: Workdir, dataset: FewShotDataset) -> None:
    """Records the identity of the run's data, unless the run has parts of unknown data from an earlier version."""
    stored = workdir.read_data()
    if stored is not None and not changes(stored, dataset.identity):
        return
    parts = [checkpoints.newest(part) for part in (workdir.generator, workdir.classifier, workdir.baseline)]
    if all("data" in about for about in parts if about is not None):
        workdir.move_aside(workdir.data)
        workdir.claim_data(dataset.identity)


def trained_otherwise(part: Path, stored: DataIdentity | None, dataset: FewShotDataset, workdir: Workdir) -> list[str]:
    """Returns how the data of a trained stage, as its run recorded them, differ from the current data; empty if not."""
    about = checkpoints.newest(part)
    if about is None:
        return []
    if "data" not in about:
        return _subset_changes(about, dataset)
    train_only = part == workdir.generator
    now, then = dataset.identity.digests(), about["data"]
    if all(then[name] == now[name] for name in ([TRAIN] if train_only else now)):
        return []
    if stored is not None and stored.digests()[TRAIN] == then[TRAIN]:
        return changes(stored, dataset.identity, train_only=train_only) or ["other images"]
    return ["other images"]


def _subset_changes(about: Mapping[str, Any], dataset: FewShotDataset) -> list[str]:
    """Returns the same for a checkpoint of an earlier version, as far as its classes and indices show it."""
    if dataset.divided:  # earlier versions divided folders by the number of images, and may have held out others
        return ["an earlier version held out other images of a folder without test/"]
    then, now = list(about["class_names"]), list(dataset.class_names)
    lines = [f"class {name!r} is new" for name in now if name not in then]
    lines += [f"class {name!r} is missing" for name in then if name not in now]
    if not lines and then != now:
        lines = ["the classes are in another order"]
    before, indices = about["train_indices"], dataset.train_indices.tolist()
    if len(before) != len(indices):
        lines.append(f"{len(indices)} training images instead of {len(before)}")
    elif not lines and before != indices:
        lines.append("other training images are drawn")
    return lines


def _test_data_changes(workdir: Workdir, dataset: FewShotDataset) -> list[str]:
    """Returns the same for the test images of an earlier version's results, as far as their numbers show it."""
    try:
        results = workdir.read_results()
        split = results["config"]["dataset"]["evaluate_on"]
        then = np.sum(results[split]["confusion"], axis=1).tolist()
    except (InputError, KeyError, TypeError, ValueError):  # missing or damaged results, which will be written again
        return []
    now = np.bincount(dataset.held_out.labels, minlength=len(dataset.class_names)).tolist()
    if sum(then) != sum(now):
        return [f"{sum(now)} {split} images instead of {sum(then)}"]
    return [] if then == now else [f"other numbers of {split} images per class"]
