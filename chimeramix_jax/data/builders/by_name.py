"""Creates the TFDS builder of a data set by its name; imports it, and TFDS, only when it is needed."""

import os
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from chimeramix_jax.config.catalog import TFDS_PREFIX, lists_of

if TYPE_CHECKING:
    from chimeramix_jax.data.builders.contents import Contents


def make_builder(dataset_config: ConfigDict) -> Any:
    """Returns the TFDS builder of the data set that ``config.dataset`` names."""
    # None lets TFDS choose, which would take a ~ in TFDS_DATA_DIR for a folder of that name.
    data_dir = os.path.expanduser(dataset_config.data_dir or os.environ.get("TFDS_DATA_DIR", "")) or None
    match dataset_config.name:
        case "digits":
            from chimeramix_jax.data.builders.digits import Digits

            return Digits(data_dir=data_dir)
        case "cifair10" | "cifair100" as name:
            from chimeramix_jax.data.builders import cifair

            return cifair.BUILDERS[name](archive=dataset_config.archive, data_dir=data_dir)
        case "stl10":
            from chimeramix_jax.data.builders.stl10 import Stl10

            return Stl10(archive=dataset_config.archive, data_dir=data_dir)
        case "image_folder":
            from chimeramix_jax.data.builders.image_folder import refuse_among_photos
            from chimeramix_jax.data.builders.own_images import scan

            if data_dir is not None:
                refuse_among_photos(data_dir, "--config.dataset.data_dir", dataset_config)
            directory, evaluate_on = dataset_config.directory, dataset_config.evaluate_on
            return _of_files(scan(directory, evaluate_on, dataset_config.image_directory), dataset_config, data_dir)
        case name if lists_of(name):
            from chimeramix_jax.data.builders.benchmark_lists import scan_benchmark

            return _of_files(scan_benchmark(dataset_config), dataset_config, data_dir)
        case "cifar10" | "cifar100" as name:
            from chimeramix_jax.data.builders import cifar

            return cifar.BUILDERS[name](archive=dataset_config.archive, data_dir=data_dir)
        case name if name.startswith(TFDS_PREFIX):
            from chimeramix_jax.data.builders.tfds_images import TfdsImages, scan_tfds

            return TfdsImages(
                scan_tfds(dataset_config, data_dir),
                dataset_config.image_side,
                fit=dataset_config.fit,
                skip_unreadable=dataset_config.skip_unreadable,
                data_dir=data_dir,
            )
        case name if dataset_config.code:
            from chimeramix_jax.data.builders.function_arrays import scan_function
            from chimeramix_jax.data.builders.own_images import OwnImages

            contents = scan_function(name, dataset_config.code, dataset_config.evaluate_on)
            return OwnImages(contents, dataset_config.image_side, fit=dataset_config.fit, data_dir=data_dir)
        case name:
            raise NotImplementedError(f"dataset.name {name!r} has no case in make_builder")


def _of_files(contents: "Contents", dataset_config: ConfigDict, data_dir: str | None) -> Any:
    """Returns the builder of images in files."""
    from chimeramix_jax.data.builders.own_images import OwnImages

    return OwnImages(
        contents,
        dataset_config.image_side,
        fit=dataset_config.fit,
        skip_unreadable=dataset_config.skip_unreadable,
        data_dir=data_dir,
    )
