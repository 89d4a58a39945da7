"""Looks at a run's data before training: refuses what cannot be trained on, and records what was found.

``check.json`` holds the findings (``data/findings.py``), and ``images.png`` shows training images of every class.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files, stored_format
from chimeramix_jax.config import catalog
from chimeramix_jax.data import findings_text
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.duplicates import exact_groups
from chimeramix_jax.data.findings import findings_of, list_of_copies
from chimeramix_jax.data.identity import HELD_OUT, TRAIN
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting import pictures
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.runs.time_estimate import estimated_seconds
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.stored_format import marked

MOST_CLASSES = 30  # rows of the contact sheet
IMAGES_OF_A_CLASS = 10
MOST_NAMED = 2  # copies that an error message names


def refuse_copies(config: ConfigDict, dataset: FewShotDataset) -> None:
    """Raises InputError if the same pixels are among a user's own training and held-out images, unless that is allowed.

    A classifier is right about images that it was trained on, so its accuracy would be too high. Published data sets
    are used as they are, since their figures are compared with those of others.
    """
    if config.dataset.duplicates == "report" or catalog.dataset_entry(dataset.name).source != "directory":
        return
    groups = [group for group in exact_groups(list_of_copies(dataset)) if group.across_the_split]
    if not groups:
        return
    pairs = []
    for group in groups[:MOST_NAMED]:
        first = {split: next(c.original.file for c in group.copies if c.split == split) for split in (TRAIN, HELD_OUT)}
        pairs.append(f"{first[TRAIN]} = {first[HELD_OUT]}")
    copies = sum(copy.split == HELD_OUT for group in groups for copy in group.copies)
    number = f"1 {config.dataset.evaluate_on} image is a copy of a training image"
    if copies > 1:
        number = f"{copies} {config.dataset.evaluate_on} images are copies of training images"
    more = f" and {len(groups) - MOST_NAMED} more pairs" if len(groups) > MOST_NAMED else ""
    raise InputError(
        f"dataset.duplicates: {number} ({', '.join(pairs)}{more}); remove them from either side, "
        "or allow them with --config.dataset.duplicates=report; --stage=check lists them"
    )


def refuse_too_few_to_mix(
    config: ConfigDict, labels: Int[np.ndarray, "images"], class_names: Sequence[str], fold: int = 0
) -> None:
    """Raises InputError if a class has too few training images to mix.

    Args:
        config: the run's settings.
        labels: the classes of the training images, each image once.
        class_names: by label.
        fold: the fold that was left out, from 1; 0: none.
    """
    if config.mixing.mask != "none":
        counts = np.bincount(labels)
        smallest = f"the number of training images of class {class_names[int(counts.argmin())]!r}"
        smallest += f" without fold {fold}" if fold else ""
        settings.check_mixed_images(settings.flatten(config), int(counts.min()), smallest)


def examine(config: ConfigDict, dataset: FewShotDataset) -> dict[str, Any]:
    """Returns what a look at the data finds, in JSON's types: the content of ``check.json``."""
    return files.plain(findings_of(dataset, config.dataset.evaluate_on, config.classifier.image_side).to_dict())


def record(workdir: Workdir, config: ConfigDict, dataset: FewShotDataset, findings: dict[str, Any]) -> bool:
    """Writes the findings and the contact sheet; returns whether they differ from those recorded before, if any."""
    picture = workdir.images_picture
    try:
        recorded = read(workdir)
    except InputError:  # damaged; it is written anew
        recorded = None
    if recorded == findings and picture.exists():
        return False
    files.write_json(workdir.check_findings, marked(findings))
    _draw(picture, config, dataset)
    return True


def record_and_print(workdir: Workdir, config: ConfigDict, dataset: FewShotDataset) -> None:
    """Records what the data are like, and prints a summary unless the directory holds the same findings already.

    Nothing is printed for the run of a fold, because all of its images are those of the run that it belongs to.
    """
    findings = examine(config, dataset)
    if record(workdir, config, dataset, findings) and not config.fold:
        lines = findings_text.summary(findings)
        for line in with_time_and_place(lines, workdir, config, findings):
            print(f"data: {line}", file=sys.stderr)


def read(workdir: Workdir) -> dict[str, Any] | None:
    """Returns a run's recorded findings; None if there are none, as in runs of earlier versions."""
    return stored_format.read(workdir.check_findings, "; write it again with --stage=check")


def _draw(path: Path, config: ConfigDict, dataset: FewShotDataset) -> None:
    """Draws the first training images of every class, at the side that the classifier sees."""
    train, distinct, rows = dataset.train, dataset.distinct_training, {}
    for label, name in list(enumerate(dataset.class_names))[:MOST_CLASSES]:
        chosen = distinct[train.labels[distinct] == label][:IMAGES_OF_A_CLASS]
        rows[name] = resize(train.images[chosen], config.classifier.image_side)
    pictures.save_png(path, pictures.contact_sheet(rows, IMAGES_OF_A_CLASS))


def with_time_and_place(
    lines: Iterable[str], workdir: Workdir, config: ConfigDict, findings: Mapping[str, Any]
) -> list[str]:
    """Returns the lines, the estimated time of the run if there is one, and where the files are."""
    images = findings["images"]
    estimate = estimated_seconds(workdir, config, images[TRAIN], images[HELD_OUT])
    time = []
    if estimate is not None:
        seconds, runs = estimate
        source = "a run" if runs == 1 else f"the median of {runs} runs"
        time = [f"expected time: {duration(seconds)}, that of {source} with the same settings and numbers of images"]
    place = f"images as the network sees them: {workdir.images_picture}; all findings: {workdir.check_findings}"
    return [*lines, *time, place]
