"""ciFAIR-10 and ciFAIR-100: CIFAR with new test images in place of near-duplicates of training images.

Barz and Denzler, "Do We Train on Test Data? Purging CIFAR of Near-Duplicates", Journal of Imaging 2020;
https://cvjena.github.io/cifair/. The published zip contains the same pickles as CIFAR's Python version: dictionaries
with ``data``, uint8 of shape (images, 3072), red plane first, and ``labels`` or ``fine_labels``.
"""

import posixpath
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from jaxtyping import Int64, UInt8

from chimeramix_jax.config.catalog import dataset_entry, native_image_side
from chimeramix_jax.data.archives import Archive, obtain
from chimeramix_jax.data.builders.examples import labelled_image_info, numbered_examples
from chimeramix_jax.data.safe_pickle import load_plain_pickle
from chimeramix_jax.errors import InputError


class _Cifair(tfds.core.GeneratorBasedBuilder):
    """The common base. Builder names begin with the project's name, in case TFDS gets a ciFAIR of its own."""

    VERSION = tfds.core.Version("1.0.0")
    DATASET: ClassVar[str]
    ARCHIVE: ClassVar[Archive]
    TRAIN_FILES: ClassVar[Sequence[str]]
    TEST_FILES: ClassVar[Sequence[str]]
    LABELS_KEY: ClassVar[str]
    NAMES_FILE: ClassVar[str]
    NAMES_KEY: ClassVar[str]

    def __init__(self, *, archive: str = "", **builder_arguments: Any) -> None:
        """Creates the builder; ``archive`` is the user's copy of the published zip; "": download it."""
        self._archive = archive
        super().__init__(**builder_arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(num_classes=dataset_entry(self.DATASET).classes)
        return labelled_image_info(self, native_image_side(self.DATASET), label, "https://cvjena.github.io/cifair/")

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        path = obtain(self.ARCHIVE, self._archive, dl_manager)
        names = _read_pickle(path, self.NAMES_FILE)[self.NAMES_KEY]
        self.info.features["label"].names = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
        return {
            "train": self._generate_examples(path, self.TRAIN_FILES),
            "test": self._generate_examples(path, self.TEST_FILES),
        }

    def _generate_examples(self, path: Path, files: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        batches = [self._images_and_labels(path, file) for file in files]
        images = np.concatenate([images for images, _ in batches])
        return numbered_examples(images, np.concatenate([labels for _, labels in batches]))

    def _images_and_labels(
        self, path: Path, file: str
    ) -> tuple[UInt8[np.ndarray, "examples side side 3"], Int64[np.ndarray, "examples"]]:
        batch = _read_pickle(path, file)
        side = native_image_side(self.DATASET)
        try:
            planes = np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, side, side)
            labels = np.asarray(batch[self.LABELS_KEY], dtype=np.int64)
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"dataset.archive: {file} in {path} is not a batch of CIFAR images") from error
        return planes.transpose(0, 2, 3, 1), labels


class Cifair10(_Cifair):
    """50,000 training and 10,000 test images of 32x32 pixels in 10 classes."""

    name = "chimeramix_cifair10"
    DATASET = "cifair10"
    ARCHIVE = Archive(
        url="https://github.com/cvjena/cifair/releases/download/v1.0/ciFAIR-10.zip",
        md5="ca08fd390f0839693d3fc45c4e49585f",
    )
    TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
    TEST_FILES = ("test_batch",)
    LABELS_KEY = "labels"
    NAMES_FILE = "batches.meta"
    NAMES_KEY = "label_names"


class Cifair100(_Cifair):
    """50,000 training and 10,000 test images of 32x32 pixels in 100 classes."""

    name = "chimeramix_cifair100"
    DATASET = "cifair100"
    ARCHIVE = Archive(
        url="https://github.com/cvjena/cifair/releases/download/v1.0/ciFAIR-100.zip",
        md5="ddc236ab4b12eeb8b20b952614861a33",
    )
    TRAIN_FILES = ("train",)
    TEST_FILES = ("test",)
    LABELS_KEY = "fine_labels"
    NAMES_FILE = "meta"
    NAMES_KEY = "fine_label_names"


BUILDERS: Mapping[str, type[_Cifair]] = {builder.DATASET: builder for builder in (Cifair10, Cifair100)}


def _read_pickle(path: Path, base_name: str) -> dict[str, Any]:
    """Returns the dictionary pickled in the zip's only member of that base name, with its keys as strings.

    Nothing is extracted, so a member called ``../../something`` is never written to disk. Raises InputError for damage.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if posixpath.basename(name) == base_name]
            if len(names) != 1:
                count = len(names) or "no"
                raise InputError(f"dataset.archive: {path} contains {count} files called {base_name}, not one")
            data = archive.read(names[0])
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise InputError(f"dataset.archive: {path} cannot be read as a zip: {error}") from error
    content = load_plain_pickle(data, f"{names[0]} in {path}")
    if not isinstance(content, dict):
        raise InputError(f"dataset.archive: {names[0]} in {path} is not a pickled dictionary")
    return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in content.items()}
