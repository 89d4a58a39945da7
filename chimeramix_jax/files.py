"""Files that are either complete or not there, whatever interrupts the writing, and values that JSON can hold."""

import contextlib
import errno
import json
import math
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from chimeramix_jax.errors import InputError, StorageError
from chimeramix_jax.paths import leaving_no_empty_folders

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk is full, or a quota or a limit on files is reached
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.ESTALE)  # not to be written to, or out of reach
_OF_EMPTY_DISKS = "lost+found"
_MOST_LINKS = 40  # of links to links, as Linux has it


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file so that a reader, and a crash at any moment, meets the old content or the new one, never a part.

    Folders on the way are created. The content goes to a temporary file beside the target, reaches the disk, and then
    takes the target's name, and the permissions of a file that was there. Of a link, the file that it leads to is
    written. What is no file, such as a pipe, is written to as it is, and so is what the process has open already, such
    as ``/dev/stdout``, behind what is there; that a reader leaves is no error.

    Raises:
        StorageError: there is no room for it.
        OSError: the file cannot be written; as above, the old one is still there and nothing else is left behind.
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
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, content, 0o666 & ~_umask() if mode is None else stat.S_IMODE(mode))


def _descriptor(path: str | os.PathLike[str]) -> int | None:
    """The number under which this process has open what a path such as ``/dev/stdout`` leads to; None: nothing."""
    place = os.path.abspath(path)
    for _ in range(_MOST_LINKS):
        if named := re.fullmatch(r"/(?:dev|proc/self)/fd/(\d+)", place):
            return int(named[1])
        if not os.path.islink(place):
            break
        place = os.path.normpath(os.path.join(os.path.dirname(place), os.readlink(place)))
    return None


def refuse_closed_folder(path: Path, named_by: str) -> None:
    """Refuses, before there is something to lose, the path of a file in a folder that takes no new files.

    Raises:
        InputError: it does not.
    """
    if path.exists() and not path.is_file():
        return  # a pipe or a device, in whose place nothing is put
    target = Path(os.path.realpath(path))
    nearest = next(folder for folder in target.parents if os.path.lexists(folder))
    if not nearest.is_dir():
        raise InputError(f"{named_by}={path}: cannot be written, as {nearest} is no folder")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"{named_by}={path}: cannot be written, as nothing may be put into {nearest}")


def _replace(target: Path, content: bytes, mode: int) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)  # mkstemp makes files that only their owner may read
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Gives the ``with`` statement a folder to fill, which gets the target's name when all is in it.

    Until then it lies beside the target under another name, and goes away if it cannot be filled. Where the target is
    an empty folder, which may be a mount, a link to one or the current folder, it lies in there, and its content is
    moved up at the end.

    Raises:
        InputError: there is something at the target already that is no empty folder, or nothing can be made there.
    """
    there = os.path.lexists(target)
    with leaving_no_empty_folders(target.parent):
        try:
            if there and not (target.is_dir() and set(os.listdir(target)) <= {_OF_EMPTY_DISKS}):
                raise InputError(
                    f"{target}: is there already, and nothing is overwritten; name a new or an empty folder"
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            place = target if there else target.parent
            unfinished = Path(tempfile.mkdtemp(dir=place, prefix=f".{target.name or 'folder'}.", suffix=".part"))
        except OSError as error:
            raise InputError(f"{target}: cannot be made: {error.strerror}") from None
        try:
            yield unfinished
            if there:
                for part in sorted(unfinished.iterdir()):
                    part.rename(target / part.name)
            else:
                os.chmod(unfinished, 0o777 & ~_umask())  # mkdtemp makes folders that only their owner may enter
                unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


@contextlib.contextmanager
def room_for(path: Path, needed: int) -> Iterator[None]:
    """Turns the errors of a full disk into one that names the file and the bytes that it needs."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise storage_error(path, needed, error) from error


def reason_of_storage(error: BaseException, numbers: Sequence[int] = (*NO_ROOM, *CLOSED)) -> str | None:
    """The system's reason why something cannot be written, if that is what an error, or what led to it, tells.

    Libraries raise errors of their own kinds, with the system's words somewhere in a long text.
    """
    seen: BaseException | None = error
    while seen is not None:
        for number in numbers:
            if (isinstance(seen, OSError) and seen.errno == number) or os.strerror(number) in str(seen):
                return os.strerror(number)
        seen = seen.__cause__ or seen.__context__
    return None


def storage_error(path: Path, needed: int, error: Exception) -> StorageError:
    """Returns, for the caller to raise, the error for a file or folder that could not be written.

    Args:
        path: its name.
        needed: the bytes that it takes.
        error: what came of writing it, with a reason as ``reason_of_storage`` finds it.
    """
    reason = reason_of_storage(error, NO_ROOM)
    if reason is None:
        return StorageError(f"{path}: cannot be written: {reason_of_storage(error)}")
    room = next(parent for parent in Path(path).absolute().parents if parent.exists())
    free = shutil.disk_usage(room).free
    return StorageError(f"{path}: cannot be written: {reason} ({_size(needed)} needed, {_size(free)} free)")


def _size(count: int) -> str:
    """A number of bytes as people say it."""
    for unit, bytes_of_it in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= bytes_of_it:
            return f"{count / bytes_of_it:.1f} {unit}"
    return f"{count} bytes"


def _umask() -> int:
    mask = os.umask(0)  # there is no way to read it but to set it
    os.umask(mask)
    return mask


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a value as indented JSON, atomically as ``write_bytes`` does; see ``plain`` for what it may hold.

    Raises:
        TypeError: the value holds something that JSON has no form for.
        OSError: the file cannot be written.
    """
    write_bytes(path, (json.dumps(plain(value), indent=2, allow_nan=False) + "\n").encode())


def plain(value: Any) -> Any:
    """Returns the value in JSON's own types.

    Mappings and tuples become dicts and lists, paths become text, NumPy and JAX scalars and arrays become numbers and
    nested lists. Numbers that are not finite become None: JSON has no NaN, and many readers refuse a file with one.
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
