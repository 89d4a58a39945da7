"""The data sets that ``dataset.name`` can name, and their properties. This is the only place that states these.

The module imports neither TFDS nor NumPy, so that checking settings is quick; the builders are in ``data/builders``.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from ml_collections import ConfigDict

from chimeramix_jax.config import own_code
from chimeramix_jax.errors import not_one_of
from chimeramix_jax.extensions import registry


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """The properties of a data set."""

    name: str
    image_side: int | None  # pixels per side of the stored images; None: the value of ``dataset.image_side``
    classes: int | None  # the number of classes; None: the number of class folders of the user
    # The feature of a stored example that holds its position in the published split. TFDS reorders examples when
    # it writes them, but few-shot splits are defined in the published order.
    position_feature: str = "index"
    published_position: Callable[[Any], int] = int  # converts the value of that feature to the position, counted from 0
    # The setting that names the user's own copy: ``dataset.archive``, ``dataset.directory`` or none; "function" if a
    # function returns the images.
    source: Literal["archive", "directory", "function"] | None = None
    # Whether TFDS's builder writes the images with TensorFlow. Reading never needs it.
    preparing_needs_tensorflow: bool = False
    hub_name: str | None = None  # on the Hugging Face Hub, for model cards; None: it is not there under its own name


def _position_in_id(identifier: bytes | str) -> int:
    """Reads the position from an id of TFDS's CIFAR: ``train_00017`` is 17."""
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
        hub_name=f"uoft-cs/{name}",
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

registry.reserve(registry.DATASET, lambda name: name in _ENTRIES)

DATASET_NAMES: tuple[str, ...] = tuple(_ENTRIES)


def names_taking(source: str) -> tuple[str, ...]:
    """Returns the names of the data sets that use ``dataset.archive`` or ``dataset.directory`` (``source``)."""
    return tuple(entry.name for entry in _ENTRIES.values() if entry.source == source)


def native_image_side(name: str) -> int:
    """Returns the pixels per side of a data set whose images have a fixed size."""
    side = _ENTRIES[name].image_side
    assert side is not None, f"{name} has images of any size"
    return side


def stored_image_side(dataset_config: ConfigDict) -> int:
    """Returns the pixels per side of a data set's stored images; ``dataset_config`` is ``config.dataset``."""
    return dataset_entry(dataset_config.name).image_side or dataset_config.image_side


def dataset_entry(name: str) -> DatasetEntry:
    """Returns the properties of a data set; raises InputError, which suggests a similar name, if there is none."""
    if name in _ENTRIES:
        return _ENTRIES[name]
    if own_code.is_known("dataset.name", name):
        return DatasetEntry(name, image_side=None, classes=None, source="function")
    raise not_one_of("dataset.name", name, [*DATASET_NAMES, *own_code.names("dataset.name")])
