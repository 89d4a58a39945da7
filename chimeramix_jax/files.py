"""Writes files atomically: an interruption leaves the old file or the new one. Also converts values for JSON."""

import contextlib
import errno
import json
import math
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chimeramix_jax.errors import InputError, StorageError
from chimeramix_jax.paths import leaving_no_empty_folders, make_folder, printable

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk is full, or a quota or file size limit is reached
# Not writable, not reachable, or one file more than this process or the system may have open.
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE)
_IN_EMPTY_FILE_SYSTEMS = "lost+found"
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.part", re.DOTALL)  # what ``unused_name_beside`` returns
# Bytes that a temporary name has of its target's. With the 23 others, it is allowed wherever names may be long.
_MOST_OF_A_NAME = 100
_MOST_LINKS = 40  # links that lead to links, as on Linux
_STANDARD_OUTPUT = 1  # its file descriptor


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file atomically: readers see the old content or the new content, never a part, even after a crash.

    Creates missing parent folders. Writes to a temporary file beside the target, syncs it to disk and renames it to
    the target, whose permissions it keeps if the target existed. Follows links. Writes directly to a target that is
    not a regular file, such as a pipe, and appends to what this process has open already, such as ``/dev/stdout``; it
    is no error if a reader closes it.

    Raises:
        StorageError: there is no space for the file.
        OSError: the file cannot be written. The old file is unchanged, and no temporary file is left behind.
    """
    with room_for(Path(path), len(content)):
        opened, mode = _descriptor(path), None
        with contextlib.suppress(FileNotFoundError):
            mode = os.stat(path).st_mode
        if opened is not None or (mode is not None and not stat.S_ISREG(mode)):
            with contextlib.suppress(BrokenPipeError), open(path if opened is None else os.dup(opened), "wb") as stream:
                stream.write(content)
            return
        target = Path(os.path.realpath(path))
        make_folder(target.parent)
        _replace(target, content, None if mode is None else stat.S_IMODE(mode))


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """Returns the open file descriptor that a path such as ``/dev/stdout`` leads to; None if it leads to none."""
    place = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        if match := re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", place):
            return int(match[1])
        if not os.path.islink(place):
            break
        place = os.path.normpath(os.path.join(os.path.dirname(place), os.readlink(place)))
    return None


def leads_to_standard_output(path: str | os.PathLike[str]) -> bool:
    """Returns whether what is written to a path, such as ``/dev/stdout``, appears on this process's standard output."""
    return _descriptor(path) == _STANDARD_OUTPUT


def refuse_unwritable(path: Path, source: str) -> None:
    """Raises InputError, which names the flag ``source``, if the file cannot be written, before work is lost.

    This is so if no file can be created in its folder, or if it exists and is write-protected.
    """
    if _descriptor(path) is not None or (path.exists() and not path.is_file()):
        return  # open already, or a pipe or a device, which are written to directly
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"{source}={path}: is write-protected; name another file, or allow writing to this one")
    target = Path(os.path.realpath(path))
    nearest = next(folder for folder in target.parents if os.path.lexists(folder))
    if not nearest.is_dir():
        raise InputError(f"{source}={path}: cannot be written because {nearest} is not a folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{source}={path}: cannot be written because {nearest} is not writable")


def _replace(target: Path, content: bytes, mode: int | None) -> None:
    """Replaces the target; ``mode`` None gives it the permissions of a new file."""
    temporary = unused_name_beside(target)

    def create(path: str, flags: int) -> int:  # never more permissions than the target has, not even for a moment
        return os.open(path, flags, 0o666 if mode is None else mode)

    try:
        with open(temporary, "xb", opener=create) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, mode)  # the umask may have removed some
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def unused_name_beside(target: Path, folder: Path | None = None) -> Path:
    """Returns a hidden, random name in the target's folder, or in ``folder``.

    Unlike what ``tempfile`` creates, a file or folder made under this name has the permissions that the user's umask
    gives to new ones. Of a long name it has only the beginning, since it must not be longer than names may be.
    """
    name = target.name or "folder"
    while len(os.fsencode(name)) > _MOST_OF_A_NAME:
        name = name[:-1]
    return (folder or target.parent) / f".{name}.{secrets.token_hex(8)}.part"


def sync_folder(folder: Path) -> None:
    """Waits until the names in a folder are on the disk, where the file system can tell."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems sync files only
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_unfinished(name: str) -> bool:
    """Returns whether a file or folder is a temporary one of this program, from its name."""
    return _TEMPORARY.fullmatch(name) is not None


def names_in(folder: Path) -> set[str]:
    """Returns the names in a folder, except temporary ones of this program; none if there is no such folder."""
    return {name for name in os.listdir(folder) if not is_unfinished(name)} if folder.is_dir() else set()


def finished_name(name: str) -> str:
    """Returns the name that a temporary file or folder was to get, or its beginning, if it is long."""
    return name[1:].rpartition(".part")[0].rpartition(".")[0]


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Provides a temporary folder to fill, and renames it to the target at the end of the ``with`` statement.

    The temporary folder lies beside the target and is deleted on an error. If the target is an existing empty folder
    (perhaps a mount point, a link or the current folder), the temporary folder lies inside it, and its content moves up
    at the end. Raises InputError if the target is anything else, or cannot be created.
    """
    exists = os.path.lexists(target)
    with leaving_no_empty_folders(target.parent):
        try:
            if exists and not (target.is_dir() and set(os.listdir(target)) <= {_IN_EMPTY_FILE_SYSTEMS}):
                raise InputError(
                    f"{target}: already exists and is not overwritten; it must be a new or an empty folder"
                )
            make_folder(target.parent)
            unfinished = unused_name_beside(target, target if exists else target.parent)
            unfinished.mkdir()
        except OSError as error:
            raise InputError(f"{target}: cannot be created: {error.strerror}") from None
        try:
            yield unfinished
            if exists:
                for part in sorted(unfinished.iterdir()):
                    part.rename(target / part.name)
            else:
                unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def room_for(path: Path, needed: int) -> Iterator[None]:
    """Turns a full disk's errors into a ``StorageError`` that names the file and the number of bytes it needs."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise storage_error(path, needed, error) from error


def reason_of_storage(error: BaseException, numbers: Sequence[int] = (*NO_ROOM, *CLOSED)) -> str | None:
    """Returns the system's reason why something could not be written, or None if the error has another reason.

    Also searches the errors that led to this one, and their texts: libraries raise errors of their own classes, with
    the system's message somewhere in a long text.
    """
    current: BaseException | None = error
    while current is not None:
        for number in numbers:
            if (isinstance(current, OSError) and current.errno == number) or os.strerror(number) in str(current):
                return os.strerror(number)
        current = current.__cause__ or current.__context__
    return None


def storage_error(path: Path, needed: int, error: Exception) -> StorageError:
    """Returns, for the caller to raise, the error for a file or folder of this size that ``error`` prevented."""
    from rich import filesize  # here, because the GPU kit uses this module before it knows whether packages are missing

    reason = reason_of_storage(error, NO_ROOM)
    if reason is None:
        return StorageError(f"{path}: cannot be written: {reason_of_storage(error)}")
    room = next(parent for parent in Path(path).absolute().parents if parent.exists())
    free = shutil.disk_usage(room).free
    return StorageError(
        f"{path}: cannot be written: {reason} ({filesize.decimal(needed)} needed, {filesize.decimal(free)} free)"
    )


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes text as UTF-8, atomically; see ``encoded``."""
    write_bytes(path, encoded(text))


def encoded(text: str) -> bytes:
    """Returns text as UTF-8. Bytes of file names that are not UTF-8 become ``\\xfc``: they cannot be encoded."""
    return printable(text).encode()


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a value as indented JSON, atomically. ``plain`` lists the types that the value may contain."""
    write_bytes(path, (json.dumps(plain(value), indent=2, allow_nan=False) + "\n").encode())


def plain(value: Any) -> Any:
    """Converts a value to JSON's own types.

    Mappings and tuples become dicts and lists, paths become text, NumPy and JAX scalars and arrays become numbers and
    nested lists. NaN and infinite numbers become None, because JSON has neither and many parsers reject them.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):  # NumPy and JAX, without importing either
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
