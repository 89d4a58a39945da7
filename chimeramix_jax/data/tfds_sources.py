"""Finds the data sets that TensorFlow Datasets (TFDS) has, or that are prepared in its folder.

They are called ``tfds:NAME[/CONFIG][:VERSION]``. Data that are prepared in the format array_record are read without
TensorFlow. Preparing them takes TensorFlow, which TFDS's builders need to write images.
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

from chimeramix_jax.config.catalog import TFDS_PREFIX, TfdsName, tfds_name
from chimeramix_jax.data.tfds_files import FILE_FORMAT, write
from chimeramix_jax.errors import InputError, nearest, one_line
from chimeramix_jax.runtime import invocation

_MOST_LISTED = 8  # names in an error message
_HOW_TO_PREPARE = f"download_and_prepare(file_format={FILE_FORMAT!r})"


def find_source(name: str, data_dir: str | None) -> Any:
    """Returns the builder of a TFDS data set, which may not be prepared yet.

    Args:
        name: the value of ``dataset.name``, such as ``tfds:mnist:3.0.1``.
        data_dir: where TFDS stores prepared data sets; None: its own default.

    Raises:
        InputError: there is no such data set, neither in TFDS nor prepared.
    """
    import tensorflow_datasets as tfds

    parts = tfds_name(name)
    assert parts is not None
    try:
        return tfds.builder(name.removeprefix(TFDS_PREFIX), data_dir=data_dir)
    except tfds.core.DatasetNotFoundError:
        raise _unknown_name(name, parts.name, data_dir) from None
    except ImportError as error:
        raise InputError(
            f"dataset.name: {name} needs a package that is not installed ({one_line(error)}); copy the data set from a "
            f"machine where TFDS has prepared it with {_HOW_TO_PREPARE}, and name its version, too"
        ) from error
    except Exception as error:  # of many classes, depending on what is wrong
        raise _unknown_part(name, parts, data_dir, error) from error


def prepared_source(name: str, data_dir: str | None, builder: Any) -> Any:
    """Returns the builder of the prepared data set, and prepares it first if necessary.

    Raises InputError if preparing it or reading it takes TensorFlow, which is not installed, or if it is incomplete.
    """
    if not builder.data_path.exists():
        _prepare(name, builder)
        builder = find_source(name, data_dir)  # another process may have finished first: read its data
    if not builder.is_prepared():
        raise InputError(f"dataset.data_dir: {builder.data_dir} is not a complete TFDS data set; prepare it again")
    if not _has_random_access(builder):
        raise InputError(
            f"dataset.name: {name} was prepared at {builder.data_dir} in the format {builder.info.file_format.value}, "
            f"but {FILE_FORMAT} is needed, which is read without TensorFlow; prepare it in another dataset.data_dir "
            f"with {_HOW_TO_PREPARE}"
        )
    return builder


def prepared_by_tfds(name: str, data_dir: str | os.PathLike[str]) -> Any | None:
    """Returns TFDS's own builder of a data set if it is prepared in a format that needs no TensorFlow, else None."""
    import tensorflow_datasets as tfds

    builder = tfds.builder(name, data_dir=os.fspath(data_dir))
    return builder if builder.is_prepared() and _has_random_access(builder) else None


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
    near = nearest(dataset, known)
    hint = f" (did you mean '{TFDS_PREFIX}{near}'?)" if near else ""
    return InputError(
        f"dataset.name: {name!r} is not known{hint}; TFDS {tfds.__version__} has no data set {dataset}, and none is "
        f"prepared in {_folder(data_dir)}"
    )


def _unknown_part(name: str, parts: TfdsName, data_dir: str | None, error: Exception) -> InputError:
    """Returns the error for an unknown version or configuration of a known data set, or for damaged files."""
    import tensorflow_datasets as tfds

    unopened = InputError(f"dataset.name: {name!r} cannot be opened: {one_line(error)}")
    try:
        builder_class = tfds.builder_cls(parts.name)
    except tfds.core.DatasetNotFoundError:
        return unopened
    configs = list(builder_class.builder_configs)
    if parts.config and parts.config not in configs:
        near = nearest(parts.config, configs)
        hint = f" (did you mean {near!r}?)" if near else ""
        return InputError(
            f"dataset.name: {name!r} names the configuration {parts.config!r}, which is not known{hint}; "
            f"{parts.name} has {_listed(configs) or 'no configurations'}"
        )
    if parts.version:
        known = (builder_class.VERSION, *builder_class.SUPPORTED_VERSIONS)
        versions = [str(version) for version in known if version is not None]
        prepared = _prepared_versions(parts.name, data_dir)
        return InputError(
            f"dataset.name: {name!r} names the version {parts.version}, which is not known; TFDS "
            f"{tfds.__version__} can prepare {', '.join(versions)}, and {_folder(data_dir)} has "
            f"{', '.join(prepared) or 'none'}"
        )
    return unopened


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
            f"{invocation.installing('tensorflow')}, or copy it from a machine where TFDS has prepared it with "
            f"{_HOW_TO_PREPARE}"
        )
    write(builder, name)


def _has_random_access(builder: Any) -> bool:
    return any(form.value == FILE_FORMAT for form in builder.info.available_file_formats())


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more
