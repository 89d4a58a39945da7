"""Handwritten digits: 1,797 images of 8x8 pixels that are part of scikit-learn, so nothing has to be downloaded.

They are the test part of the UCI data set "Optical Recognition of Handwritten Digits" (Alpaydin and Kaynak, 1998;
https://archive.ics.uci.edu/dataset/80). scikit-learn defines no train and test split, so this module does: in file
order, the first 1,100 images are for training and the other 697 for testing. The split is not random because
neighbours in the file are often by the same writer, who would then be on both sides. With 1,100 images every class has
at least 107 training images, which suffices for the 100 per class of the published study, and at least 67 test images.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from chimeramix_jax.config.catalog import dataset_entry, native_image_side
from chimeramix_jax.data.builders.examples import labelled_image_info, numbered_examples

TRAIN_IMAGES = 1100
_BRIGHTEST = 16  # pixel values are 0 (paper) to 16 (ink)


class Digits(tfds.core.GeneratorBasedBuilder):
    """The digits with grey values scaled to 0..255 and repeated in three channels."""

    name = "chimeramix_digits"
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(num_classes=dataset_entry("digits").classes)
        return labelled_image_info(self, native_image_side("digits"), label, "https://archive.ics.uci.edu/dataset/80")

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        grey = np.round(digits.images * (255 / _BRIGHTEST)).astype(np.uint8)
        images = np.repeat(grey[..., None], 3, axis=-1)
        return {
            "train": self._generate_examples(images[:TRAIN_IMAGES], digits.target[:TRAIN_IMAGES]),
            "test": self._generate_examples(images[TRAIN_IMAGES:], digits.target[TRAIN_IMAGES:]),
        }

    def _generate_examples(self, images: Any, labels: Any) -> Iterator[tuple[int, dict[str, Any]]]:
        return numbered_examples(images, labels)
