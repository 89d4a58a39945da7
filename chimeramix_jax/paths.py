"""Paths as users write them: with ``~``, as a URL, in another Unicode normal form, through links."""

import contextlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from chimeramix_jax.errors import InputError

# A Path merges the two slashes of a URL into one; with one slash only the usual schemes are recognized.
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|(gs|s3|https?|hdfs|file|ftp|az|abfs):/", re.IGNORECASE)

_TRIES = 10  # to create a folder whose parents other processes remove


def local_path(named: str | os.PathLike[str], named_by: str) -> Path:
    """Returns a path in this machine's file system, with ``~`` replaced by the home folder.

    Shells do not expand ``~`` after the ``=`` of a flag. Unicode letters are composed as they are on the disk.

    Raises InputError, which names the flag or setting ``named_by``, if the path is empty, a URL such as ``gs://bucket``,
    in an unknown home folder, relative to a current folder that was deleted, or impossible, or if it may not even be
    looked up, as in a folder of another user.
    """
    text = os.fspath(named)
    if not text.strip():
        raise InputError(f"{named_by}={text}: is empty; it must be a path, or the flag must be left out")
    refuse_address(text, named_by)
    try:
        path = in_any_form(Path(text).expanduser())
        path.lstat()
    except RuntimeError:  # there is no such user, or HOME is not set and the system does not know the user
        raise InputError(f"{named_by}={text}: the home folder for ~ is not known; write the full path") from None
    except (FileNotFoundError, NotADirectoryError):
        _refuse_deleted_folder(path, f"{named_by}={text}")
    except ValueError:  # a zero byte, or a letter that the file system's encoding lacks
        raise InputError(f"{named_by}={text!r}: contains a character that no path may have") from None
    except OSError as error:
        raise InputError(f"{named_by}={text}: cannot be used: {error.strerror}") from None
    return path


def _refuse_deleted_folder(path: Path, named: str) -> None:
    """Raises InputError if a path is relative to a current folder that was deleted, where nothing can be made."""
    try:
        path.absolute()
    except FileNotFoundError:
        raise InputError(
            f"{named}: the current folder was deleted; change to another folder, or write the full path"
        ) from None


def refuse_deleted_current_folder() -> None:
    """Raises InputError if the current folder was deleted: no other program can be started there."""
    try:
        Path.cwd()
    except FileNotFoundError:
        raise InputError("the current folder was deleted; change to another folder") from None


def refuse_address(text: str, named_by: str) -> None:
    """Raises InputError if a URL is given where a path must be."""
    if _ADDRESS.match(text):
        raise InputError(f"{named_by}={text}: is a URL; it must be a path on this machine, so copy or mount it first")


def refuse_other_encodings(path: Path, named_by: str) -> None:
    """Raises InputError, which names the flag or setting ``named_by``, if a path is not UTF-8.

    Libraries that write checkpoints and records cannot use such a path, wherever in it the other bytes are.
    """
    whole = os.path.realpath(path)
    try:
        whole.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{named_by}={printable(path)}: {printable(whole)} is not UTF-8, so nothing can be stored there; "
            "choose a path whose folders have other names"
        ) from None


@contextlib.contextmanager
def leaving_no_empty_folders(path: Path) -> Iterator[None]:
    """Removes the path and its parents at the end, as far as they were created inside ``with`` and are empty."""
    missing = [folder for folder in (path, *path.parents) if not os.path.lexists(folder)]
    try:
        yield
    finally:
        for folder in missing:
            with contextlib.suppress(OSError):  # not empty, or never created
                folder.rmdir()


def make_folder(path: Path) -> None:
    """Creates a folder and its parents, unless they exist; other processes may remove empty ones at the same time."""
    for _ in range(_TRIES - 1):
        with contextlib.suppress(FileNotFoundError):  # a parent was removed (``leaving_no_empty_folders``)
            path.mkdir(parents=True, exist_ok=True)
            return
    path.mkdir(parents=True, exist_ok=True)


def in_any_form(path: Path) -> Path:
    """Returns the path in the Unicode form that exists; file systems differ in how they encode ``ä``, for instance."""
    if os.path.lexists(path):
        return path
    found, parts = Path(), list(path.parts)
    while parts:
        existing = next((found / form for form in forms(parts[0]) if os.path.lexists(found / form)), None)
        if existing is None:
            break
        found = existing
        del parts[0]
    return found.joinpath(*parts)


def without_links(path: str) -> str:
    """Returns the absolute path of a folder, without links and ``~``."""
    return os.path.realpath(os.path.expanduser(path))


def short_name(path: str) -> str:
    """Returns the last part of a path or, of a .txt file such as ``isic2018/trainval.txt``, the last two."""
    whole = os.path.abspath(os.path.expanduser(path))
    folder, name = os.path.split(whole)
    return os.path.join(os.path.basename(folder), name) if name.lower().endswith(".txt") else name


def printable(path: str | os.PathLike[str]) -> str:
    """Returns a path, or a text with paths, that can be encoded: bytes that are not UTF-8 are written as ``\\xe9``."""
    return os.fspath(path).encode(errors="surrogateescape").decode(errors="backslashreplace")


def forms(name: str) -> list[str]:
    """A name as it is, and with its letters composed and decomposed."""
    return list(dict.fromkeys([name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))]))


def by_name(name: str) -> tuple[str, str]:
    """Returns a sort key for names that does not depend on their Unicode normal form."""
    return unicodedata.normalize("NFC", name), name


def walk(
    top: str | os.PathLike[str], on_error: Callable[[OSError], None]
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walks a folder like ``os.walk``, but follows links and enters every folder only once, so loops of links end.

    The caller may sort the list of folders, and remove folders that must not be entered.
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
