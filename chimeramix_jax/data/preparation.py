"""Writing a data set to disk through TFDS, once, and finding it there afterwards."""

import contextlib
import glob
import importlib.util
import io
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from chimeramix_jax.config.catalog import DatasetEntry
from chimeramix_jax.data.builders.by_name import make_builder
from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.paths import leaving_no_empty_folders

FILE_FORMAT = "array_record"  # random access, and no TensorFlow for writing or reading


class SkippedWarning(UserWarning):
    """Files that cannot be read are left out, as the settings ask for."""


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Keeps TFDS from printing: its messages to stdout and its log lines below errors.

    Its progress bars stay for someone who watches a terminal, since a download may take minutes.
    """
    import tensorflow_datasets as tfds

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    tfds.display_progress_bar(sys.stderr.isatty())
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.display_progress_bar(True)
        logging.set_verbosity(verbosity)


def prepared_builder(entry: DatasetEntry, dataset_config: ConfigDict) -> Any:
    """Returns the TFDS builder of a data set that is on disk, after having written it there if it was not.

    TFDS writes into a directory named ``incomplete.*`` and renames it at the end, so what an interrupted preparation
    leaves is never read, and of several processes that prepare at once the first to finish provides the data for all.

    Raises:
      InputError: the data cannot be had, or cannot be written to or read from ``dataset.data_dir``.
    """
    from chimeramix_jax.data.builders.examples import SKIPPED

    builder = make_builder(dataset_config)
    if glob.has_magic(str(builder.data_dir)):
        raise InputError(
            f"dataset.data_dir: {str(builder.data_dir_root)!r} has one of * ? [ in it, which TFDS takes for a pattern; "
            "name another with --config.dataset.data_dir"
        )
    if not builder.data_path.exists():
        _prepare(entry, builder)
        builder = make_builder(dataset_config)  # another process may have been first: read what is on disk
    if not builder.is_prepared():
        raise InputError(
            f"dataset.data_dir: {builder.data_dir} is not a complete TFDS data set; delete that directory to have it "
            "prepared anew"
        )
    if not any(form.value == FILE_FORMAT for form in builder.info.available_file_formats()):
        raise InputError(
            f"dataset.data_dir: {builder.data_dir} was prepared in the format {builder.info.file_format.value}, but "
            f"{FILE_FORMAT} is needed; give another dataset.data_dir, or delete that directory to prepare it anew"
        )
    if skipped := (builder.info.metadata or {}).get(SKIPPED):
        message = f"dataset.skip_unreadable: left out {len(skipped)} files that cannot be read: {', '.join(skipped)}"
        warnings.warn(message, SkippedWarning, stacklevel=2)
    return builder


def _prepare(entry: DatasetEntry, builder: Any) -> None:
    import tensorflow_datasets as tfds

    if entry.preparing_needs_tensorflow and importlib.util.find_spec("tensorflow") is None:
        raise InputError(
            f"dataset.name: preparing {entry.name} needs TensorFlow, once: pip install tensorflow "
            f"(there is no prepared copy at {builder.data_dir})"
        )
    try:
        with (
            leaving_no_empty_folders(Path(builder.data_dir)),
            leaving_no_empty_folders(Path(builder.data_dir_root, "downloads", "extracted")),
        ):
            builder.download_and_prepare(
                file_format=FILE_FORMAT, download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
    except (OSError, tfds.download.DownloadError) as error:
        if builder.data_path.exists():
            return  # another process finished first, and the final renaming found its directory in place
        reason = one_line(error)
        raise InputError(
            f"dataset.data_dir: {entry.name} cannot be prepared under {builder.data_dir_root}: {reason}"
        ) from error
