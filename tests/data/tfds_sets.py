"""Tiny data sets of TensorFlow Datasets, prepared without TensorFlow."""

import io

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from chimeramix_jax.data.preparation import quiet_tfds

CLASSES = ("ant", "bee", "cat")


def encoded(number, size=(20, 12), mode="RGB", form="PNG"):
    """Returns an image file whose pixels depend on ``number``."""
    pixels = np.random.default_rng(number).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form)
    return buffer.getvalue()


def examples(count, first=0):
    """Returns examples of the three classes in turn, with images of different sizes."""
    return [
        {"image": encoded(first + number, (12 + number % 5, 20)), "label": number % len(CLASSES)}
        for number in range(count)
    ]


def standard_features():
    return {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=CLASSES)}


def prepare(data_dir, splits, features=None, name="insects", file_format="array_record", version="1.0.0"):
    """Prepares a data set with these examples by split, as another program would have."""

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features or standard_features())
            )

        def _split_generators(self, dl_manager):
            return {split: enumerate(of_split) for split, of_split in splits.items()}

        def _generate_examples(self):
            raise NotImplementedError

    Builder.name = name
    with quiet_tfds():
        Builder(data_dir=str(data_dir)).download_and_prepare(file_format=file_format)
