"""Files that are either complete or not there, whatever interrupts the writing, and values that JSON can hold."""

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes a file so that a reader, and a crash at any moment, meets the old content or the new one, never a part.

    Folders on the way are created. The content goes to a temporary file beside the target, reaches the disk, and then
    takes the target's name.

    Raises:
        OSError: the file cannot be written; the old one is still there and nothing else is left behind.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
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
