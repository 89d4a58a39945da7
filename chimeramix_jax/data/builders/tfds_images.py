"""Images and classes of any prepared data set of TensorFlow Datasets (TFDS), found by the types of its features.

The published order, to which few-shot splits refer, is that of the records, which TFDS determines from the examples'
keys: it is the same wherever the same version of a data set is prepared. Encoded images are read like files, so they
may be of any kind that Pillow reads.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from ml_collections import ConfigDict
from PIL import Image

from chimeramix_jax.data.builders.contents import (
    TEST,
    TRAIN,
    VALIDATION,
    Contents,
    fingerprint_of,
    state_of,
)
from chimeramix_jax.data.builders.own_images import OwnImages
from chimeramix_jax.data.builders.tfds_splits import choose_splits
from chimeramix_jax.data.image_files import read_rgb_content
from chimeramix_jax.data.tfds_sources import find_source, prepared_source
from chimeramix_jax.errors import InputError, not_one_of, one_line

_RECORDS_AT_ONCE = 100


class TfdsImages(OwnImages):
    """The images of a TFDS data set, prepared once more as squares of the same side."""

    name = "chimeramix_tfds"
    VERSION = tfds.core.Version("1.0.0")
    NAMED_BY = "dataset.name"


def scan_tfds(dataset_config: ConfigDict, data_dir: str | None) -> Contents:
    """Finds the images, classes and splits of a TFDS data set, without reading its records.

    Args:
        dataset_config: ``config.dataset``, whose ``name`` is that of the data set.
        data_dir: where TFDS stores prepared data sets; None: its own default.

    Raises:
        InputError: there is no such data set, TensorFlow is needed to prepare or to read it, or it does not have
            exactly one image and one class per example and the settings do not say which to use.
    """
    builder = find_source(dataset_config.name, data_dir)
    image_feature, label_feature = _features(builder, dataset_config)  # before much is downloaded, if it is not yet
    builder = prepared_source(dataset_config.name, data_dir, builder)
    class_names = tuple(builder.info.features[label_feature].names)
    instructions = choose_splits(builder, dataset_config)
    records = {
        role: TfdsRecords(builder, split, role, image_feature, label_feature) for role, split in instructions.items()
    }
    described = state_of(Path(builder.data_dir, "dataset_info.json").stat())
    content = [builder.info.full_name, *described, image_feature, label_feature]
    return Contents(
        class_names,
        records[TRAIN],
        records.get(VALIDATION),
        records.get(TEST),
        fingerprint_of([*content, sorted(instructions.items()), class_names]),
    )


@dataclass(frozen=True)
class TfdsImage:
    """An example of a TFDS data set."""

    name: str  # such as ``test_00017``
    place: str  # the same with the path of the prepared data set
    label: int
    content: bytes  # the encoded image

    def read(self) -> Image.Image:
        """Returns the image as RGB; raises UnreadableImageError if it cannot be read."""
        return read_rgb_content(self.content, self.place, named_by="dataset.name")


class TfdsRecords:
    """A split's examples, which are read when they are needed and not kept in memory."""

    def __init__(self, builder: Any, split: str, role: str, image_feature: str, label_feature: str):
        """Describes the split, or part of a split, that is used for training, validation or testing (``role``)."""
        self._directory, self._split, self._role = str(builder.data_dir), split, role
        self._image_feature, self._label_feature = image_feature, label_feature
        self._classes = builder.info.features[label_feature].num_classes
        used = {name: builder.info.features[name] for name in (image_feature, label_feature)}
        self._features = tfds.features.FeaturesDict(used)
        with self._named_if_damaged():
            self._source = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, positions: slice) -> list[TfdsImage]:
        chosen = range(len(self))[positions]
        with self._named_if_damaged():
            records = self._source.__getitems__(list(chosen))
            return [self._example(*pair) for pair in zip(chosen, records, strict=True)]

    def __iter__(self) -> Iterator[TfdsImage]:
        """Yields all examples; raises InputError at the first without a class, as in splits of unlabelled images."""
        for start in range(0, len(self), _RECORDS_AT_ONCE):
            for image in self[start : start + _RECORDS_AT_ONCE]:
                if not 0 <= image.label < self._classes:
                    raise InputError(
                        f"dataset.{self._role}_split: {self._split!r} of {self._directory} has images without a class: "
                        f"that of {image.name} is {image.label}; choose another split"
                    )
                yield image

    @contextlib.contextmanager
    def _named_if_damaged(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # damaged files can make the reader and the parser raise nearly any error
            raise InputError(f"dataset.data_dir: {self._directory} is damaged ({one_line(error)})") from error

    def _example(self, position: int, record: bytes) -> TfdsImage:
        undecoded = {self._image_feature: tfds.decode.SkipDecoding()}
        example = self._features.deserialize_example_np(record, decoders=undecoded)
        label, name = int(example[self._label_feature]), f"{self._role}_{position:05}"
        return TfdsImage(name, f"{self._directory}: {name}", label, bytes(example[self._image_feature]))


def _features(builder: Any, dataset_config: ConfigDict) -> tuple[str, str]:
    """Returns the names of the features that are the image and its class; raises InputError if that is unclear."""
    features = builder.info.features
    if not isinstance(features, tfds.features.FeaturesDict):
        raise InputError(f"dataset.name: {dataset_config.name} describes no features; it cannot be used")
    images = sorted(name for name, feature in features.items() if _is_image(feature))
    labels = sorted(name for name, feature in features.items() if isinstance(feature, tfds.features.ClassLabel))
    image = _only(dataset_config, "image_feature", images, features, "Image")
    label = _only(dataset_config, "label_feature", labels, features, "ClassLabel")
    if (features[label].num_classes or 0) < 2:
        raise InputError(
            f"dataset.label_feature: {label} of {dataset_config.name} has {features[label].num_classes or 'no'} "
            "classes; at least two are needed"
        )
    return image, label


def _is_image(feature: Any) -> bool:
    """Whether a feature is a picture; segmentations (LabeledImage) and arrays of floats are not."""
    is_picture = isinstance(feature, tfds.features.Image) and not isinstance(feature, tfds.features.LabeledImage)
    return is_picture and feature.np_dtype in (np.uint8, np.uint16)


def _only(
    dataset_config: ConfigDict, key: str, names: Sequence[str], features: tfds.features.FeaturesDict, kind: str
) -> str:
    """Returns the feature that a setting names, or else the only one of its type."""
    named = dataset_config[key]
    if named and names:
        if named not in names:
            raise not_one_of(f"dataset.{key}", named, names)
        return named
    if not names:
        has = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in sorted(features.items()))
        raise InputError(f"dataset.name: {dataset_config.name} has no feature of type {kind}; it has {has}")
    if len(names) > 1:
        raise InputError(
            f"dataset.{key}: not set, but {dataset_config.name} has {len(names)} features of type {kind}: "
            f"{', '.join(names)}; name one, as in --config.dataset.{key}={names[0]}"
        )
    return names[0]
