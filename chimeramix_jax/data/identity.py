"""What a run's data are, by their content: to notice that a folder or an archive has changed since.

Where the data lie and how that is spelled does not matter, nor do the names and dates of the files, but for the order
of the images that follows from the names.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Integer, UInt8

_DIGESTED_FORM = 1  # of what digests are taken of: digests of another form would never be equal

TRAIN, HELD_OUT, UNUSED = "train", "held_out", "unused"


def image_digest(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    """A short hash of an image's pixels and size: 16 hexadecimal digits."""
    digest = hashlib.blake2b(repr(pixels.shape).encode(), digest_size=8)
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Split:
    """The images of one split, in their order.

    Attributes:
        images: ``image_digest`` of each.
        labels: the class of each, as an index.
    """

    images: tuple[str, ...]
    labels: tuple[int, ...]

    @classmethod
    def of(cls, images: Iterable[str], labels: Integer[np.ndarray, "examples"]) -> "Split":
        """Of the images' digests and their labels."""
        return cls(tuple(images), tuple(labels.tolist()))


@dataclass(frozen=True)
class DataIdentity:
    """The data of a run.

    Attributes:
        class_names: by label.
        train: the images that it trains on.
        held_out: those that it is measured on.
        unused: of a folder of images, those that it does neither with; they only help to say what has changed.
    """

    class_names: tuple[str, ...]
    train: Split
    held_out: Split
    unused: Split = field(default_factory=lambda: Split((), ()))

    def digests(self) -> dict[str, str]:
        """A SHA-256 of either split that is used, over its images, their classes and their order."""
        return {name: self._digest(self.split(name)) for name in (TRAIN, HELD_OUT)}

    def unordered(self, name: str) -> str:
        """A digest of one split's labelled images, whatever their order."""
        split = self.split(name)
        pairs = sorted(zip(split.images, split.labels, strict=True))
        return self._digest(Split(tuple(image for image, _ in pairs), tuple(label for _, label in pairs)))

    def split(self, name: str) -> Split:
        """One of the three."""
        return {TRAIN: self.train, HELD_OUT: self.held_out, UNUSED: self.unused}[name]

    def to_dict(self) -> dict[str, Any]:
        """The same in JSON's types."""
        splits = {name: {"images": self.split(name).images, "labels": self.split(name).labels} for name in _NAMES}
        return {"class_names": self.class_names, **splits}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "DataIdentity":
        """Reads what ``to_dict`` returned, also after JSON has made lists of its tuples.

        Raises:
            ValueError: it is not such a thing.
        """
        try:
            splits = {name: Split(tuple(stored[name]["images"]), tuple(stored[name]["labels"])) for name in _NAMES}
            return cls(tuple(stored["class_names"]), **splits)
        except (KeyError, TypeError) as error:
            raise ValueError(f"not as it was written ({type(error).__name__}: {error})") from None

    def _digest(self, split: Split) -> str:
        content = [_DIGESTED_FORM, self.class_names, split.images, split.labels]
        return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


_NAMES = {TRAIN: "training", HELD_OUT: "test", UNUSED: "unused"}  # of the splits, in words

_Images = Counter[tuple[str, str, str]]  # by digest, class name and split


def changes(before: DataIdentity, now: DataIdentity, *, train_only: bool = False) -> list[str]:
    """What has become of the data, in words, such as ``12 new images`` and ``class 'kiwi' is new``; empty: nothing.

    Args:
        before: the data of then.
        now: those of now.
        train_only: what is held out does not matter.
    """
    used = (TRAIN,) if train_only else (TRAIN, HELD_OUT)
    if all(before.digests()[name] == now.digests()[name] for name in used):
        return []
    named = used if train_only else tuple(_NAMES)
    old, new = _images(before, named), _images(now, named)
    renamed = _renamed_classes(before, now, old, new)
    kept = [renamed.get(name, name) for name in before.class_names]
    old = Counter({(image, renamed.get(name, name), at): count for (image, name, at), count in old.items()})
    return [
        *(f"class {then!r} is now called {name!r}" for then, name in renamed.items()),
        *(f"class {name!r} is new" for name in now.class_names if name not in kept),
        *(f"class {name!r} is missing" for name in kept if name not in now.class_names),
        *_image_lines(old, new),
    ] or ["the same images in another order"]


def _images(data: DataIdentity, splits: Sequence[str]) -> _Images:
    return Counter(
        (image, data.class_names[label], name)
        for name in splits
        for image, label in zip(data.split(name).images, data.split(name).labels, strict=True)
    )


def _renamed_classes(before: DataIdentity, now: DataIdentity, old: _Images, new: _Images) -> dict[str, str]:
    """Classes that are gone, each with the new one that holds the very same images."""

    def content(images: _Images, wanted: str) -> tuple[str, ...]:
        return tuple(sorted(image for image, name, _ in images.elements() if name == wanted))

    gone = [name for name in before.class_names if name not in now.class_names]
    come = {content(new, name): name for name in now.class_names if name not in before.class_names}
    return {name: come[content(old, name)] for name in gone if content(old, name) in come}


def _image_lines(old: _Images, new: _Images) -> list[str]:
    """How many images are new, missing, in another class, and in another split."""
    left, arrived = _places(old - new), _places(new - old)
    added, lost, relabelled, crossed = 0, 0, 0, Counter[tuple[str, str]]()
    for image in {**left, **arrived}:
        targets = arrived.get(image, [])
        for name, split in left.get(image, []):
            target = next((place for place in targets if place[0] == name), targets[0] if targets else None)
            if target is None:
                lost += 1
                continue
            targets.remove(target)
            if target[0] == name:
                crossed[split, target[1]] += 1
            else:
                relabelled += 1
        added += len(targets)
    lines = [_counted(added, "new image")] if added else []
    lines += [f"{_counted(lost, 'image')} missing"] if lost else []
    lines += [f"{_counted(relabelled, 'image')} moved to another class"] if relabelled else []
    for (before, after), count in sorted(crossed.items()):
        lines.append(f"{_counted(count, 'image')} moved from {_NAMES[before]} to {_NAMES[after]}")
    return lines


def _places(images: _Images) -> dict[str, list[tuple[str, str]]]:
    """Class and split of every copy of every image."""
    places: dict[str, list[tuple[str, str]]] = {}
    for image, name, split in sorted(images.elements()):
        places.setdefault(image, []).append((name, split))
    return places


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
