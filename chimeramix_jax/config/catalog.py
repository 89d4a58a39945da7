"""The data sets that can be named in ``dataset.name``, and the traits of each. Nothing else states these.

This module imports neither TFDS nor NumPy, so that settings can be checked in an instant; ``data/builders`` makes the
builders.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from ml_collections import ConfigDict

from chimeramix_jax.errors import not_one_of


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """What the program has to know of a data set.

    Attributes:
      name: as given in ``dataset.name``.
      image_side: pixels per side of the stored images; None: whatever ``dataset.image_side`` says.
      classes: number of classes; None: as many as the user's folder has.
      position_feature: feature of a stored example that tells its place in the published split. TFDS reorders examples
        on writing, and a few-shot split is defined on the published order.
      published_position: that feature's value -> the place, counted from 0.
      source: the setting that names the user's own copy: ``dataset.archive``, ``dataset.directory`` or none.
      preparing_needs_tensorflow: TFDS's own builder writes images with TensorFlow. Reading never needs it.
    """

    name: str
    image_side: int | None
    classes: int | None
    position_feature: str = "index"
    published_position: Callable[[Any], int] = int
    source: Literal["archive", "directory"] | None = None
    preparing_needs_tensorflow: bool = False


def _position_in_id(identifier: bytes | str) -> int:
    """Reads the place from TFDS's CIFAR ids: ``train_00017`` is 17."""
    text = identifier.decode() if isinstance(identifier, bytes) else identifier
    return int(text.rpartition("_")[2])


def _cifar(name: str, classes: int) -> DatasetEntry:
    return DatasetEntry(
        name,
        image_side=32,
        classes=classes,
        position_feature="id",
        published_position=_position_in_id,
        preparing_needs_tensorflow=True,
    )


_ENTRIES: dict[str, DatasetEntry] = {
    entry.name: entry
    for entry in (
        DatasetEntry("digits", image_side=8, classes=10),
        DatasetEntry("cifair10", image_side=32, classes=10, source="archive"),
        DatasetEntry("cifair100", image_side=32, classes=100, source="archive"),
        _cifar("cifar10", classes=10),
        _cifar("cifar100", classes=100),
        DatasetEntry("stl10", image_side=96, classes=10, source="archive"),
        DatasetEntry("image_folder", image_side=None, classes=None, source="directory"),
    )
}

DATASET_NAMES: tuple[str, ...] = tuple(_ENTRIES)


def names_taking(source: str) -> tuple[str, ...]:
    """Returns the data sets that ``dataset.archive`` or ``dataset.directory`` (``source``) can be given for."""
    return tuple(entry.name for entry in _ENTRIES.values() if entry.source == source)


def native_image_side(name: str) -> int:
    """Returns the pixels per side of a data set whose images have a size of their own."""
    side = _ENTRIES[name].image_side
    assert side is not None, f"{name} has images of any size"
    return side


def stored_image_side(dataset_config: ConfigDict) -> int:
    """Returns the pixels per side that images of a data set are stored at; ``dataset_config``: config.dataset."""
    return dataset_entry(dataset_config.name).image_side or dataset_config.image_side


def dataset_entry(name: str) -> DatasetEntry:
    """Returns the traits of the data set called ``name``.

    Raises:
      InputError: there is no such data set; the message lists those there are and the nearest one.
    """
    if name in _ENTRIES:
        return _ENTRIES[name]
    raise not_one_of("dataset.name", name, DATASET_NAMES)
