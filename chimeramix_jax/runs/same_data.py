"""Whether the networks in a run's directory were trained on the data that are there now.

A run records what its data are (``data.json``, ``data/identity.py``), and every checkpoint and the results carry the
digests. Runs of earlier versions have neither; of them the classes, the drawn indices and the numbers of images that
they were measured on are compared.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chimeramix_jax.data.identity import TRAIN, DataIdentity, changes
from chimeramix_jax.data.loading import FewShotDataset
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training import checkpoints


def refuse_other_data(workdir: Workdir, dataset: FewShotDataset, stage: str, replaced: Sequence[Path] = ()) -> None:
    """Makes sure that what stays of a run was made of the data that are there now.

    Args:
        workdir: the run's directory.
        dataset: the data of now.
        stage: what is to be done, for the advice.
        replaced: what is about to be moved aside, and may be of other data.

    Raises:
        InputError: it was not; the message says what has changed since.
    """
    stored = workdir.read_data()
    if stored is not None and not replaced:
        found = changes(stored, dataset.identity)
    else:
        parts = (part for part in (workdir.generator, workdir.classifier, workdir.baseline) if part not in replaced)
        found = next(filter(None, (trained_otherwise(part, stored, dataset, workdir) for part in parts)), [])
        if not found and stored is None and workdir.results not in replaced:
            found = _measured_otherwise(workdir, dataset)
    if found:
        again = "--retrain" if not replaced and stage in ("all", "generator") else "--stage=all --retrain"
        raise InputError(
            f"--workdir={workdir.path}: holds a run on other data ({'; '.join(found)}); train it again with {again}, "
            "which moves the old files aside, or choose another --workdir"
        )


def record(workdir: Workdir, dataset: FewShotDataset) -> None:
    """Writes down what the run's data are, unless something there is of an earlier version and might be of others."""
    stored = workdir.read_data()
    if stored is not None and not changes(stored, dataset.identity):
        return
    parts = [checkpoints.newest(part) for part in (workdir.generator, workdir.classifier, workdir.baseline)]
    if all("data" in about for about in parts if about is not None):
        workdir.move_aside(workdir.data)
        workdir.claim_data(dataset.identity)


def trained_otherwise(part: Path, stored: DataIdentity | None, dataset: FewShotDataset, workdir: Workdir) -> list[str]:
    """How the data of a trained stage differ from those of now, in words; empty: not at all, or nothing is trained.

    Args:
        part: the stage's directory.
        stored: what the run recorded of its data.
        dataset: the data of now.
        workdir: the directory of the run that has trained the stage.
    """
    about = checkpoints.newest(part)
    if about is None:
        return []
    if "data" not in about:
        return _drawn_otherwise(about, dataset)
    train_only = part == workdir.generator
    now, then = dataset.identity.digests(), about["data"]
    if all(then[name] == now[name] for name in ([TRAIN] if train_only else now)):
        return []
    if stored is not None and stored.digests()[TRAIN] == then[TRAIN]:
        return changes(stored, dataset.identity, train_only=train_only) or ["other images"]
    return ["other images"]


def _drawn_otherwise(about: Mapping[str, Any], dataset: FewShotDataset) -> list[str]:
    """The same for a checkpoint of an earlier version, as far as that tells."""
    if dataset.divided:  # which then followed from the number of images, and may have kept others for testing
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


def _measured_otherwise(workdir: Workdir, dataset: FewShotDataset) -> list[str]:
    """The same for the results of an earlier version."""
    try:
        results = workdir.read_results()
        split = results["config"]["dataset"]["evaluate_on"]
        then = np.sum(results[split]["confusion"], axis=1).tolist()
    except (InputError, KeyError, TypeError, ValueError):  # none, or damaged ones, which are made again
        return []
    now = np.bincount(dataset.held_out.labels, minlength=len(dataset.class_names)).tolist()
    if sum(then) != sum(now):
        return [f"{sum(now)} {split} images instead of {sum(then)}"]
    return [] if then == now else [f"other numbers of {split} images per class"]
