"""Finds the image files that a user names by files, folders and patterns, and ignores files that are not images."""

import glob
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from chimeramix_jax import paths
from chimeramix_jax.errors import InputError

# Created by Windows, macOS, Synology and QNAP; hidden files are ignored as well.
_SYSTEM_FILES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin"}
    | {"#snapshot", "system volume information", "lost+found", "icon\r", "network trash folder", "temporary items"}
)
# Notes, tables and programs, and what cameras and photo libraries store beside an image, such as edits and videos.
_OTHER_SUFFIXES = (
    *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".htm", ".log"),
    *(".pdf", ".doc", ".docx", ".odt", ".rtf", ".xls", ".xlsx", ".ini", ".db", ".sqlite", ".py", ".sh", ".zip"),
    *(".url", ".lnk", ".xmp", ".aae", ".thm", ".mov", ".mp4", ".m4v", ".avi", ".mkv", ".3gp", ".mp3", ".wav", ".m4a"),
)

MOST_NAMED = 5  # ignored files that a warning names


class IgnoredFilesWarning(UserWarning):
    """Some files or folders among the images are not images and are ignored."""


def is_shown(name: str) -> bool:
    """Returns whether a file or folder is to be considered: it is neither hidden nor created by an operating system."""
    return not name.startswith(".") and name.lower() not in _SYSTEM_FILES


def may_be_image(name: str) -> bool:
    """Returns whether a file is to be read as an image: it is not hidden and has no other type's suffix."""
    return is_shown(name) and not name.lower().endswith(_OTHER_SUFFIXES)


def warn_of_ignored(named_by: str, ignored: Sequence[str], what: str = "images") -> None:
    """Warns in one line how many files and folders are ignored, if any, and names the first."""
    if ignored:
        more = f" and {len(ignored) - MOST_NAMED} more" if len(ignored) > MOST_NAMED else ""
        first = ", ".join(ignored[:MOST_NAMED])
        message = f"{named_by}: ignored {len(ignored)} files and folders that are not {what}: {first}{more}"
        warnings.warn(message, IgnoredFilesWarning, stacklevel=2)


def find(named: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Lists the named files, each once, in the order of the arguments; files of a folder or pattern sorted by name.

    These are files, folders (including subfolders and linked folders) and patterns such as ``photos/*.jpg``. A string
    may contain several, separated by commas, unless a file of exactly that name exists. Files need not exist. Files in
    folders and matches of patterns are ignored, with IgnoredFilesWarning, if their names are not those of images.
    Raises InputError if a folder is empty or unreadable, a pattern matches nothing, or nothing is named.
    """
    arguments = [named] if isinstance(named, str | os.PathLike) else named
    ignored: list[str] = []
    files = [file for name in arguments for part in _parts(os.fspath(name)) for file in _files_of(part, ignored)]
    if not files:
        raise InputError("--images: names no image; it must name files, folders or patterns")
    warn_of_ignored("--images", list(dict.fromkeys(ignored)))
    distinct: dict[tuple[str, str], Path] = {}
    for file in files:  # several links may lead to a folder, and patterns follow links in loops
        location = os.path.realpath(file.parent), file.name
        distinct[location] = min(distinct.get(location, file), file, key=lambda path: len(path.parts))
    return list(distinct.values())


def _parts(text: str) -> list[str]:
    if text and os.path.exists(paths.in_any_form(Path(os.path.expanduser(text)))):
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def _files_of(name: str, ignored: list[str]) -> list[Path]:
    path = paths.local_path(name, "--images")
    if path.is_dir():
        return _below(path, ignored)
    if path.exists() or not glob.has_magic(name):
        return [path]
    matches = _matches(path)
    if not matches:
        raise InputError(f"--images: no file matches {name!r}")
    files: list[Path] = []
    for match in matches:
        if not may_be_image(match.name):
            ignored.append(str(match))
        else:
            files += _below(match, ignored, may_be_empty=True) if match.is_dir() else [match]
    if not files:
        raise InputError(f"--images: no file that matches {name!r} is an image")
    return files


def _matches(pattern: Path) -> list[Path]:
    """Returns the matches of a pattern. Existing folders at its start are taken literally, even with brackets."""
    literal, parts = Path(), list(pattern.parts)
    while parts and os.path.lexists(literal / parts[0]):
        literal /= parts.pop(0)
    patterns = (Path(glob.escape(str(literal)), form) for form in paths.forms(str(Path(*parts))))
    matches = {match for pattern in patterns for match in glob.glob(str(pattern), recursive=True)}
    return sorted(map(Path, matches), key=lambda match: paths.by_name(str(match)))


def _below(folder: Path, ignored: list[str], *, may_be_empty: bool = False) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"--images: {error.filename} cannot be read: {error.strerror}") from error

    files: list[Path] = []
    for parent, folders, names in paths.walk(folder, refuse):
        ignored += [os.path.join(parent, name) for name in folders if not is_shown(name)]
        ignored += [os.path.join(parent, name) for name in names if not may_be_image(name)]
        folders[:] = sorted(filter(is_shown, folders), key=paths.by_name)
        files += [Path(parent, name) for name in sorted(filter(may_be_image, names), key=paths.by_name)]
    if not files and not may_be_empty:
        raise InputError(f"--images: the folder {folder} contains no images")
    return files
