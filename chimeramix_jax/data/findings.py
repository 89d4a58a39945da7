"""What a look at a run's data shows before training: its classes, splits and sides, copies, and odd images."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from jaxtyping import Integer

from chimeramix_jax.data.builders import class_names as names_of_classes
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.duplicates import MOST_COMPARED, Copy, Group, exact_groups, near_groups
from chimeramix_jax.data.identity import HELD_OUT, TRAIN, UNUSED
from chimeramix_jax.data.originals import Original
from chimeramix_jax.files import plain

ELONGATED = 2  # at this ratio of the sides, a central crop cuts off half of an image
MUCH_LOST = 30  # per cent of an image's area: if a central crop cuts off more, the image counts as cut


@dataclass(frozen=True)
class Findings:
    """What a run's data are like. ``to_dict`` is what is stored and shown; its splits are train, held_out, unused."""

    dataset: str
    evaluate_on: str  # "test" or "validation": what the held-out images are
    # "train": the held-out images are part of the train split; "folds": there are none besides folds of the training
    # images; otherwise the split that they are.
    held_out_from: str
    folds: int  # into which the training images are divided, too; 0: none
    class_names: tuple[str, ...]
    labels: dict[str, Integer[np.ndarray, "_"]]  # by split
    sides: dict[str, list[int]]  # smallest, median and largest "width" and "height" of the original images, in pixels
    network_side: int  # pixels per side of the classifier's images
    stored_side: int  # that of the stored images; if it is smaller, they are enlarged to the network's
    fit: str  # how images are fitted into squares: ``dataset.fit``
    # Images that are smaller than both sides where it counts: a side or, if they are padded, the longer one.
    enlarged: int
    elongated: int  # images that are at least ``ELONGATED`` times as long as wide
    # Images that lose more than ``MUCH_LOST`` per cent of their area to a central crop, or would if they were cropped.
    cut: int
    flat: tuple[str, ...]  # images of almost a single colour
    unreadable: tuple[str, ...]  # files that were skipped
    exact: list[Group]
    near: list[Group] | None  # None: not searched, since only a user's own images are
    groups: int  # of the user's own, whose images are kept together
    near_together: bool  # whether the program's own divisions keep near duplicates together, as far as possible
    near_for_training_only: bool  # whether there were too many images to compare all with one another
    left_out: int  # images that are no validation images, since they belong together with a training image

    def to_dict(self) -> dict[str, Any]:
        """Returns the findings in JSON's types."""
        computed: dict[str, dict[str, Any]] = {
            "class_names": {
                "classes": self._classes(),
                "alike_names": [list(group) for group in names_of_classes.alike(self.class_names)],
            },
            "labels": {
                "images": {split: len(labels) for split, labels in self.labels.items()},
                "imbalance": {split: self._imbalance(split) for split in (TRAIN, HELD_OUT)},
            },
            "exact": {"exact_duplicates": [self._group(group) for group in self.exact]},
            "near": {"near_duplicates": None if self.near is None else [self._group(group) for group in self.near]},
        }
        content: dict[str, Any] = {}
        for field in fields(self):
            content |= computed.get(field.name) or {field.name: plain(getattr(self, field.name))}
        return content

    def _counts(self, split: str) -> list[int]:
        return np.bincount(self.labels[split], minlength=len(self.class_names)).tolist()

    def _classes(self) -> list[dict[str, Any]]:
        counts = {split: self._counts(split) for split in self.labels}
        return [
            {"name": name} | {split: of_split[label] for split, of_split in counts.items()}
            for label, name in enumerate(self.class_names)
        ]

    def _imbalance(self, split: str) -> dict[str, Any]:
        """Returns the smallest and the largest class of a split, and their numbers of images."""
        counts = self._counts(split)
        ends = {"smallest": int(np.argmin(counts)), "largest": int(np.argmax(counts))}
        return {end: {"class": self.class_names[label], "images": counts[label]} for end, label in ends.items()}

    def _group(self, group: Group) -> dict[str, Any]:
        return {
            "files": [
                {
                    "file": copy.original.file,
                    "class": self.class_names[copy.original.label],
                    "split": copy.split,
                    "fold": None if copy.fold is None else copy.fold + 1,
                }
                for copy in group.copies
            ],
            "between_classes": group.between_classes,
            "across_the_split": group.across_the_split,
            "across_folds": group.across_folds,
        }


def findings_of(dataset: FewShotDataset, evaluate_on: str, network_side: int) -> Findings:
    """Examines the data of a run, which ``load_few_shot`` has loaded.

    Args:
        dataset: the data.
        evaluate_on: ``dataset.evaluate_on`` of its settings.
        network_side: pixels per side of the classifier's images.
    """
    copies = list_of_copies(dataset)
    originals = [copy.original for copy in copies]
    own, stored_side = dataset.originals, dataset.train.images.shape[1]
    sides = {name: np.array([getattr(original, name) for original in originals]) for name in ("width", "height")}
    shorter, longer = np.minimum(*sides.values()), np.maximum(*sides.values())
    labels = {
        split: np.array([copy.original.label for copy in copies if copy.split == split], dtype=np.int64)
        for split in (TRAIN, HELD_OUT, UNUSED)
    }
    return Findings(
        dataset=dataset.name,
        evaluate_on=evaluate_on,
        held_out_from=held_out_from(dataset, evaluate_on),
        class_names=dataset.class_names,
        folds=0 if dataset.fold_of_each is None else dataset.folds,
        labels=labels,
        sides={name: [int(values.min()), int(np.median(values)), int(values.max())] for name, values in sides.items()},
        network_side=network_side,
        stored_side=stored_side,
        fit=dataset.fit,
        enlarged=int(np.sum((longer if dataset.fit == "pad" else shorter) < min(network_side, stored_side))),
        elongated=int(np.sum(longer >= ELONGATED * shorter)),
        cut=int(np.sum(100 * shorter < (100 - MUCH_LOST) * longer)),
        flat=() if own is None else tuple(original.file for original in originals if not original.perceptual_hash),
        unreadable=() if own is None else own.unreadable,
        exact=exact_groups(copies),
        near=None if own is None else near_groups(copies),
        groups=len({original.group for original in originals} - {""}),
        near_together=dataset.near_together,
        near_for_training_only=own is not None and len(copies) > MOST_COMPARED,
        left_out=dataset.left_out,
    )


def held_out_from(dataset: FewShotDataset, evaluate_on: str) -> str:
    """Returns the split that the held-out images are from: "train", "validation" or "test"; "folds" without any."""
    if not len(dataset.held_out.labels):
        return "folds"
    if dataset.divided or (evaluate_on == "validation" and not dataset.own_validation):
        return "train"
    return evaluate_on


def list_of_copies(dataset: FewShotDataset) -> list[Copy]:
    """Returns all images of a user's own data, or the images used of a published data set; training images first.

    A published data set is so large that only the images used are decoded. They are named by their places.
    """
    own = dataset.originals
    if own is not None:
        parts = {TRAIN: own.train, HELD_OUT: own.held_out, UNUSED: own.unused}
        copies = {split: [Copy(original, split) for original in originals] for split, originals in parts.items()}
        return [*_in_folds(copies[TRAIN], dataset), *copies[HELD_OUT], *copies[UNUSED]]
    identity = dataset.identity
    names = [f"training image {index}" for index in dataset.train_indices.tolist()]
    held_out = [f"held-out image {index}" for index in range(len(identity.held_out.labels))]
    train = _in_folds(_stored(TRAIN, dataset, names), dataset)
    return [*(train[position] for position in dataset.distinct_training), *_stored(HELD_OUT, dataset, held_out)]


def _in_folds(train: list[Copy], dataset: FewShotDataset) -> list[Copy]:
    """Returns the training images with their folds, if there are any."""
    folds = dataset.fold_of_each
    if folds is None:
        return train
    return [replace(copy, fold=fold) for copy, fold in zip(train, folds.tolist(), strict=True)]


def _stored(split: str, dataset: FewShotDataset, names: Sequence[str]) -> list[Copy]:
    identity, images = dataset.identity.split(split), (dataset.train if split == TRAIN else dataset.held_out).images
    height, width = images.shape[1:3]
    return [
        Copy(Original(name, label, width, height, digest, ""), split)
        for name, label, digest in zip(names, identity.labels, identity.images, strict=True)
    ]
