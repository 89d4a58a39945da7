"""Writes mixed images as a TFDS data set of array_record files, which ``tfds.builder_from_directory`` reads."""

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from chimeramix_jax.data.builders.examples import labelled_image_info, png_bytes
from chimeramix_jax.data.preparation import FILE_FORMAT, quiet_tfds
from chimeramix_jax.use.generation.mixes import Mix


class MixedImages(tfds.core.GeneratorBasedBuilder):
    """A single split, train, with image, label, the sources' indices in the original train split, and the mask."""

    name = "chimeramix_mixed_images"
    VERSION = tfds.core.Version("1.0.0")

    def __init__(
        self, mixes: Iterator[Mix], class_names: Sequence[str], train_indices: Sequence[int], **builder_arguments: Any
    ):
        """Describes the data set by its first mix, which must exist."""
        self._first, self._others = next(mixes), mixes
        self._class_names, self._train_indices = class_names, train_indices
        super().__init__(**builder_arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(names=self._class_names)
        sources = tfds.features.Tensor(shape=(len(self._first.sources),), dtype=np.int64)
        mask = tfds.features.Tensor(shape=self._first.owners.shape, dtype=np.uint8)
        return labelled_image_info(self, len(self._first.image), label, sources=sources, mask=mask)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, mix in enumerate(itertools.chain([self._first], self._others)):
            yield (
                index,
                {
                    "index": index,
                    "image": png_bytes(Image.fromarray(mix.image)),
                    "label": mix.label,
                    "sources": np.array([self._train_indices[source] for source in mix.sources]),
                    "mask": mix.owners,
                },
            )


def write(mixes: Iterable[Mix], class_names: Sequence[str], train_indices: Sequence[int], folder: Path) -> None:
    """Writes the data set's files directly into the folder."""
    with quiet_tfds(), tempfile.TemporaryDirectory(dir=folder) as data_dir:
        builder = MixedImages(iter(mixes), class_names, train_indices, data_dir=data_dir)
        builder.download_and_prepare(file_format=FILE_FORMAT)
        for file in Path(builder.data_dir).iterdir():
            file.rename(folder / file.name)
