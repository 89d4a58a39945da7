"""One run at a time in a directory: a lock that the operating system lets go when its process ends, however it ends."""

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime import stopping

NAME = "lock.json"


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keeps other runs out of a directory inside the ``with`` statement.

    The lock is a file that says whose it is. On one machine the system knows whether its owner still lives, so that the
    file of a process that was killed is no hindrance.

    Raises:
        InputError: another process has it, or a process of another machine, of which nothing can be known, left it.
    """
    path = directory / NAME
    descriptor = _acquire(path)
    try:
        _refuse_another_host(path, descriptor)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"host": socket.gethostname(), "process": os.getpid()}).encode(), 0)
        with stopping.before_ending(lambda: path.unlink(missing_ok=True)):
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def _acquire(path: Path) -> int:
    """Opens and locks the file."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except FileNotFoundError:  # its owner has just ended and removed it
            pass
        except BlockingIOError:
            owner = _owner(descriptor)
            os.close(descriptor)
            raise InputError(
                f"--workdir={path.parent}: in use by process {owner.get('process', '?')} on host "
                f"{owner.get('host', '?')}; wait for it, stop it, or choose another with --workdir"
            ) from None
        except OSError as error:
            os.close(descriptor)
            raise InputError(f"{path}: cannot be locked: {error.strerror}; choose another --workdir") from None
        os.close(descriptor)


def _refuse_another_host(path: Path, descriptor: int) -> None:
    """Refuses a lock that was left by another machine: its process may be alive, and file systems differ in telling."""
    owner = _owner(descriptor)
    if owner.get("host", socket.gethostname()) != socket.gethostname():
        raise InputError(
            f"--workdir={path.parent}: in use by process {owner.get('process', '?')} on host {owner['host']}, which "
            f"cannot be asked from here whether it still runs; if it does not, remove {path}"
        )


def _owner(descriptor: int) -> dict[str, object]:
    """What the file says; nothing where its owner has not written it yet, or was killed while it did."""
    try:
        owner = json.loads(os.pread(descriptor, 4096, 0))
    except ValueError:
        return {}
    return owner if isinstance(owner, dict) else {}
