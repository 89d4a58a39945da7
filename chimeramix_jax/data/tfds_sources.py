"""Finds the data sets that TensorFlow Datasets (TFDS) has, or that are prepared in its folder.

They are called ``tfds:NAME``, ``tfds:NAME/CONFIG``, ``tfds:NAME:VERSION`` or ``tfds:NAME/CONFIG:VERSION``. Data that are
prepared in a format with random access are read without TensorFlow. To prepare them takes TensorFlow, which TFDS's
builders need to write images.
"""

import difflib
import importlib.util
import os
import re
from pathlib import Path
from typing import Any

from chimeramix_jax.config.catalog import TFDS_PREFIX
from chimeramix_jax.data.tfds_files import FILE_FORMAT, write
from chimeramix_jax.errors import InputError, one_line

_NAME = re.compile(r"(?P<name>[A-Za-z_]\w*)(/(?P<config>[^:/]+))?(:(?P<version>\d+\.\d+\.\d+))?")
_MOST_LISTED = 8  # names in an error message
_HOW_TO_PREPARE = f"download_and_prepare(file_format={FILE_FORMAT!r})"


def open_source(name: str, data_dir: str | None) -> Any:
    """Returns the builder of a prepared TFDS data set, and prepares it first if that is possible.

    Args:
        name: the value of ``dataset.name``, such as ``tfds:mnist:3.0.1``.
        data_dir: where TFDS stores prepared data sets; None: its own default.

    Raises:
        InputError: TFDS has no such data set, or needs TensorFlow to prepare or to read it.
    """
    reference = name.removeprefix(TFDS_PREFIX)
    parts = _NAME.fullmatch(reference)
    if parts is None:
        raise InputError(
            f"dataset.name: {name!r} is not allowed; it must be {TFDS_PREFIX}NAME, {TFDS_PREFIX}NAME/CONFIG, or either "
            "followed by :VERSION, such as :1.0.0"
        )
    builder = _builder(name, reference, parts, data_dir)
    if not builder.data_path.exists():
        _prepare(name, builder)
    if not builder.is_prepared():
        raise InputError(f"dataset.data_dir: {builder.data_dir} is not a complete TFDS data set; prepare it again")
    _refuse_other_formats(name, builder)
    return builder


def prepared_by_tfds(name: str, data_dir: str | os.PathLike[str]) -> Any | None:
    """Returns TFDS's own builder of a data set if it is prepared in a format that needs no TensorFlow, else None."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=os.fspath(data_dir))
    return builder if builder.is_prepared() and _has_random_access(builder) else None


def _builder(name: str, reference: str, parts: re.Match[str], data_dir: str | None) -> Any:
    import tensorflow_datasets as tfds

    try:
        return tfds.builder(reference, data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise _unknown_name(name, parts["name"], data_dir) from None
    except Exception as error:  # of many classes, depending on what is wrong
        raise _unknown_part(name, parts, data_dir, error) from error


def _unknown_name(name: str, dataset: str, data_dir: str | None) -> InputError:
    import tensorflow_datasets as tfds

    prepared = _prepared_names(data_dir)
    if dataset in prepared:
        versions = _prepared_versions(dataset, data_dir)
        return InputError(
            f"dataset.name: {name!r} is not among the prepared data sets; of {dataset}, {_folder(data_dir)} has "
            f"{', '.join(versions) or 'nothing complete'}"
        )
    known = [*tfds.list_builders(with_community_datasets=False), *prepared]
    near = difflib.get_close_matches(dataset, known, n=1)
    hint = f" (did you mean '{TFDS_PREFIX}{near[0]}'?)" if near else ""
    return InputError(
        f"dataset.name: {name!r} is not known{hint}; TFDS {tfds.__version__} has no data set {dataset}, and none is "
        f"prepared in {_folder(data_dir)}"
    )


def _unknown_part(name: str, parts: re.Match[str], data_dir: str | None, error: Exception) -> InputError:
    """Returns the error for an unknown version or configuration of a known data set."""
    import tensorflow_datasets as tfds

    builder_class = tfds.builder_cls(parts["name"])
    configs = list(builder_class.builder_configs)
    if parts["config"] and parts["config"] not in configs:
        near = difflib.get_close_matches(parts["config"], configs, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return InputError(
            f"dataset.name: {name!r} names the configuration {parts['config']!r}, which is not known{hint}; "
            f"{parts['name']} has {_listed(configs) or 'no configurations'}"
        )
    if parts["version"]:
        versions = [str(version) for version in builder_class.supported_versions or ()]
        versions = list(dict.fromkeys([str(builder_class.VERSION), *versions]))
        prepared = _prepared_versions(parts["name"], data_dir)
        return InputError(
            f"dataset.name: {name!r} names the version {parts['version']}, which is not known; TFDS "
            f"{tfds.__version__} can prepare {', '.join(versions)}, and {_folder(data_dir)} has "
            f"{', '.join(prepared) or 'none'}"
        )
    return InputError(f"dataset.name: {name!r} cannot be opened: {one_line(error)}")


def _folder(data_dir: str | None) -> Path:
    """Returns the folder of prepared data sets."""
    import tensorflow_datasets as tfds

    return Path(data_dir or tfds.core.constants.DATA_DIR)


def _prepared_names(data_dir: str | None) -> list[str]:
    """Returns the names of the folders in which data sets may be prepared."""
    try:
        return sorted(path.name for path in _folder(data_dir).iterdir() if path.is_dir() and path.name != "downloads")
    except OSError:
        return []


def _prepared_versions(dataset: str, data_dir: str | None) -> list[str]:
    """Returns the prepared configurations and versions of a data set, such as ``small/1.0.0``."""
    folder = _folder(data_dir) / dataset
    return sorted(str(path.parent.relative_to(folder)) for path in folder.glob("**/dataset_info.json"))


def _prepare(name: str, builder: Any) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        prepared = _prepared_versions(builder.name, str(builder.data_dir_root))
        others = f"; prepared are {', '.join(prepared)}" if prepared else ""
        raise InputError(
            f"dataset.name: {name} is not prepared at {builder.data_dir} yet{others}; preparing it needs TensorFlow: "
            f"pip install tensorflow, or copy it from a machine where TFDS has prepared it with {_HOW_TO_PREPARE}"
        )
    write(builder, name)


def _refuse_other_formats(name: str, builder: Any) -> None:
    if not _has_random_access(builder):
        raise InputError(
            f"dataset.name: {name} was prepared at {builder.data_dir} in the format {builder.info.file_format.value}, but "
            f"{FILE_FORMAT} is needed, which is read without TensorFlow; prepare it in another dataset.data_dir with "
            f"{_HOW_TO_PREPARE}"
        )


def _has_random_access(builder: Any) -> bool:
    return any(form.value == FILE_FORMAT for form in builder.info.available_file_formats())


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more
