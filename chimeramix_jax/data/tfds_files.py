"""Writes data sets to disk through TensorFlow Datasets (TFDS), in a format that is read without TensorFlow."""

from pathlib import Path
from typing import Any

from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.paths import leaving_no_empty_folders

_TRIES = 5  # at a preparation in folders that other processes remove

FILE_FORMAT = "array_record"  # has random access, and needs no TensorFlow to write or read


def write(builder: Any, name: str) -> None:
    """Prepares a TFDS builder's data set on disk, unless another process is first.

    TFDS writes into a directory named ``incomplete.*`` and renames it at the end. The remains of an interrupted
    preparation are therefore never read. Raises InputError if the data are not available or cannot be written.

    Args:
        builder: the builder.
        name: the data set's name in error messages.
    """
    import tensorflow_datasets as tfds

    for tries_left in reversed(range(_TRIES)):
        try:
            with (
                leaving_no_empty_folders(Path(builder.data_dir)),
                leaving_no_empty_folders(Path(builder.data_dir_root, "downloads", "extracted")),
            ):
                builder.download_and_prepare(
                    file_format=FILE_FORMAT, download_config=tfds.download.DownloadConfig(try_download_gcs=False)
                )
            return
        except (OSError, tfds.download.DownloadError) as error:
            if builder.data_path.exists():
                return  # another process finished first, so the final renaming failed
            if isinstance(error, FileNotFoundError) and tries_left:
                continue  # another process has removed an empty folder that it had made, and this one was using it
            reason = one_line(error)
            raise InputError(
                f"dataset.data_dir: {name} cannot be prepared under {builder.data_dir_root}: {reason}"
            ) from error
