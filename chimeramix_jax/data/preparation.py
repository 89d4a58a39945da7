"""Writes a data set to disk through TFDS on first use, and opens it from then on."""

import contextlib
import functools
import glob
import io
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from absl import logging
from ml_collections import ConfigDict

from chimeramix_jax.config.catalog import DatasetEntry
from chimeramix_jax.data.builders.by_name import make_builder
from chimeramix_jax.data.image_paths import MOST_NAMED
from chimeramix_jax.data.tfds_files import FILE_FORMAT, write
from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.reporting.wording import counted


class SkippedWarning(UserWarning):
    """Unreadable files are skipped because ``dataset.skip_unreadable`` is set."""


@contextlib.contextmanager
def quiet_tfds() -> Iterator[None]:
    """Suppresses TFDS's messages on stdout, and its log lines below errors.

    Progress bars are still shown on a terminal, since a download may take minutes.
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
    """Returns the TFDS builder of a data set, and prepares the data set on disk if it is not there yet.

    If several processes prepare at once, all use the data of the first to finish. Data that lack files which can be
    read by now are prepared anew. Raises InputError if the data are not available, or cannot be written to or read from
    ``dataset.data_dir``.
    """
    data_dir = dataset_config.data_dir
    builder, is_new = _opened(entry, functools.partial(make_builder, dataset_config), data_dir)
    while not is_new and skipped_files(builder) and (make := builder.trying_again()) is not None:
        builder, is_new = _opened(entry, make, data_dir)
    if skipped := skipped_files(builder):
        more = len(skipped) - MOST_NAMED
        rest = f" and {more} more; check.json lists all of them" if more > 0 else ""
        message = (
            f"skipped {counted(len(skipped), 'file')} that cannot be read: {', '.join(skipped[:MOST_NAMED])}{rest}"
        )
        warnings.warn(f"dataset.skip_unreadable: {message}", SkippedWarning, stacklevel=2)
    return builder


def skipped_files(builder: Any) -> tuple[str, ...]:
    """Returns the files that were skipped when a builder's data were prepared, where they are now."""
    from chimeramix_jax.data.builders.own_images import OwnImages

    return tuple(source.place for source in builder.skipped) if isinstance(builder, OwnImages) else ()


def groups_of(builder: Any, split: str) -> Sequence[str] | None:
    """Returns the group of each image of a split in published order, as a user's list has it; None without groups."""
    from chimeramix_jax.data.builders.own_images import OwnImages

    return builder.groups(split) if isinstance(builder, OwnImages) else None


def _made(make: Callable[[], Any], name: str, data_dir: str | None) -> Any:
    """Returns a new builder; raises InputError if it cannot read the description of its prepared data.

    Another user may have prepared them for themselves alone, or a disk may have lost or damaged them.
    """
    from google.protobuf.json_format import ParseError
    from tensorflow_datasets.core.dataset_info import DatasetInfoFileError

    advice = "delete it to prepare it again, or choose another dataset.data_dir"
    try:
        return make()
    except DatasetInfoFileError as error:
        reason = one_line(error.__cause__ or error)
        raise InputError(
            f"dataset.data_dir: prepared data cannot be read: {one_line(error)} ({reason}); allow reading that "
            f"directory, {advice}"
        ) from error
    except ParseError as error:
        raise InputError(
            f"dataset.data_dir: the file dataset_info.json of {name} is damaged ({one_line(error).rstrip('.')}); find "
            f"its directory in {data_dir or 'the default folder of TFDS, ~/tensorflow_datasets'}, and {advice}"
        ) from error


def _opened(entry: DatasetEntry, make: Callable[[], Any], data_dir: str | None) -> tuple[Any, bool]:
    """Returns a builder whose data are on disk, and whether they had to be prepared first."""
    make = functools.partial(_made, make, entry.name, data_dir)
    builder = make()
    if glob.has_magic(str(builder.data_dir)):
        raise InputError(
            f"dataset.data_dir: {str(builder.data_dir_root)!r} contains * ? or [, which TFDS reads as a pattern; "
            "choose another folder with --config.dataset.data_dir"
        )
    is_new = not builder.data_path.exists()
    if is_new:
        write(builder, entry.name)
        builder = make()  # another process may have finished first: read its data
    if not builder.is_prepared():
        raise InputError(
            f"dataset.data_dir: {builder.data_dir} is not a complete TFDS data set; delete that directory to prepare "
            "it again"
        )
    if not any(form.value == FILE_FORMAT for form in builder.info.available_file_formats()):
        raise InputError(
            f"dataset.data_dir: {builder.data_dir} was prepared in the format {builder.info.file_format.value}, but "
            f"{FILE_FORMAT} is needed; choose another dataset.data_dir, or delete that directory to prepare it again"
        )
    return builder, is_new
