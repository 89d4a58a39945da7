"""What CIFAR and ciFAIR have in common: archives of pickles, which are read without being extracted.

The pickles are dictionaries with ``data``, uint8 of shape (images, 3072), red plane first, and ``labels`` or
``fine_labels``.
"""

import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Layout:
    """The files of an archive, and the keys of their dictionaries."""

    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    labels_key: str
    names_file: str  # has the names of the classes
    names_key: str


TEN_CLASSES = Layout(
    tuple(f"data_batch_{number}" for number in range(1, 6)), ("test_batch",), "labels", "batches.meta", "label_names"
)
HUNDRED_CLASSES = Layout(("train",), ("test",), "fine_labels", "meta", "fine_label_names")


class CifarPickles(tfds.core.GeneratorBasedBuilder):
    """The common base. Names of builders begin with the project's name, as TFDS has builders of its own."""

    VERSION = tfds.core.Version("1.0.0")
    DATASET: ClassVar[str]
    ARCHIVE: ClassVar[Archive]
    HOMEPAGE: ClassVar[str]
    LAYOUT: ClassVar[Layout]

    def __init__(self, *, archive: str = "", **builder_arguments: Any) -> None:
        """Creates the builder; ``archive`` is the user's copy of the published archive; "": download it."""
        self._archive = archive
        super().__init__(**builder_arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(num_classes=dataset_entry(self.DATASET).classes)
        return labelled_image_info(self, native_image_side(self.DATASET), label, self.HOMEPAGE)

    @abc.abstractmethod
    def _read_members(self, path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
        """Returns the content of the archive's files by base name; raises InputError if it is damaged or lacks one."""

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        layout, path = self.LAYOUT, obtain(self.ARCHIVE, self._archive, dl_manager)
        members = self._read_members(path, (*layout.train_files, *layout.test_files, layout.names_file))
        names = _unpickled(members[layout.names_file], layout.names_file, path)[layout.names_key]
        self.info.features["label"].names = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
        splits = {"train": layout.train_files, "test": layout.test_files}
        return {
            split: self._generate_examples(path, {file: members[file] for file in files})
            for split, files in splits.items()
        }

    def _generate_examples(self, path: Path, files: Mapping[str, bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
        batches = [self._images_and_labels(path, file, content) for file, content in files.items()]
        images = np.concatenate([images for images, _ in batches])
        return numbered_examples(images, np.concatenate([labels for _, labels in batches]))

    def _images_and_labels(
        self, path: Path, file: str, content: bytes
    ) -> tuple[UInt8[np.ndarray, "examples side side 3"], Int64[np.ndarray, "examples"]]:
        batch = _unpickled(content, file, path)
        side = native_image_side(self.DATASET)
        try:
            planes = np.asarray(batch["data"], dtype=np.uint8).reshape(-1, 3, side, side)
            labels = np.asarray(batch[self.LAYOUT.labels_key], dtype=np.int64)
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"dataset.archive: {file} in {path} is not a batch of CIFAR images") from error
        return planes.transpose(0, 2, 3, 1), labels


def _unpickled(content: bytes, file: str, path: Path) -> dict[str, Any]:
    """Returns a pickled dictionary with its keys as strings; raises InputError if it is damaged."""
    dictionary = load_plain_pickle(content, f"{file} in {path}")
    if not isinstance(dictionary, dict):
        raise InputError(f"dataset.archive: {file} in {path} is not a pickled dictionary")
    return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in dictionary.items()}
