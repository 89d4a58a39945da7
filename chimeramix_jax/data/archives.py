"""Obtains a published archive, by download or from the user's own copy, verifies its checksum, and reads tar files."""

import contextlib
import dataclasses
import hashlib
import os
import posixpath
import tarfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.paths import local_path

_REACHABLE_WITHIN_SECONDS = 20.0


@dataclasses.dataclass(frozen=True)
class Archive:
    """A published file."""

    url: str
    md5: str  # its checksum, 32 hexadecimal digits


def obtain(archive: Archive, local_copy: str, download_manager: Any) -> Path:
    """Returns the path of the user's own copy or else of a download, after verifying its checksum.

    Raises InputError if the copy does not exist, the download fails, or the file is not the published one.
    """
    if local_copy:
        path = local_path(local_copy, "dataset.archive")
        if not path.is_file():
            raise InputError(f"dataset.archive: there is no file {path}")
        _check_md5(path, archive)
        return path
    path = _download(archive, download_manager)
    try:
        _check_md5(path, archive)
    except InputError:
        # If these two files stayed, the download manager would refuse the right file at the next attempt.
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.INFO").unlink(missing_ok=True)
        raise
    return path


def _check_md5(path: Path, archive: Archive) -> None:
    try:
        with path.open("rb") as file:
            md5 = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        raise InputError(f"dataset.archive: {path} cannot be read: {error.strerror}") from error
    if md5 != archive.md5:
        raise InputError(
            f"dataset.archive: {path} is not {archive.url}, or is damaged: its md5 is {md5}, expected {archive.md5}"
        )


def _download(archive: Archive, download_manager: Any) -> Path:
    import tensorflow_datasets as tfds

    try:
        _check_reachable(archive.url)
        return Path(os.fspath(download_manager.download(archive.url)))
    except (OSError, tfds.download.DownloadError) as error:  # urllib's and requests' errors are OSErrors
        reason = one_line(error)
        raise InputError(
            f"cannot download {archive.url} ({reason}); download it elsewhere and pass --config.dataset.archive=PATH"
        ) from error


def _check_reachable(url: str) -> None:
    """Fails within seconds if there is no network; TFDS would retry for minutes."""
    request = urllib.request.Request(url, method="HEAD")
    # An HTTPError means that the server responds, even if it does not support HEAD; only its response to GET matters.
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(request, timeout=_REACHABLE_WITHIN_SECONDS).close()


def read_tar_members(path: Path, names: Sequence[str]) -> dict[str, bytes]:
    """Returns the content of a tar.gz file's members by their base names, which are given.

    Reads the file once, only as far as necessary, and extracts nothing to disk. Raises InputError if it is damaged or
    lacks one of the members.
    """
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r|gz") as archive:
            for member in archive:
                name = posixpath.basename(member.name)
                if name in names and member.isfile():
                    content = archive.extractfile(member)
                    assert content is not None  # it is a file
                    members[name] = content.read()
                if len(members) == len(names):
                    break
    except MemoryError:
        raise
    except Exception as error:  # tarfile, gzip and zlib raise errors of many classes for a damaged file
        raise InputError(f"dataset.archive: {path} cannot be read as a tar.gz: {one_line(error)}") from error
    missing = [name for name in names if name not in members]
    if missing:
        raise InputError(f"dataset.archive: {path} lacks {', '.join(missing)}")
    return members
