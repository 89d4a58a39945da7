"""Files that are either complete or not there, whatever interrupts the writing, and values that JSON can hold."""

import contextlib
import errno
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chimeramix_jax.errors import InputError, StorageError

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk is full, or a quota or a limit on files is reached


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file so that a reader, and a crash at any moment, meets the old content or the new one, never a part.

    Folders on the way are created. The content goes to a temporary file beside the target, reaches the disk, and then
    takes the target's name.

    Raises:
        StorageError: there is no room for it.
        OSError: the file cannot be written; as above, the old one is still there and nothing else is left behind.
    """
    target = Path(path)
    with room_for(target, len(content)):
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, content)


def _replace(target: Path, content: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp makes files that only their owner may read
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Gives the ``with`` statement a folder to fill, which gets the target's name when all is in it.

    Until then it lies beside the target under another name, and goes away if it cannot be filled.

    Raises:
        InputError: there is something at the target already that is no empty folder, or nothing can be made there.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise InputError(f"{target}: is there already, and nothing is overwritten; name a new or an empty folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part"))
    except OSError as error:
        raise InputError(f"{target}: cannot be made: {error.strerror}") from None
    try:
        yield unfinished
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


def storage_error(path: Path, needed: int, error: Exception) -> StorageError:
    """Returns, for the caller to raise, the error for a file or folder that could not be written.

    Args:
        path: its name.
        needed: the bytes that it takes.
        error: what came of writing it. Libraries put the system's reason somewhere into a long text of their own.
    """
    reasons = [os.strerror(number) for number in NO_ROOM if os.strerror(number) in str(error)]
    reason = reasons[0] if reasons else f"{type(error).__name__}: {error}"
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
