"""Directories of runs that were never trained: made-up figures, written by the program's own writers."""

from pathlib import Path
from typing import Any

import numpy as np

from chimeramix_jax import config as settings
from chimeramix_jax.data.loading import FewShotDataset, LabelledImages
from chimeramix_jax.runs.results import Measured, results_of
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.evaluation import Evaluation


def make_run(
    path: Path,
    top1: float | None,
    *,
    config: str = "configs/digits.py:baseline",
    baseline_top1: float | None = None,
    classes: int = 10,
    examples: int = 1000,
    **changes: Any,
) -> Path:
    """Writes a run's ``config.json`` and, if it is finished, its ``results.json``; returns ``path``.

    Args:
        path: the run's directory.
        top1: its classifier's accuracy, in [0, 1]; None: it is not finished.
        config: where its settings come from, as for ``--config``.
        baseline_top1: the accuracy of the baseline that it compares with; None: it compares with none.
        classes: how many classes there are.
        examples: how many images it is measured on.
        changes: settings to change; ``__`` in a name stands for the dot.
    """
    loaded = settings.load(config)
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    loaded.update_from_flattened_dict({"compare_with_baseline": baseline_top1 is not None} | changed)
    workdir = Workdir(path)
    workdir.claim(loaded)
    if top1 is None:
        return path
    names = [f"class {number}" for number in range(classes)]
    images = loaded.max_labels_per_class or 100
    indices = np.random.default_rng(loaded.seed).permutation(2 * classes * images)[: classes * images]
    dataset = _without_images(tuple(names))
    about = {
        "config": settings.config_to_dict(loaded),
        "class_names": names,
        "train_indices": indices.tolist(),
        "data": dataset.identity.digests(),
    }
    measured = {"classifier": _measured(loaded.experiment, top1, classes, examples)}
    if baseline_top1 is not None:
        measured["baseline"] = _measured("baseline", baseline_top1, classes, examples)
    results_of(loaded, about, dataset, measured, workdir).write(workdir)
    return path


def _without_images(class_names: tuple[str, ...]) -> FewShotDataset:
    """A data set of classes that have no images, since nothing is trained."""
    nothing = LabelledImages(np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, np.int32))
    return FewShotDataset("made", class_names, nothing, np.zeros(0, np.int64), nothing)


def _measured(experiment: str, top1: float, classes: int, examples: int) -> Measured:
    """A classifier that nobody trained; what it said of each image is not told."""
    return Measured(experiment, _evaluation(top1, classes, examples), np.zeros(0, np.int64), seconds=60.0, rollbacks=[])


def _evaluation(top1: float, classes: int, examples: int) -> Evaluation:
    """Figures that agree with each other: wrong images are taken for the next class."""
    right = np.eye(classes) * top1
    wrong = np.roll(np.eye(classes), 1, axis=1) * (1 - top1)
    confusion = np.rint((right + wrong) * examples / classes).astype(np.int64)
    return Evaluation(top1, (1 + top1) / 2, top1, 1 - top1, examples, confusion)
