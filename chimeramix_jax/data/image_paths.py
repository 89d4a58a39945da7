"""Finds the image files that a user names by files, folders and patterns, and ignores files that are not images."""

import errno
import fnmatch
import glob
import os
import re
import stat
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from chimeramix_jax import paths
from chimeramix_jax.errors import InputError
from chimeramix_jax.files import is_unfinished

# Created by Windows, macOS, Synology and QNAP; hidden files are ignored as well.
_SYSTEM_FILES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin"}
    | {"#snapshot", "system volume information", "lost+found", "icon\r", "network trash folder", "temporary items"}
)
# Notes, tables and programs, and what cameras and photo libraries store beside an image, such as edits and videos.
_OTHER_SUFFIXES = (
    *(".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".htm", ".log"),
    *(".pdf", ".doc", ".docx", ".odt", ".rtf", ".xls", ".xlsx", ".ods", ".ppt", ".pptx", ".ini", ".db", ".sqlite"),
    *(".py", ".ipynb", ".sh", ".bat", ".exe", ".npy", ".npz", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z"),
    *(".rar", ".url", ".lnk", ".xmp", ".aae", ".thm", ".mov", ".mp4", ".m4v", ".avi", ".mkv", ".3gp", ".webm"),
    *(".wmv", ".mpg", ".mpeg", ".mts", ".m2ts", ".mp3", ".wav", ".m4a", ".flac", ".ogg", ".svg", ".bak", "~"),
)
_BACKUP = re.compile(r"\.\w+_original", re.ASCII)  # how exiftool ends the name of a file that it has replaced
# What cameras store before it is made into an image. Many are TIFF files whose first page is a small preview.
_RAW_SUFFIXES = (
    *(".dng", ".nef", ".nrw", ".cr2", ".cr3", ".crw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    *(".3fr", ".iiq", ".x3f", ".erf", ".kdc", ".mrw", ".rwl"),
)

MOST_NAMED = 5  # ignored or unreadable files that a message names

_ANY_FOLDERS = "**"  # in a pattern


class IgnoredFilesWarning(UserWarning):
    """Some files or folders among the images are not images and are ignored."""


def is_shown(name: str) -> bool:
    """Returns whether a file or folder is to be considered: it is neither hidden nor created by an operating system."""
    return not name.startswith(".") and name.lower() not in _SYSTEM_FILES


def may_be_image(name: str) -> bool:
    """Returns whether a file is to be read as an image: it is not hidden and has no other type's suffix."""
    return (
        is_shown(name)
        and not name.lower().endswith(_OTHER_SUFFIXES)
        and not is_raw(name)
        and not _BACKUP.fullmatch(os.path.splitext(name)[1].lower())
    )


def is_raw(name: str) -> bool:
    """Returns whether a file has the suffix of a camera's raw file."""
    return name.lower().endswith(_RAW_SUFFIXES)


def about_raw(names: Iterable[str | os.PathLike[str]]) -> str:
    """Returns the end of a sentence about ignored files, which says what to do if there are raw files among them."""
    if any(is_raw(os.fspath(name)) for name in names):
        return "; camera raw files are not read, so convert them to JPEG, PNG or TIFF"
    return ""


def warn_of_ignored(named_by: str, ignored: Sequence[str | os.PathLike[str]], of_what: str = "") -> None:
    """Warns in one line how many files and folders are no images ``of_what``, if any, and names the first.

    Temporary ones of this program are not counted: it may be writing pictures beside the images.
    """
    names = [os.fspath(path) for path in ignored if not is_unfinished(os.path.basename(path))]
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        first = ", ".join(names[:MOST_NAMED])
        listed = f"{first}{more}{about_raw(names)}"
        several = f"{len(names)} files and folders that are not images"
        number = "1 file or folder that is not an image" if len(names) == 1 else several
        message = f"{named_by}: ignored {number}{of_what}: {listed}"
        warnings.warn(message, IgnoredFilesWarning, stacklevel=2)


def find(named: str | Sequence[str]) -> list[Path]:
    """Lists the files that strings name, each once, in their order; files of a folder or pattern sorted by name.

    These are files, folders (including subfolders and linked folders) and patterns such as ``photos/*.jpg``. A string
    may contain several, separated by commas; commas in the name of an existing file or folder separate nothing. Files
    need not exist, and may be pipes if they are named themselves. Files in folders and matches of patterns are ignored,
    with IgnoredFilesWarning, if their names are not those of images, or if they are pipes or devices.

    Raises InputError if a folder is empty or unreadable, a pattern matches nothing, or nothing is named.
    """
    ignored: list[Path] = []
    files = [file for part in _parts_of(named) for file in _files_of(part, ignored)]
    if not files:
        raise InputError("--images: names no image; it must name files, folders or patterns")
    warn_of_ignored("--images", list(dict.fromkeys(ignored)))
    return _distinct(files)


def find_each(named: Iterable[str | os.PathLike[str]]) -> list[list[Path] | InputError]:
    """Lists, for each path of a list, the files that it means: those of a folder or pattern as ``find`` does.

    Any other path means one file, whether or not it exists, is named twice, has commas in its name, or looks like a
    pattern but matches nothing. What cannot be a path, such as a URL, has its InputError instead.

    Raises InputError if a folder or what a pattern matches has no images, or is unreadable.
    """
    ignored: list[Path] = []
    found: list[list[Path] | InputError] = []
    for name in named:
        try:
            path = paths.local_path(name, "--images")
        except InputError as error:
            found.append(error)
        else:
            found.append(_distinct(_files_at(path, os.fspath(name), ignored)) or [path])
    warn_of_ignored("--images", list(dict.fromkeys(ignored)))
    return found


def _distinct(files: Iterable[Path]) -> list[Path]:
    """Returns each file once: several links may lead to a folder, and patterns follow links in loops."""
    distinct: dict[tuple[str, str], Path] = {}
    for file in files:
        location = os.path.realpath(file.parent), file.name
        distinct[location] = min(distinct.get(location, file), file, key=lambda path: len(path.parts))
    return list(distinct.values())


def around(folder: Path, named: str | Iterable[str | os.PathLike[str]]) -> str | None:
    """Returns the named folder or pattern that means the files in ``folder``, too, once it exists; None: there is none.

    ``named`` is a string as for ``find``, or paths as for ``find_each``. Raises InputError for names in a string that
    are not allowed.
    """
    place = Path(os.path.realpath(folder))
    for part in _parts_of(named) if isinstance(named, str) else [os.fspath(name) for name in named]:
        try:
            literal, pattern = _split(paths.local_path(part, "--images"))
        except InputError:
            if isinstance(named, str):
                raise
            continue  # what cannot be a path means no files
        base = Path(os.path.realpath(literal))
        if os.path.isdir(literal) and place.is_relative_to(base) and _means(place.relative_to(base).parts, pattern):
            return part
    return None


def _means(below: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether a pattern matches a folder, one of those around it, or files in it.

    Both are given by their parts below the same folder.
    """
    if not pattern:
        return True
    first, rest = pattern[0], pattern[1:]
    if first == _ANY_FOLDERS:
        return True if not below else _means(below, rest) or _means(below[1:], pattern)
    if not below:
        return not rest and glob.has_magic(first)
    return _matches_part(below[0], first) and _means(below[1:], rest)


def _parts_of(named: str | Sequence[str]) -> Iterator[str]:
    """Yields each file, folder or pattern that strings name."""
    listed: dict[str, list[str]] = {}
    for text in [named] if isinstance(named, str) else named:
        if text and _exists(text):
            yield text
        else:
            yield from filter(None, (part.strip() for part in _parts(text, listed)))


def _parts(text: str, listed: dict[str, list[str]]) -> Iterator[str]:
    """Splits a text at its commas, except at those in the names of existing files and folders.

    ``listed`` gets the names with commas in each folder that is looked into.
    """
    pieces = text.split(",")
    while pieces:
        part, count = pieces[0], 1
        while longer := _with_commas(pieces, count, listed):
            part, count = ",".join(pieces[:longer]), longer
        yield part
        del pieces[:count]


def _with_commas(pieces: Sequence[str], count: int, listed: dict[str, list[str]]) -> int:
    """Returns how many pieces, of which the first ``count`` belong together, make up one more existing name.

    That is a file or folder whose name goes on with a comma. The longest is meant. 0 if there is none.
    """
    folder, begin = os.path.split(os.path.expanduser(",".join(pieces[:count]).lstrip()))
    if folder not in listed:
        listed[folder] = _names_with_commas(folder)
    possible = [name for name in listed[folder] if name.startswith(paths.by_name(f"{begin},")[0])]
    for name in sorted(possible, key=lambda name: -name.count(",")):
        more = count + name.count(",") - begin.count(",")
        below = os.path.expanduser(",".join(pieces[:more]).lstrip())[len(folder) :].lstrip(os.sep)
        whole, inside, _ = below.partition(os.sep)
        if more <= len(pieces) and paths.by_name(whole if inside else whole.rstrip())[0] == name.rstrip():
            return more
    return 0


def _names_with_commas(folder: str) -> list[str]:
    """Returns the composed names with commas in a folder; none if it does not exist or may not be read."""
    try:
        return [paths.by_name(name)[0] for name in os.listdir(paths.in_any_form(Path(folder))) if "," in name]
    except OSError:
        return []


def _exists(text: str) -> bool:
    return os.path.exists(paths.in_any_form(Path(os.path.expanduser(text))))


def _files_of(name: str, ignored: list[Path]) -> list[Path]:
    if name == "-":
        raise InputError("--images=-: standard input is read only as /dev/stdin; a file of this name is ./-")
    files = _files_at(paths.local_path(name, "--images"), name, ignored)
    if not files:
        raise InputError(f"--images: no file matches {name!r}")
    return files


def _files_at(path: Path, name: str, ignored: list[Path]) -> list[Path]:
    """Returns the files that a path means, which is called ``name`` in errors; none if a pattern matches nothing."""
    if os.path.isdir(path):
        return _below(path, ignored)
    if os.path.exists(path) or not glob.has_magic(name):
        return [path]
    files: list[Path] = []
    matches = _matches(path)
    for match in matches:
        if os.path.isdir(match) and may_be_image(match.name):
            files += _below(match, ignored, may_be_empty=True)
        else:
            (files if _is_image_file(match) else ignored).append(match)
    if matches and not files:
        raise InputError(f"--images: no file that matches {name!r} is an image{about_raw(matches)}")
    return files


def _is_image_file(path: Path) -> bool:
    """Whether a file that is not named itself is to be read: reading a pipe or a device might never end.

    A broken link is to be read, too, so that its reader reports it.
    """
    if not may_be_image(path.name):
        return False
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return True


def _matches(pattern: Path) -> list[Path]:
    """Returns the matches of a pattern. Existing folders at its start are taken literally, even with brackets."""
    literal, parts = _split(pattern)
    return sorted(dict.fromkeys(_expanded(literal, parts)), key=lambda match: paths.by_name(str(match)))


def _split(pattern: Path) -> tuple[Path, list[str]]:
    """Returns the existing file or folder at the start of a pattern, and the other parts."""
    literal, parts = Path(), list(pattern.parts)
    while parts and os.path.lexists(literal / parts[0]):
        literal /= parts.pop(0)
    doubled = (part == before == _ANY_FOLDERS for before, part in zip(["", *parts], parts, strict=False))
    return literal, [part for part, again in zip(parts, doubled, strict=True) if not again]


def _expanded(folder: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Yields what matches a pattern below a folder, some of it perhaps several times.

    Unlike ``glob``, enters every folder only once for ``**``, and raises InputError for a folder that may not be read.
    """
    if not parts:
        yield folder
        return
    first, rest = parts[0], parts[1:]
    if first == _ANY_FOLDERS and not rest:
        yield folder  # and with it everything below
    elif first == _ANY_FOLDERS:
        for parent, folders, _ in paths.walk(folder, _refuse):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from _expanded(Path(parent), rest)
    else:
        for match in _in(folder, first):
            if not rest or _is_folder(match):
                yield from _expanded(match, rest)


def _in(folder: Path, part: str) -> list[Path]:
    """Returns the files and folders directly in a folder that match one part of a pattern."""
    try:
        if glob.has_magic(part):
            return [folder / name for name in os.listdir(folder) if _matches_part(name, part)]
        return [folder / form for form in paths.forms(part) if _status(folder / form, follow=False)]
    except OSError as error:
        raise _refusal(error) from None


def _is_folder(path: Path) -> bool:
    try:
        status = _status(path)
    except OSError as error:
        raise _refusal(error) from None
    return status is not None and stat.S_ISDIR(status.st_mode)


def _status(path: Path, *, follow: bool = True) -> os.stat_result | None:
    """Returns a file's status; None if there is none, perhaps because a link leads nowhere."""
    try:
        return os.stat(path, follow_symlinks=follow)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise


def _matches_part(name: str, pattern: str) -> bool:
    """Whether a name matches one part of a pattern, in any Unicode form; as in shells, a star means no hidden files."""
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return any(fnmatch.fnmatchcase(name, form) for form in paths.forms(pattern))


def _below(folder: Path, ignored: list[Path], *, may_be_empty: bool = False) -> list[Path]:
    files: list[Path] = []
    others: list[Path] = []
    for parent, folders, names in paths.walk(folder, _refuse):
        others += [Path(parent, name) for name in folders if not is_shown(name)]
        folders[:] = sorted(filter(is_shown, folders), key=paths.by_name)
        for path in (Path(parent, name) for name in sorted(names, key=paths.by_name)):
            (files if _is_image_file(path) else others).append(path)
    if not files and not may_be_empty:
        raise InputError(f"--images: the folder {folder} contains no images{about_raw(others)}")
    ignored += others
    return files


def _refuse(error: OSError) -> None:
    raise _refusal(error) from error


def _refusal(error: OSError) -> InputError:
    return InputError(f"--images: {error.filename} cannot be read: {error.strerror}")
