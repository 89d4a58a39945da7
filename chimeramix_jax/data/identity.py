"""Identifies a run's data by their content, to notice that a folder or archive has changed.

The location of the data does not matter, and neither do names and dates of files, except that the names determine the
order of the images.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8, UInt64

from chimeramix_jax.reporting.wording import counted

_DIGEST_VERSION = 1  # of the content that digests are computed from

SPLITS = TRAIN, HELD_OUT, UNUSED = "train", "held_out", "unused"


def image_digest(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    """Returns a short hash of an image's pixels and size: 16 hexadecimal digits."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


def packed(digests: Iterable[str]) -> UInt64[np.ndarray, "distinct"]:
    """Returns the distinct digests of images in 8 bytes each, sorted, so that they tell neither order nor number."""
    return np.array(sorted({int(digest, 16) for digest in digests}), "<u8")


def unpacked(numbers: UInt64[np.ndarray, "distinct"]) -> frozenset[str]:
    """Returns the digests that ``packed`` was given, each once."""
    return frozenset(f"{number:016x}" for number in numbers.tolist())


@dataclass(frozen=True)
class Split:
    """The images of a split, in order."""

    images: tuple[str, ...]  # the ``image_digest`` of each image
    labels: tuple[int, ...]  # the class index of each image

    @classmethod
    def of(cls, images: Iterable[str], labels: Integer[np.ndarray, "examples"]) -> "Split":
        """Creates the split from the images' digests and their labels."""
        return cls(tuple(images), tuple(labels.tolist()))


@dataclass(frozen=True)
class DataIdentity:
    """The content of a run's data."""

    class_names: tuple[str, ...]  # by label
    train: Split
    held_out: Split  # the images that classifiers are evaluated on
    # All other images of an image folder; they only help to describe changes.
    unused: Split = field(default_factory=lambda: Split((), ()))

    def digests(self) -> dict[str, str]:
        """Returns SHA-256 digests of the training and held-out splits: their images, classes and order."""
        return {name: self._digest(self.split(name)) for name in (TRAIN, HELD_OUT)}

    def unordered(self, name: str) -> str:
        """Returns a digest of a split's labelled images that does not depend on their order."""
        split = self.split(name)
        pairs = sorted(zip(split.images, split.labels, strict=True))
        return self._digest(Split(tuple(image for image, _ in pairs), tuple(label for _, label in pairs)))

    def split(self, name: str) -> Split:
        """Returns the split called ``TRAIN``, ``HELD_OUT`` or ``UNUSED``."""
        return {TRAIN: self.train, HELD_OUT: self.held_out, UNUSED: self.unused}[name]

    def to_dict(self) -> dict[str, Any]:
        """Returns the same content in JSON's types."""
        splits = {name: {"images": self.split(name).images, "labels": self.split(name).labels} for name in _NAMES}
        return {"class_names": self.class_names, **splits}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "DataIdentity":
        """Restores the result of ``to_dict``, even if tuples have become lists; raises ValueError if it cannot."""
        try:
            splits = {name: Split(tuple(stored[name]["images"]), tuple(stored[name]["labels"])) for name in _NAMES}
            return cls(tuple(stored["class_names"]), **splits)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a stored data identity ({type(error).__name__}: {error})") from None

    def _digest(self, split: Split) -> str:
        content = [_DIGEST_VERSION, self.class_names, split.images, split.labels]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


_NAMES = {TRAIN: "training", HELD_OUT: "test", UNUSED: "unused"}  # the splits in messages

Images = Counter[tuple[str, str, str]]  # counts of (digest, class name, split)
Place = tuple[str, str]  # class name and split


def changes(before: DataIdentity, now: DataIdentity, *, train_only: bool = False) -> list[str]:
    """Describes how the data have changed, such as ``12 new images`` and ``class 'kiwi' is new``; empty: not at all."""
    used = (TRAIN,) if train_only else (TRAIN, HELD_OUT)
    if all(before.digests()[name] == now.digests()[name] for name in used):
        return []
    compared = used if train_only else tuple(_NAMES)
    renamed = renamed_classes(before, now, compared)
    old, new = images_of(before, compared, renamed), images_of(now, compared)
    kept = [renamed.get(name, name) for name in before.class_names]
    return [
        *(f"class {old_name!r} is now called {name!r}" for old_name, name in renamed.items()),
        *(f"class {name!r} is new" for name in now.class_names if name not in kept),
        *(f"class {name!r} is missing" for name in kept if name not in now.class_names),
        *_image_lines(old, new),
    ] or ["the same images in another order"]


def images_of(data: DataIdentity, splits: Sequence[str] = SPLITS, renamed: Mapping[str, str] | None = None) -> Images:
    """Counts the images of some splits; ``renamed`` maps names of classes to those that they now have."""
    names = [(renamed or {}).get(name, name) for name in data.class_names]
    return Counter(
        (image, names[label], split)
        for split in splits
        for image, label in zip(data.split(split).images, data.split(split).labels, strict=True)
    )


def renamed_classes(before: DataIdentity, now: DataIdentity, splits: Sequence[str] = SPLITS) -> dict[str, str]:
    """Maps the names of missing classes to new classes that contain exactly the same images."""
    old, new = images_of(before, splits), images_of(now, splits)

    def content(images: Images, class_name: str) -> tuple[str, ...]:
        return tuple(sorted(image for image, name, _ in images.elements() if name == class_name))

    missing = [name for name in before.class_names if name not in now.class_names]
    added = {content(new, name): name for name in now.class_names if name not in before.class_names}
    return {name: added[content(old, name)] for name in missing if content(old, name) in added}


def changed_places(old: Images, new: Images) -> Iterator[tuple[Place | None, Place | None]]:
    """Yields the old and the new place of every image that has changed; None: it is new, or missing."""
    left, arrived = _places(old - new), _places(new - old)
    for image in {**left, **arrived}:
        targets = arrived.get(image, [])
        for place in left.get(image, []):
            target = next((other for other in targets if other[0] == place[0]), targets[0] if targets else None)
            if target is not None:
                targets.remove(target)
            yield place, target
        for target in targets:
            yield None, target


def _image_lines(old: Images, new: Images) -> list[str]:
    """Counts the images that are new, missing, in another class, and in another split."""
    added, lost, relabelled, crossed = 0, 0, 0, Counter[tuple[str, str]]()
    for before, after in changed_places(old, new):
        if before is None:
            added += 1
        elif after is None:
            lost += 1
        elif before[0] != after[0]:
            relabelled += 1
        else:
            crossed[before[1], after[1]] += 1
    lines = [counted(added, "new image")] if added else []
    lines += [f"{counted(lost, 'image')} missing"] if lost else []
    lines += [f"{counted(relabelled, 'image')} moved to another class"] if relabelled else []
    return lines + crossed_lines(crossed, "image")


def crossed_lines(crossed: Mapping[tuple[str, str], int], noun: str) -> list[str]:
    """Says how many images have moved from one split to another."""
    return [
        f"{counted(count, noun)} moved from {_NAMES[before]} to {_NAMES[after]}"
        for (before, after), count in sorted(crossed.items())
    ]


def _places(images: Images) -> dict[str, list[Place]]:
    """Returns class and split of every copy of every image."""
    places: dict[str, list[Place]] = {}
    for image, name, split in sorted(images.elements()):
        places.setdefault(image, []).append((name, split))
    return places
