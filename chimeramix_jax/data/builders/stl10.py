"""STL-10: 5,000 labelled training and 8,000 test images of 96x96 pixels in 10 classes.

Coates, Lee and Ng, "An Analysis of Single Layer Networks in Unsupervised Feature Learning", AISTATS 2011;
https://cs.stanford.edu/~acoates/stl10/. The 100,000 unlabelled images of the archive are skipped.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from chimeramix_jax.config.catalog import dataset_entry, native_image_side
from chimeramix_jax.data.archives import Archive, obtain, read_tar_members
from chimeramix_jax.data.builders.examples import labelled_image_info, numbered_examples
from chimeramix_jax.errors import InputError

_MEMBERS = ("class_names.txt", "train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin")


class Stl10(tfds.core.GeneratorBasedBuilder):
    """The labelled splits of STL-10, from the published binary archive."""

    name = "chimeramix_stl10"
    VERSION = tfds.core.Version("1.0.0")
    ARCHIVE = Archive(
        url="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
        md5="91f7769df0f17e558f3565bffb0c7dfb",
    )

    def __init__(self, *, archive: str = "", **builder_arguments: Any) -> None:
        """Creates the builder; ``archive`` is the user's copy of the published archive; "": download it (2.6 GB)."""
        self._archive = archive
        super().__init__(**builder_arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(num_classes=dataset_entry("stl10").classes)
        return labelled_image_info(self, native_image_side("stl10"), label, "https://cs.stanford.edu/~acoates/stl10/")

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        path = obtain(self.ARCHIVE, self._archive, dl_manager)
        members = read_tar_members(path, _MEMBERS)  # the unlabelled images, most of the archive, come last
        self.info.features["label"].names = members["class_names.txt"].decode().split()
        return {split: self._generate_examples(path, members, split) for split in ("train", "test")}

    def _generate_examples(
        self, path: Path, members: dict[str, bytes], split: str
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        side = native_image_side("stl10")
        pixels = np.frombuffer(members[f"{split}_X.bin"], np.uint8)
        labels = np.frombuffer(members[f"{split}_y.bin"], np.uint8)
        if pixels.size != labels.size * 3 * side * side:
            raise InputError(f"dataset.archive: the sizes of {split}_X.bin and {split}_y.bin in {path} do not match")
        # Stored image by image, channel by channel, column by column.
        images = pixels.reshape(-1, 3, side, side).transpose(0, 3, 2, 1)
        return numbered_examples(images, labels.astype(np.int64) - 1)  # published labels count from 1
