"""Creates the TFDS builder of a data set by its name; imports it, and TFDS, only when it is needed."""

import os
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict


def make_builder(dataset_config: ConfigDict) -> Any:
    """Returns the TFDS builder of the data set that ``config.dataset`` names."""
    return _BUILDERS[dataset_config.name](dataset_config)


def _data_dir(dataset_config: ConfigDict) -> str | None:
    # None lets TFDS choose, which would take a ~ in TFDS_DATA_DIR for a folder of that name.
    return os.path.expanduser(dataset_config.data_dir or os.environ.get("TFDS_DATA_DIR", "")) or None


def _digits(dataset_config: ConfigDict) -> Any:
    from chimeramix_jax.data.builders.digits import Digits

    return Digits(data_dir=_data_dir(dataset_config))


def _cifair10(dataset_config: ConfigDict) -> Any:
    from chimeramix_jax.data.builders.cifair import Cifair10

    return Cifair10(archive=dataset_config.archive, data_dir=_data_dir(dataset_config))


def _cifair100(dataset_config: ConfigDict) -> Any:
    from chimeramix_jax.data.builders.cifair import Cifair100

    return Cifair100(archive=dataset_config.archive, data_dir=_data_dir(dataset_config))


def _stl10(dataset_config: ConfigDict) -> Any:
    from chimeramix_jax.data.builders.stl10 import Stl10

    return Stl10(archive=dataset_config.archive, data_dir=_data_dir(dataset_config))


def _image_folder(dataset_config: ConfigDict) -> Any:
    from chimeramix_jax.data.builders.image_folder import ImageFolder, scan_folder

    return ImageFolder(
        scan_folder(dataset_config.directory),
        dataset_config.image_side,
        skip_unreadable=dataset_config.skip_unreadable,
        data_dir=_data_dir(dataset_config),
    )


def _tfds_catalogue(dataset_config: ConfigDict) -> Any:
    import tensorflow_datasets as tfds

    return tfds.builder(dataset_config.name, data_dir=_data_dir(dataset_config))


_BUILDERS: dict[str, Callable[[ConfigDict], Any]] = {
    "digits": _digits,
    "cifair10": _cifair10,
    "cifair100": _cifair100,
    "cifar10": _tfds_catalogue,
    "cifar100": _tfds_catalogue,
    "stl10": _stl10,
    "image_folder": _image_folder,
}
