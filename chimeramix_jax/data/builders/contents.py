"""A user's own images and their classes, in whatever form they are given: folders, a table of paths, or arrays."""

import contextlib
import hashlib
import json
import os
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from PIL import Image

from chimeramix_jax.data.builders.class_names import problem_with
from chimeramix_jax.data.image_files import read_rgb
from chimeramix_jax.errors import InputError, one_line

TRAIN, VALIDATION, TEST = "train", "validation", "test"
SPLIT_NAMES = {  # usual names
    **dict.fromkeys((TRAIN, "training"), TRAIN),
    **dict.fromkeys(("val", "valid", VALIDATION), VALIDATION),
    **dict.fromkeys((TEST, "testing", "tests"), TEST),
}


@runtime_checkable
class LabelledSource(Protocol):
    """An image that has not been read yet, and its class."""

    @property
    def label(self) -> int:
        """The class index."""

    @property
    def name(self) -> str:
        """The image's name below the given folder or in the given file, for messages."""

    @property
    def place(self) -> str:
        """The same with the path of that folder or file."""

    def read(self) -> Image.Image:
        """Returns the image as RGB; raises UnreadableImageError if it cannot be read."""


@runtime_checkable
class LabelledSources(Protocol):
    """The images of a split, in published order; a tuple of them, for instance."""

    def __len__(self) -> int:
        """The number of images."""

    def __iter__(self) -> Iterator[LabelledSource]:
        """Yields all images."""

    def __getitem__(self, positions: slice, /) -> Sequence[LabelledSource]:
        """Returns the images at these positions."""


@dataclass(frozen=True)
class ImageFile:
    """An image on disk and its class."""

    path: Path
    label: int
    name: str

    @property
    def place(self) -> str:
        """The path of the file."""
        return str(self.path)

    def read(self) -> Image.Image:
        """Returns the image as RGB; raises UnreadableImageError if it cannot be read."""
        return read_rgb(self.path)


@dataclass(frozen=True)
class Contents:
    """The splits of images to be prepared, in published order, to which few-shot subsets refer."""

    class_names: tuple[str, ...]  # by label
    train: LabelledSources
    validation: LabelledSources | None  # None: there is no such split
    test: LabelledSources | None  # None: there is no such split
    fingerprint: str  # changes with any file's name or split, and when a file is changed or replaced
    # By split, the group of each image, whose images no division separates; "": none. Splits may be missing.
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def splits(self) -> dict[str, LabelledSources]:
        """The splits that exist, by name."""
        parts = {TRAIN: self.train, VALIDATION: self.validation, TEST: self.test}
        return {name: images for name, images in parts.items() if images is not None}


def refuse_odd_names(names: Sequence[str], kind: str, place: Path) -> None:
    """Raises InputError for class names that cannot be stored, or cannot be told apart."""
    if problem := problem_with(names, kind, f" in {place}"):
        raise InputError(f"dataset.directory: {problem}")


def refuse_single_images(images: Sequence[LabelledSource], class_names: Sequence[str], missing: str) -> None:
    """Raises InputError unless every class has an image to train and an image to hold out.

    ``missing`` is what would make holding out unnecessary, for the message, such as ``a test folder``.
    """
    for label, name in enumerate(class_names):
        of_class = [image for image in images if image.label == label]
        if len(of_class) < 2:
            raise InputError(
                f"dataset.directory: class {name!r} has a single image, {of_class[0].place}; without {missing} "
                "each class needs two, one to train and one to test"
            )


def fingerprint_of_files(class_names: Sequence[str], splits: Sequence[Sequence[ImageFile]]) -> str:
    """Returns a hash of everything that the prepared data depend on except the image side; not of the location.

    A folder that is renamed or moved within its file system keeps its fingerprint, a copy of it has another one.
    """
    parts: list[list[tuple[str, int, int, int, int, int]]] = []
    for files in splits:
        parts.append([])
        for file in files:
            with named_if_unreadable(file.path):
                state = state_of(file.path.stat())
            parts[-1].append((unicodedata.normalize("NFC", file.name), file.label, *state))
    return fingerprint_of([class_names, parts])


def state_of(status: os.stat_result) -> tuple[int, int, int, int]:
    """Returns numbers that change when a file's content is changed, or when another file takes its place.

    The modification time is not enough: ``cp -p``, archives and editors of metadata set it back, and files of the same
    size may change places. Programs cannot set the time of the last change of any kind, and a file that is moved keeps
    its inode.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def fingerprint_of(content: object) -> str:
    """Returns a hash of a value that JSON can express."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


@contextlib.contextmanager
def named_if_unreadable(path: Path) -> Iterator[None]:
    """Names the path if an error of the operating system prevents reading it."""
    try:
        yield
    except OSError as error:
        raise InputError(f"dataset.directory: {path} cannot be read: {error.strerror or one_line(error)}") from error
