"""The data sets that ``dataset.name`` can name, and their properties. This is the only place that states these.

The module imports neither TFDS nor NumPy, so that checking settings is quick; the builders are in ``data/builders``.
"""

import dataclasses
import os
import re
from typing import Literal

from ml_collections import ConfigDict

from chimeramix_jax.config import own_code
from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.extensions import registry


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """The properties of a data set."""

    name: str
    image_side: int | None  # pixels per side of the stored images; None: the value of ``dataset.image_side``
    classes: int | None  # the number of classes; None: as many as the images have
    # The setting that names the user's own copy: ``dataset.archive``, ``dataset.directory`` or none; "lists" if that
    # directory has a benchmark's published lists (``BenchmarkLists``), "function" if a function returns the images.
    source: Literal["archive", "directory", "lists", "function"] | None = None
    hub_name: str | None = None  # on the Hugging Face Hub, for model cards; None: it is not there under its own name

    @property
    def is_fixed(self) -> bool:
        """Whether sides, classes and splits are known beforehand, and not only when the images are read."""
        return self.image_side is not None


@dataclasses.dataclass(frozen=True)
class BenchmarkLists:
    """How a benchmark publishes a data set: numbered lists of files, beside the folder of all images."""

    images: str  # the folder that listed paths are relative to, seen from the one with the lists
    training_images: int  # in trainval0.txt, and as many in the lists of the other divisions


_ENTRIES: dict[str, DatasetEntry] = {
    entry.name: entry
    for entry in (
        DatasetEntry("digits", image_side=8, classes=10),
        DatasetEntry("cifair10", image_side=32, classes=10, source="archive"),
        DatasetEntry("cifair100", image_side=32, classes=100, source="archive"),
        DatasetEntry("cifar10", image_side=32, classes=10, source="archive", hub_name="uoft-cs/cifar10"),
        DatasetEntry("cifar100", image_side=32, classes=100, source="archive", hub_name="uoft-cs/cifar100"),
        DatasetEntry("stl10", image_side=96, classes=10, source="archive"),
        DatasetEntry("image_folder", image_side=None, classes=None, source="directory"),
        DatasetEntry("cub", image_side=None, classes=200, source="lists"),
        DatasetEntry("isic2018", image_side=None, classes=7, source="lists"),
        DatasetEntry("eurosat", image_side=None, classes=10, source="lists"),
        DatasetEntry("clamm", image_side=None, classes=12, source="lists"),
    )
}

# The data sets of GEM that have files (github.com/lorenzobrigato/gem), as its scripts download them.
_LISTS: dict[str, BenchmarkLists] = {
    "cub": BenchmarkLists("CUB_200_2011/images", training_images=5994),
    "isic2018": BenchmarkLists("ISIC2018_Task3_Training_Input", training_images=560),
    "eurosat": BenchmarkLists("RGB", training_images=500),
    "clamm": BenchmarkLists("images", training_images=600),
}

LISTS = (".csv", ".txt")  # what lists a user's own images
FILES_OF_IMAGES = (*LISTS, ".npz")  # what dataset.directory may be instead of a folder

TFDS_PREFIX = "tfds:"  # in front of the names of data sets that TensorFlow Datasets (TFDS) has
_TFDS_NAME = re.compile(TFDS_PREFIX + r"(?P<name>[A-Za-z_]\w*)(/(?P<config>[^:/]+))?(:(?P<version>\d+\.\d+\.\d+))?")

registry.reserve(registry.DATASET, lambda name: name in _ENTRIES)

DATASET_NAMES: tuple[str, ...] = tuple(_ENTRIES)


def names_taking(source: str) -> tuple[str, ...]:
    """Returns the names of the data sets that use ``dataset.archive`` or ``dataset.directory`` (``source``)."""
    sources = (source, "lists") if source == "directory" else (source,)
    return tuple(entry.name for entry in _ENTRIES.values() if entry.source in sources)


def lists_of(name: str) -> BenchmarkLists | None:
    """Returns how a benchmark lists a data set; None for all others. ``name`` need not be known."""
    return _LISTS.get(name)


def own_folder(name: str, directory: str | None) -> str:
    """Returns ``dataset.directory`` if it says which images a run has; empty if the data set's name does."""
    return directory if directory and lists_of(name) is None else ""


def place_of_images(dataset_config: ConfigDict) -> tuple[str, str]:
    """Returns what names the images of a data set with files, and the folder that listed paths are relative to.

    These are ``dataset.directory`` and ``dataset.image_directory`` or, of a benchmark, its list of the training images
    and the folder where its scripts put the images. The list leaves out the validation images if these are to be
    evaluated on.
    """
    lists, directory = lists_of(dataset_config.name), dataset_config.directory
    if lists is None or not directory:
        return directory, dataset_config.image_directory
    part = "train" if dataset_config.evaluate_on == "validation" else "trainval"
    images = dataset_config.image_directory or os.path.join(directory, lists.images)
    return os.path.join(directory, f"{part}{dataset_config.division}.txt"), images


def names_with_any_side() -> tuple[str, ...]:
    """Returns the names of the data sets whose images may have any size and are resized when they are prepared."""
    return (*(entry.name for entry in _ENTRIES.values() if not entry.is_fixed), f"{TFDS_PREFIX}NAME")


def has_any_side(name: str) -> bool:
    """Returns whether a data set's images may have any size; ``name`` need not be known."""
    return name not in _ENTRIES or not _ENTRIES[name].is_fixed


@dataclasses.dataclass(frozen=True)
class TfdsName:
    """The name of a data set of TFDS, in parts."""

    name: str
    config: str | None
    version: str | None


def tfds_name(name: str) -> TfdsName | None:
    """Returns the parts of ``tfds:NAME[/CONFIG][:VERSION]``, or None for the name of any other data set.

    Raises InputError if the name begins like that but is not of this form.
    """
    if not name.startswith(TFDS_PREFIX):
        return None
    parts = _TFDS_NAME.fullmatch(name)
    if parts is None:
        raise InputError(
            f"dataset.name: {name!r} is not allowed; it must be {TFDS_PREFIX}NAME, {TFDS_PREFIX}NAME/CONFIG, or either "
            "followed by a version such as :1.0.0"
        )
    return TfdsName(parts["name"], parts["config"], parts["version"])


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
    if tfds_name(name):
        return DatasetEntry(name, image_side=None, classes=None)
    if own_code.is_known("dataset.name", name):
        return DatasetEntry(name, image_side=None, classes=None, source="function")
    raise not_one_of("dataset.name", name, [*DATASET_NAMES, *own_code.names("dataset.name"), f"{TFDS_PREFIX}NAME"])
