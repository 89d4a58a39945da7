"""Paths as users name them: with ``~``, as an address, in another Unicode form, through links."""

import contextlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from chimeramix_jax.errors import InputError

# Of a Path, which has one slash where two were given, the usual schemes are recognized.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|(gs|s3|https?|hdfs|file|ftp|az|abfs):/", re.IGNORECASE)


def local_path(named: str | os.PathLike[str], named_by: str) -> Path:
    """Returns the path in this machine's file system that is meant, with the home folder in the place of ``~``.

    A shell leaves ``~`` alone behind the ``=`` of a flag. Letters such as ``ä`` are composed as they are on the disk.

    Args:
        named: what the user gave.
        named_by: the flag or setting, for the error message.

    Raises:
        InputError: it is empty, an address such as ``gs://bucket``, or a home folder that nobody knows.
    """
    text = os.fspath(named)
    if not text.strip():
        raise InputError(f"{named_by}={text}: is empty; it must be a path, or the flag be left out")
    refuse_address(text, named_by)
    try:
        return in_any_form(Path(text).expanduser())
    except RuntimeError:  # no such user, or HOME is not set and the system does not know the user either
        raise InputError(f"{named_by}={text}: the home folder of ~ is not known; write the path in full") from None


def refuse_address(text: str, named_by: str) -> None:
    """Refuses what is an address and no path.

    Raises:
        InputError: it is one.
    """
    if _ADDRESS.match(text):
        raise InputError(
            f"{named_by}={text}: is an address, and only files of this machine can be used; copy it here, or mount it"
        )


@contextlib.contextmanager
def leaving_no_empty_folders(path: Path) -> Iterator[None]:
    """Takes the folders on the way to a path away again, itself included, that are made and left empty inside."""
    missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    try:
        yield
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):  # not empty, or not made
                folder.rmdir()


def in_any_form(path: Path) -> Path:
    """Returns the path under which a file is there: file systems differ in how they compose letters such as ``ä``."""
    if os.path.lexists(path):
        return path
    found = Path()
    for part in path.parts:
        found = next((found / form for form in forms(part) if os.path.lexists(found / form)), found / part)
    return found


def forms(name: str) -> list[str]:
    """A name as it is, and with its letters composed and decomposed."""
    return list(dict.fromkeys([name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]))


def by_name(name: str) -> tuple[str, str]:
    """A key to sort names by that is the same however their letters are composed."""
    return unicodedata.normalize("NFC", name), name


def walk(
    top: str | os.PathLike[str], on_error: Callable[[OSError], None]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """As ``os.walk``, but into linked folders too, and into every folder once, so that links in a circle end.

    The caller may sort the folders, and take away those that are not to be entered.
    """
    seen: set[tuple[int, int]] = set()
    for path, folders, names in os.walk(top, onerror=on_error, followlinks=True):
        try:
            status = os.stat(path)
        except OSError as error:
            on_error(error)
            folders.clear()
            continue
        if (place := (status.st_dev, status.st_ino)) in seen:
            folders.clear()
            continue
        seen.add(place)
        yield path, folders, names
