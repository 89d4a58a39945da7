"""CIFAR-10 and CIFAR-100, from the published archives of their Python version.

Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; https://www.cs.toronto.edu/~kriz/cifar.html.
The published order is that of the archive's files, as in torchvision.

Earlier versions of this program used data that TFDS's own builders had prepared. They are the same images in the same
order with the same names of classes; if they are there, and no archive is given, they are copied instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chimeramix_jax.data.archives import Archive, read_tar_members
from chimeramix_jax.data.builders.cifar_pickles import HUNDRED_CLASSES, TEN_CLASSES, CifarPickles
from chimeramix_jax.data.builders.examples import png_bytes
from chimeramix_jax.data.tfds_sources import prepared_by_tfds


class _Cifar(CifarPickles):
    """The common base of both."""

    HOMEPAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"

    def _read_members(self, path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
        return read_tar_members(path, names)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        source = None if self._archive else prepared_by_tfds(self.DATASET, self.data_dir_root)
        if source is None:
            return super()._split_generators(dl_manager)
        self.info.features["label"].names = source.info.features["label"].names
        return {split: _copied(source, split) for split in ("train", "test")}


def _copied(source: Any, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the examples of a split that TFDS's own builder has prepared, numbered by their ids."""
    for example in source.as_data_source(split):
        index = int(np.asarray(example["id"]).item().decode().rpartition("_")[2])  # train_00017 is 17
        image = png_bytes(Image.fromarray(example["image"]))
        yield index, {"index": index, "image": image, "label": int(example["label"])}


class Cifar10(_Cifar):
    """50,000 training and 10,000 test images of 32x32 pixels in 10 classes."""

    name = "chimeramix_cifar10"
    DATASET = "cifar10"
    ARCHIVE = Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
    )
    LAYOUT = TEN_CLASSES


class Cifar100(_Cifar):
    """50,000 training and 10,000 test images of 32x32 pixels in 100 classes."""

    name = "chimeramix_cifar100"
    DATASET = "cifar100"
    ARCHIVE = Archive(
        url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        md5="eb9058c3a382ffc7106e4002c42a8d85",
    )
    LAYOUT = HUNDRED_CLASSES


BUILDERS: Mapping[str, type[_Cifar]] = {builder.DATASET: builder for builder in (Cifar10, Cifar100)}
