"""Checks that the files and packages that settings need exist; no file is read."""

import importlib.util
import os
from collections.abc import Mapping
from typing import Any

from chimeramix_jax.config import catalog
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import local_path, refuse_other_encodings
from chimeramix_jax.runtime import invocation

_STORES = {"gs://": "gcsfs", "s3://": "s3fs", "az://": "adlfs"}  # the stores of etils and the packages they need


def check_environment(settings: Mapping[str, Any]) -> None:
    """Raises InputError if a file or a package that these settings need is not there."""
    _check_files(settings)
    _check_logging(settings)


def _check_files(settings: Mapping[str, Any]) -> None:
    archive, directory = settings["dataset.archive"], settings["dataset.directory"]
    if settings["dataset.data_dir"]:
        _check_data_dir(settings["dataset.data_dir"], "dataset.data_dir")
    elif os.environ.get("TFDS_DATA_DIR"):
        _check_data_dir(os.environ["TFDS_DATA_DIR"], "TFDS_DATA_DIR")
    elif os.path.expanduser("~") == "~":
        raise InputError(
            "dataset.data_dir: '', but there is no home folder to keep prepared data sets in; name one with "
            "--config.dataset.data_dir"
        )
    if archive and not local_path(archive, "dataset.archive").is_file():
        raise InputError(f"dataset.archive: {archive!r} is not a file; it must be the data set's published archive")
    entry = catalog.dataset_entry(settings["dataset.name"])
    if entry.source == "directory":
        _check_directory(directory)
        _check_image_directory(settings["dataset.image_directory"], directory)


def _check_data_dir(data_dir: str, source: str) -> None:
    if data_dir.startswith(tuple(_STORES)):  # TFDS can write there if the right package is installed
        packages = ("tensorflow", _STORES[data_dir.partition("://")[0] + "://"])
        if not any(importlib.util.find_spec(package) for package in packages):
            raise InputError(f"{source}: {data_dir!r} is a URL, which needs one of the packages {', '.join(packages)}")
    else:
        refuse_other_encodings(local_path(data_dir, source), source)


def _check_directory(directory: str) -> None:
    path = local_path(directory, "dataset.directory") if directory else None
    is_file = path is not None and path.is_file() and path.suffix.lower() in catalog.FILES_OF_IMAGES
    if path is None or not (path.is_dir() or is_file):
        raise InputError(
            f"dataset.directory: {directory!r} is not a folder; it must be one that contains a folder for each class, "
            "or a .csv, .txt or .npz file of images"
        )


def _check_image_directory(image_directory: str, directory: str) -> None:
    if not image_directory:
        return
    if not directory.lower().endswith(catalog.LISTS):
        raise InputError(
            f"dataset.image_directory: {image_directory!r}, but dataset.directory is not a list of images "
            f"({', '.join(catalog.LISTS)}); it must be empty"
        )
    if not local_path(image_directory, "dataset.image_directory").is_dir():
        raise InputError(
            f"dataset.image_directory: {image_directory!r} is not a folder; it must be the one that listed paths are "
            "relative to"
        )


def _check_logging(settings: Mapping[str, Any]) -> None:
    for key, off, module in (("logging.tensorboard", False, "tensorboardX"), ("logging.wandb", "off", "wandb")):
        if settings[key] != off and importlib.util.find_spec(module) is None:
            raise InputError(f"{key}: {settings[key]!r} needs the package {module}; {invocation.installing(module)}")
