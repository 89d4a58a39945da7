"""Which files a user means who names files, folders and patterns, and which of what lies there are no images."""

import glob
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

from chimeramix_jax import paths
from chimeramix_jax.errors import InputError

# Of Windows, macOS, Synology and QNAP; hidden files come on top.
_LEFT_BY_SYSTEMS = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin"}
    | {"#snapshot", "system volume information", "lost+found", "icon\r", "network trash folder", "temporary items"}
)
# Of notes, tables and programs, and of what cameras and photo libraries keep beside an image: its edits and its film.
_NO_IMAGES = (
    *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".htm", ".log"),
    *(".pdf", ".doc", ".docx", ".odt", ".rtf", ".xls", ".xlsx", ".ini", ".db", ".sqlite", ".py", ".sh", ".zip"),
    *(".url", ".lnk", ".xmp", ".aae", ".thm", ".mov", ".mp4", ".m4v", ".avi", ".mkv", ".3gp", ".mp3", ".wav", ".m4a"),
)

MOST_NAMED = 5  # of the files that are passed over


class PassedOverWarning(UserWarning):
    """Some of what lies in a folder of images is none, and is not used."""


def is_shown(name: str) -> bool:
    """Whether a file or folder of this name counts: hidden ones, and those that systems leave, do not."""
    return not name.startswith(".") and name.lower() not in _LEFT_BY_SYSTEMS


def may_be_image(name: str) -> bool:
    """Whether a file of this name is to be read: not where it is hidden, or has the ending of something else."""
    return is_shown(name) and not name.lower().endswith(_NO_IMAGES)


def tell_passed_over(named_by: str, passed_over: Sequence[str], what: str = "images") -> None:
    """Counts what is passed over, in one line, and names the first.

    Warns:
        PassedOverWarning: there is some.
    """
    if passed_over:
        more = f" and {len(passed_over) - MOST_NAMED} more" if len(passed_over) > MOST_NAMED else ""
        named = ", ".join(passed_over[:MOST_NAMED])
        message = f"{named_by}: ignored {len(passed_over)} files and folders that are not {what}: {named}{more}"
        warnings.warn(message, PassedOverWarning, stacklevel=2)


def find(named: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[Path]:
    """Lists the files that are meant, each once, in the order named; those of a folder or a pattern by name.

    What lies in a folder, or matches a pattern, and is no image by its name is passed over.

    Args:
        named: files, folders (all that lies in them, at any depth, and in folders that are linked there) and patterns
            such as ``photos/*.jpg``. A text may name several with commas between, unless there is a file of that very
            name. A file need not exist.

    Raises:
        InputError: a folder is empty or unreadable, a pattern matches nothing, or nothing is named.

    Warns:
        PassedOverWarning: something is.
    """
    several = [named] if isinstance(named, str | os.PathLike) else named
    passed_over: list[str] = []
    files = [file for one in several for part in _parts(os.fspath(one)) for file in _files_of(part, passed_over)]
    if not files:
        raise InputError("--images: names no image; it must name files, folders or patterns")
    tell_passed_over("--images", list(dict.fromkeys(passed_over)))
    found: dict[tuple[str, str], Path] = {}
    for file in files:  # a folder may be reached by several links, and a pattern follows those that lead in a circle
        place = os.path.realpath(file.parent), file.name
        found[place] = min(found.get(place, file), file, key=lambda path: len(path.parts))
    return list(found.values())


def _parts(text: str) -> list[str]:
    if text and os.path.exists(paths.in_any_form(Path(os.path.expanduser(text)))):
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def _files_of(name: str, passed_over: list[str]) -> list[Path]:
    path = paths.local_path(name, "--images")
    if path.is_dir():
        return _below(path, passed_over)
    if path.exists() or not glob.has_magic(name):
        return [path]
    matches = _matches(path)
    if not matches:
        raise InputError(f"--images: no file matches {name!r}")
    files: list[Path] = []
    for match in matches:
        if not may_be_image(match.name):
            passed_over.append(str(match))
        else:
            files += _below(match, passed_over, may_be_empty=True) if match.is_dir() else [match]
    if not files:
        raise InputError(f"--images: no image is among what matches {name!r}")
    return files


def _matches(pattern: Path) -> list[Path]:
    """What matches a pattern; the folders that it begins with may have brackets in their names."""
    literal, parts = Path(), list(pattern.parts)
    while parts and os.path.lexists(literal / parts[0]):
        literal /= parts.pop(0)
    patterns = (Path(glob.escape(str(literal)), form) for form in paths.forms(str(Path(*parts))))
    found = {match for pattern in patterns for match in glob.glob(str(pattern), recursive=True)}
    return sorted(map(Path, found), key=lambda match: paths.by_name(str(match)))


def _below(folder: Path, passed_over: list[str], *, may_be_empty: bool = False) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise InputError(f"--images: {error.filename} cannot be read: {error.strerror}") from error

    files: list[Path] = []
    for parent, folders, names in paths.walk(folder, refuse):
        passed_over += [os.path.join(parent, name) for name in folders if not is_shown(name)]
        passed_over += [os.path.join(parent, name) for name in names if not may_be_image(name)]
        folders[:] = sorted(filter(is_shown, folders), key=paths.by_name)
        files += [Path(parent, name) for name in sorted(filter(may_be_image, names), key=paths.by_name)]
    if not files and not may_be_empty:
        raise InputError(f"--images: the folder {folder} holds no images")
    return files
