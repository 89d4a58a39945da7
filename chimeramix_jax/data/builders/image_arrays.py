"""Lists a user's own images from an NPZ file of arrays with the names that MedMNIST uses.

::

    train_images, train_labels     training images
    val_images, val_labels         validation images, optional
    test_images, test_labels       test images; without them a share of each class is held out (data/holdout.py)

Images are uint8, of shape (images, height, width) or (images, height, width, 1) if they are grey, and (images, height,
width, 3) in RGB. Labels are whole numbers, of shape (images,) or (images, 1); they also name the classes. The published
order, to which few-shot splits refer, is that of the arrays.
"""

import hashlib
import threading
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64, Shaped, UInt8
from PIL import Image

from chimeramix_jax.data.builders.contents import (
    TEST,
    TRAIN,
    VALIDATION,
    Contents,
    fingerprint_of,
    named_if_unreadable,
    refuse_single_images,
    state_of,
)
from chimeramix_jax.errors import InputError, one_line

_KEYS = {TRAIN: "train", VALIDATION: "val", TEST: "test"}  # MedMNIST's names of the splits


@dataclass(frozen=True)
class ArrayImage:
    """An image in an array, and its class."""

    archive: "_Archive"
    key: str  # of the array
    position: int
    label: int

    @property
    def name(self) -> str:
        """The array and the position in it, such as ``train_images[17]``."""
        return f"{self.key}[{self.position}]"

    @property
    def place(self) -> str:
        """The same with the path of the file."""
        return f"{self.archive.path}: {self.name}"

    def read(self) -> Image.Image:
        """Returns the image as RGB."""
        return Image.fromarray(self.archive.images(self.key)[self.position]).convert("RGB")


@dataclass(frozen=True)
class _Archive:
    """An NPZ file, from which each array of images is read once, when it is needed."""

    path: Path
    _images: dict[str, UInt8[np.ndarray, "..."]] = field(default_factory=dict, compare=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, compare=False)

    def images(self, key: str) -> UInt8[np.ndarray, "..."]:
        """Returns the array of images, of shape (images, height, width) or (images, height, width, 3)."""
        with self._lock:
            if key not in self._images:
                images = self.array(key)
                self._images[key] = images[..., 0] if images.ndim == 4 and images.shape[3] == 1 else images
            return self._images[key]

    def array(self, key: str) -> Shaped[np.ndarray, "..."]:
        """Reads an array; raises InputError if it is damaged or holds Python objects, which are never loaded."""
        try:
            with np.load(self.path, allow_pickle=False) as arrays:
                return arrays[key]
        except Exception as error:  # NumPy, zipfile and zlib raise errors of many classes for a damaged file
            raise InputError(f"dataset.directory: {key} in {self.path} cannot be read ({one_line(error)})") from error

    def headers(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Returns shape and type of every array, by name, without reading the arrays."""
        headers = {}
        with named_if_unreadable(self.path):
            try:
                with zipfile.ZipFile(self.path) as archive:
                    for member in archive.namelist():
                        if member.endswith(".npy"):
                            headers[member.removesuffix(".npy")] = _header(archive, member)
            except OSError:
                raise
            except Exception as error:  # damaged, encrypted, or compressed in a way that zipfile does not know
                raise InputError(
                    f"dataset.directory: {self.path} is not an .npz file of arrays ({one_line(error)})"
                ) from None
        return headers


def _header(archive: zipfile.ZipFile, member: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Reads shape and type of an array in an NPZ file."""
    with archive.open(member) as file:
        major, _ = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, kind = read(file)
        return shape, kind


def scan_arrays(path: Path) -> Contents:
    """Lists the images of an NPZ file, without reading them; raises InputError, which names arrays, if it is unusable.

    The labels are read, as they decide the classes.
    """
    archive = _Archive(path)
    headers = archive.headers()
    for key in ("train_images", "train_labels"):
        if key not in headers:
            raise InputError(
                f"dataset.directory: {path} has no array {key!r}; it must have train_images and train_labels, and may "
                f"have val_images, val_labels, test_images and test_labels; it has {', '.join(headers) or 'none'}"
            )
    labels = {
        split: _labels(archive, prefix, headers)
        for split, prefix in _KEYS.items()
        if f"{prefix}_images" in headers or f"{prefix}_labels" in headers
    }
    numbers = np.unique(labels[TRAIN])
    class_names = tuple(map(str, numbers.tolist()))
    if len(numbers) < 2:
        raise InputError(
            f"dataset.directory: train_labels in {path} contain only one class, {class_names[0]}; at least two are "
            "needed"
        )
    splits = {}
    for split, of_split in labels.items():
        prefix = _KEYS[split]
        unknown = np.setdiff1d(of_split, numbers)
        if unknown.size:
            raise InputError(
                f"dataset.directory: {prefix}_labels in {path} contain classes without training images: "
                f"{', '.join(map(str, unknown.tolist()))}"
            )
        positions = np.searchsorted(numbers, of_split).tolist()
        splits[split] = tuple(ArrayImage(archive, f"{prefix}_images", *pair) for pair in enumerate(positions))
    if set(splits) == {TRAIN}:
        refuse_single_images(splits[TRAIN], class_names, "test_images")
    with named_if_unreadable(path):
        state = state_of(path.stat())
    fingerprint = fingerprint_of([state, class_names, _digest(labels)])
    return Contents(class_names, splits[TRAIN], splits.get(VALIDATION), splits.get(TEST), fingerprint)


def _digest(labels: dict[str, Int64[np.ndarray, "_"]]) -> str:
    """Returns a hash of the labels of all splits, which are read anyway."""
    digest = hashlib.sha256()
    for split, of_split in labels.items():
        digest.update(f"{split} {of_split.shape}".encode() + np.ascontiguousarray(of_split).tobytes())
    return digest.hexdigest()


def _labels(
    archive: _Archive, prefix: str, headers: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
) -> Int64[np.ndarray, "images"]:
    """Reads a split's labels; raises InputError if its images or labels have a wrong shape or type."""
    wrong = f"dataset.directory: {prefix}_{{}} in {archive.path}"
    for part in ("images", "labels"):
        if f"{prefix}_{part}" not in headers:
            raise InputError(f"dataset.directory: {archive.path} has no array '{prefix}_{part}'; every split needs it")
    shape, kind = headers[f"{prefix}_images"]
    if kind != np.uint8:
        raise InputError(f"{wrong.format('images')} are {kind}; they must be uint8, from 0 to 255")
    if len(shape) not in (3, 4) or (len(shape) == 4 and shape[3] not in (1, 3)) or 0 in shape:
        raise InputError(
            f"{wrong.format('images')} have the shape {shape}; it must be (images, height, width) or (images, height, "
            "width, 3)"
        )
    label_shape, label_kind = headers[f"{prefix}_labels"]
    if label_kind.kind not in "iu":
        raise InputError(f"{wrong.format('labels')} are {label_kind}; they must be integers, one for each image")
    if label_shape not in ((shape[0],), (shape[0], 1)):
        raise InputError(
            f"{wrong.format('labels')} have the shape {label_shape}, but there are {shape[0]} images; it must be "
            f"({shape[0]},) or ({shape[0]}, 1)"
        )
    labels = archive.array(f"{prefix}_labels").reshape(-1)
    if labels.max() > np.iinfo(np.int64).max:  # it would become a negative number
        raise InputError(f"{wrong.format('labels')} contain {labels.max()}; they must be below 2**63")
    return labels.astype(np.int64)
