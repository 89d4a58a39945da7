"""What CIFAR and ciFAIR have in common: archives of pickles, which are read without being extracted.

The pickles are dictionaries with ``data``, uint8 of shape (images, 3072), red plane first, and ``labels`` or
``fine_labels``.
"""

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


class CifarPickles(tfds.core.GeneratorBasedBuilder):
    """The common base. Names of builders begin with the project's name, as TFDS has builders of its own."""

    VERSION = tfds.core.Version("1.0.0")
    DATASET: ClassVar[str]
    ARCHIVE: ClassVar[Archive]
    HOMEPAGE: ClassVar[str]
    TRAIN_FILES: ClassVar[Sequence[str]]
    TEST_FILES: ClassVar[Sequence[str]]
    LABELS_KEY: ClassVar[str]
    NAMES_FILE: ClassVar[str]
    NAMES_KEY: ClassVar[str]

    def __init__(self, *, archive: str = "", **builder_arguments: Any) -> None:
        """Creates the builder; ``archive`` is the user's copy of the published archive; "": download it."""
        self._archive = archive
        super().__init__(**builder_arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(num_classes=dataset_entry(self.DATASET).classes)
        return labelled_image_info(self, native_image_side(self.DATASET), label, self.HOMEPAGE)

    def _read_members(self, path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
        """Returns the content of the archive's files by base name; raises InputError if it is damaged or lacks one."""
        raise NotImplementedError

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        path = obtain(self.ARCHIVE, self._archive, dl_manager)
        members = self._read_members(path, (*self.TRAIN_FILES, *self.TEST_FILES, self.NAMES_FILE))
        names = _unpickled(members[self.NAMES_FILE], self.NAMES_FILE, path)[self.NAMES_KEY]
        self.info.features["label"].names = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
        splits = {"train": self.TRAIN_FILES, "test": self.TEST_FILES}
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
            labels = np.asarray(batch[self.LABELS_KEY], dtype=np.int64)
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"dataset.archive: {file} in {path} is not a batch of CIFAR images") from error
        return planes.transpose(0, 2, 3, 1), labels


def _unpickled(content: bytes, file: str, path: Path) -> dict[str, Any]:
    """Returns a pickled dictionary with its keys as strings; raises InputError if it is damaged."""
    dictionary = load_plain_pickle(content, f"{file} in {path}")
    if not isinstance(dictionary, dict):
        raise InputError(f"dataset.archive: {file} in {path} is not a pickled dictionary")
    return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in dictionary.items()}
