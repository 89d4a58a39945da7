"""Which files a user means who names files, folders and patterns."""

import glob
import os
from collections.abc import Iterable
from pathlib import Path

from chimeramix_jax.errors import InputError

_LEFT_BY_FILE_MANAGERS = frozenset({"thumbs.db", "desktop.ini", "__macosx"})


def is_shown(name: str) -> bool:
    """Whether a file or folder of this name counts: hidden ones, and those that file managers leave, do not."""
    return not name.startswith(".") and name.lower() not in _LEFT_BY_FILE_MANAGERS


def find(named: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Lists the files that are meant, each once, in the order named; those of a folder or a pattern by name.

    Args:
        named: files, folders (all that lies in them, at any depth) and patterns such as ``photos/*.jpg``. A text may
            name several with commas between, unless there is a file of that very name. A file need not exist.

    Raises:
        InputError: a folder is empty or unreadable, a pattern matches nothing, or nothing is named.
    """
    several = [named] if isinstance(named, str | os.PathLike) else named
    files = [file for one in several for part in _parts(os.fspath(one)) for file in _files_of(part)]
    if not files:
        raise InputError("--images: names no image; it must name files, folders or patterns")
    return list(dict.fromkeys(files))


def _parts(text: str) -> list[str]:
    if os.path.exists(os.path.expanduser(text)):
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def _files_of(name: str) -> list[Path]:
    path = Path(name).expanduser()
    if path.is_dir():
        return _below(path)
    if path.exists() or not glob.has_magic(name):
        return [path]
    matches = (Path(match) for match in sorted(glob.glob(str(path), recursive=True)))
    files = [match for match in matches if match.is_file()]
    if not files:
        raise InputError(f"--images: no file matches {name!r}")
    return files


def _below(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"--images: {error.filename} cannot be read: {error.strerror}") from error

    files: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(filter(is_shown, folders))
        files += [Path(parent, name) for name in sorted(filter(is_shown, names))]
    if not files:
        raise InputError(f"--images: the folder {folder} holds no files")
    return files
