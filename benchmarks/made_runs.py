"""Makes directories of runs that were never trained: invented figures, written by the program's own writers."""

from pathlib import Path
from typing import Any

import numpy as np

from chimeramix_jax import config as settings
from chimeramix_jax.data.dataset import FewShotDataset, LabelledImages
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
        top1: the classifier's accuracy, in [0, 1]; None: the run is not finished.
        config: the source of the settings, as for ``--config``.
        baseline_top1: the baseline's accuracy; None: the run has no baseline.
        classes: the number of classes.
        examples: the number of test images.
        changes: settings to change; ``__`` in a name stands for a dot.
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
    results_of(loaded, about, dataset, measured, {"generator": workdir.generator}).write(workdir)
    return path


def _without_images(class_names: tuple[str, ...]) -> FewShotDataset:
    """Returns a data set whose classes have no images, because nothing is trained."""
    nothing = LabelledImages(np.zeros((0, 8, 8, 3), np.uint8), np.zeros(0, np.int32), ())
    return FewShotDataset("made", class_names, nothing, np.zeros(0, np.int64), nothing)


def _measured(experiment: str, top1: float, classes: int, examples: int) -> Measured:
    """Returns the results of an invented classifier, without predictions for single images."""
    evaluation, none = _evaluation(top1, classes, examples), np.zeros(0, np.int64)
    return Measured(experiment, evaluation, np.zeros((0, classes), np.float32), none, none, seconds=60.0, rollbacks=[])


def _evaluation(top1: float, classes: int, examples: int) -> Evaluation:
    """Returns figures that agree with each other; wrongly classified images are predicted as the next class."""
    right = np.eye(classes) * top1
    wrong = np.roll(np.eye(classes), 1, axis=1) * (1 - top1)
    confusion = np.rint((right + wrong) * examples / classes).astype(np.int64)
    return Evaluation(top1, (1 + top1) / 2, top1, 1 - top1, examples, confusion)
