"""The images of a custom data set: arrays that a registered function returns (``extensions.dataset``)."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from PIL import Image

from chimeramix_jax.data.builders.class_names import problem_with
from chimeramix_jax.data.builders.contents import TEST, TRAIN, Contents, fingerprint_of
from chimeramix_jax.errors import InputError
from chimeramix_jax.extensions import Arrays, lookup, registry


@dataclass(frozen=True)
class FunctionImage:
    """An image in an array, and its class."""

    pixels: UInt8[np.ndarray, "..."] = field(repr=False)  # of shape (height, width) or (height, width, 3)
    label: int
    name: str  # such as ``train_images[17]``

    @property
    def place(self) -> str:
        """The name."""
        return self.name

    def read(self) -> Image.Image:
        """Returns the image as RGB."""
        return Image.fromarray(self.pixels).convert("RGB")


def scan_function(name: str, code: str, evaluate_on: str = "test") -> Contents:
    """Calls the function of a custom data set; raises InputError, with its file and line, if its arrays are unusable.

    Args:
        name: the name of the data set.
        code: the code that registers it, as settings record it.
        evaluate_on: the held-out images to use, "test" or "validation".
    """
    function = lookup.find(registry.DATASET, name, code)
    with lookup.failures_named(registry.DATASET, name, code):
        returned = function()
    wrong = f"{lookup.place_of(registry.DATASET, name, code)}: data set {name!r}"
    if not isinstance(returned, Arrays):
        raise InputError(f"{wrong} returns a {type(returned).__name__}; it must return extensions.Arrays")
    class_names = _class_names(returned.class_names, wrong)
    splits, digest = {}, hashlib.sha256()
    for split in (TRAIN, TEST):
        images, labels = getattr(returned, f"{split}_images"), getattr(returned, f"{split}_labels")
        if split == TEST and images is None and labels is None:
            continue
        images = _checked_images(images, f"{wrong}: {split}_images")
        numbers = _checked_labels(labels, len(images), len(class_names), f"{wrong}: {split}_labels")
        digest.update(f"{split} {images.shape}".encode() + np.ascontiguousarray(images).data + numbers.tobytes())
        splits[split] = tuple(
            FunctionImage(pixels, int(label), f"{split}_images[{position}]")
            for position, (pixels, label) in enumerate(zip(images, numbers, strict=True))
        )
    _refuse_few(splits, class_names, wrong)
    fingerprint = fingerprint_of([class_names, digest.hexdigest()])
    return Contents(class_names, splits[TRAIN], None, splits.get(TEST), fingerprint)


def _class_names(given: Any, wrong: str) -> tuple[str, ...]:
    """Returns the names of the classes; raises InputError unless they are at least two different lines of text."""
    names = tuple(given) if isinstance(given, list | tuple) else ()
    texts = all(isinstance(name, str) for name in names)
    if len(names) < 2 or not texts or len(set(names)) < len(names):
        raise InputError(f"{wrong}: class_names are {given!r}; they must be two or more different names, in a list")
    if problem := problem_with(names, "class"):
        raise InputError(f"{wrong}: {problem}")
    return names


def _checked_images(images: Any, wrong: str) -> UInt8[np.ndarray, "..."]:
    """Returns a split's images as a NumPy array; raises InputError if their shape or type is wrong."""
    if not hasattr(images, "shape") or not hasattr(images, "dtype"):
        raise InputError(f"{wrong} are a {type(images).__name__}; they must be an array of uint8, from 0 to 255")
    if images.dtype != np.uint8:
        raise InputError(f"{wrong} are {images.dtype}; they must be uint8, from 0 to 255")
    shape = tuple(images.shape)
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] != 3) or 0 in shape:
        raise InputError(
            f"{wrong} have the shape {shape}; it must be (images, height, width, 3), or (images, height, width) if "
            "they are grey"
        )
    return np.asarray(images)


def _checked_labels(labels: Any, images: int, classes: int, wrong: str) -> Int64[np.ndarray, "images"]:
    """Returns a split's labels; raises InputError unless they are the numbers of classes, one for each image."""
    kind = np.asarray(labels).dtype
    if kind.kind not in "iu":
        raise InputError(f"{wrong} are {kind}; they must be integers, one for each image")
    numbers = np.asarray(labels)
    if numbers.shape != (images,):
        raise InputError(f"{wrong} have the shape {numbers.shape}; it must be ({images},), one for each image")
    if numbers.min() < 0 or numbers.max() >= classes:
        raise InputError(
            f"{wrong} are from {numbers.min()} to {numbers.max()}; with {classes} class names they must be from 0 to "
            f"{classes - 1}"
        )
    return numbers.astype(np.int64)


def _refuse_few(splits: dict[str, tuple[FunctionImage, ...]], class_names: tuple[str, ...], wrong: str) -> None:
    """Raises InputError unless every class has a training image and, without test images, one to hold out."""
    least = 1 if TEST in splits else 2
    counts = np.bincount([image.label for image in splits[TRAIN]], minlength=len(class_names))
    if counts.min() < least:
        name, enough = class_names[counts.argmin()], "one" if least == 1 else "two, one of them to test"
        raise InputError(f"{wrong}: class {name!r} has {counts.min()} training images; every class needs {enough}")
