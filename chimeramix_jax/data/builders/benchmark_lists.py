"""Lists the images of a published benchmark whose lists of files and images the user has downloaded.

These are the data sets of GEM that consist of files; ``config.catalog`` names them, and ``image_list`` reads the lists.
"""

from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax.config.catalog import dataset_entry, place_of_images
from chimeramix_jax.data.builders.contents import Contents
from chimeramix_jax.data.builders.image_list import scan_list
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import local_path

_PUBLISHED_AT = "https://github.com/lorenzobrigato/gem/tree/main/datasets"


def scan_benchmark(dataset_config: ConfigDict) -> Contents:
    """Lists the images of a benchmark's data set, without opening them.

    Raises InputError if the lists or the images are missing, with the place to get them from, or if the lists are those
    of another data set.
    """
    name = dataset_config.name
    list_named, images_named = place_of_images(dataset_config)
    if not dataset_config.directory:
        raise InputError(
            f"dataset.directory: '' is not a folder; it must be a copy of the folder {name} of {_PUBLISHED_AT}"
        )
    path = local_path(list_named, "dataset.directory")
    if not path.is_file():
        _refuse_missing_list(path, name, dataset_config.division)
    root = local_path(images_named, "dataset.image_directory")
    if not root.is_dir():
        raise InputError(
            f"dataset.image_directory: {root} is not a folder; the script download_data.sh in {path.parent} downloads "
            "the images, or --config.dataset.image_directory names a folder that has them"
        )
    contents = scan_list(path, root)
    classes = dataset_entry(name).classes
    if len(contents.class_names) != classes:
        raise InputError(
            f"dataset.directory: {path} lists {len(contents.class_names)} classes, but {name} has {classes}; it must "
            f"be the list of {name}"
        )
    return contents


def _refuse_missing_list(path: Path, name: str, division: int) -> None:
    """Raises InputError for a list that does not exist."""
    if path.with_name(path.name.replace(str(division), "0")).is_file():
        raise InputError(
            f"dataset.division: {division}, but {path.parent} has no {path.name}; it must be the number of a list that "
            "is there"
        )
    raise InputError(
        f"dataset.directory: {path} does not exist; copy the folder {name} of {_PUBLISHED_AT} to {path.parent} and run "
        "its download_data.sh, or name another copy with --config.dataset.directory"
    )
