"""Locks a run's directory; the operating system releases the lock when the process ends, however it ends."""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime import stopping

NAME = "lock.json"


class InUseError(InputError):
    """Another process is in the directory, or may be."""


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps other runs out of a directory inside the ``with`` statement; raises InUseError if another process is in it.

    The lock is a file that names its owner. On the same machine, the system knows whether the owner is still running,
    so the file left by a killed process does no harm.
    """
    path = directory / NAME
    descriptor = _acquire(path)
    try:
        _refuse_owner_elsewhere(path, _owner(descriptor))
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode(), 0)
        with stopping.before_ending(lambda: _release(path, descriptor)):
            try:
                yield
            finally:
                _release(path, descriptor)
    finally:
        os.close(descriptor)


def _release(path: Path, descriptor: int) -> None:
    """Removes the file, unless it is another's by now, since this process was taken for lost."""
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(descriptor), os.stat(path)):
            path.unlink()


def _acquire(path: Path) -> int:
    """Opens and locks the file; returns its descriptor."""
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:  # a folder, or the file of another user
            if error.errno in files.NO_ROOM:
                raise
            raise InputError(f"{path}: cannot be locked: {error.strerror}; choose another --workdir") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:  # its owner has just removed it and ended
            pass
        except BlockingIOError:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise _in_use(path, owner) from None
        except OSError as error:
            os.close(descriptor)
            raise InputError(f"{path}: cannot be locked: {error.strerror}; choose another --workdir") from None
        os.close(descriptor)


def refuse_another_host(directory: Path) -> None:
    """Raises InUseError if a directory has a lock from another machine."""
    _refuse_owner_elsewhere(directory / NAME, _owner_in(directory))


def in_use(directory: Path) -> str:
    """Returns in words which process a directory is in use by, and what can be done if it is on another machine."""
    try:
        refuse_another_host(directory)
    except InUseError as error:
        return str(error)
    return str(_in_use(directory / NAME, _owner_in(directory)))


def _owner_in(directory: Path) -> Mapping[str, object]:
    """Returns the owner that a directory's lock names; nothing if it is released."""
    try:
        descriptor = os.open(directory / NAME, os.O_RDONLY)
    except OSError:
        return {}
    try:
        return _owner(descriptor)
    finally:
        os.close(descriptor)


def _in_use(path: Path, owner: Mapping[str, object]) -> InUseError:
    return InUseError(
        f"--workdir={path.parent}: in use by process {owner.get('process', '?')} on host {owner.get('host', '?')}; "
        "wait for it, stop it, or choose another with --workdir"
    )


def _refuse_owner_elsewhere(path: Path, owner: Mapping[str, object]) -> None:
    """Refuses a lock from another machine: its owner may be running, and not every shared file system shows it."""
    if owner.get("host", socket.gethostname()) != socket.gethostname():
        raise InUseError(
            f"--workdir={path.parent}: in use by process {owner.get('process', '?')} on host {owner['host']}, which "
            f"cannot be checked from here; if it is no longer running, remove {path}"
        )


def _owner(descriptor: int) -> dict[str, object]:
    """Returns the owner that the file names; nothing if it has not been written yet, or not completely."""
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}
