"""Leases: which attempt may work in a run's directory, if another machine may carry out a task again.

A cluster repeats a task whose machine seems lost. That machine may be dead, or only cut off, with the run still going.
Each attempt writes itself into the lease of its run, which it reads again all the time: as soon as another attempt is
named there, it kills its process. So an attempt that has taken the lease, and has waited for the earlier one to notice,
may remove the lock that a run on a lost machine left behind (``runs/lock.py`` cannot check those of other machines).
"""

import contextlib
import json
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from chimeramix_jax import files
from chimeramix_jax.runs import lock

SECONDS_BETWEEN_CHECKS = 1.0

# An attempt on another machine notices within this time that it has lost the lease, or is dead. It is long because
# machines may see changes of a shared file system late.
SECONDS_TO_NOTICE = 30.0

_SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class Holder:
    """The attempt that holds a lease."""

    submission: str  # of the task, by which the command that submitted it recognizes its attempts
    attempt: str  # unique
    has_started: bool  # whether this attempt has started a process
    host: str  # of the last process that an attempt has started
    process: int | None  # its number; None if there has been none


def holder(path: Path) -> Holder | None:
    """Returns the holder of a lease; None if there is none, or the file cannot be read."""
    try:
        return Holder(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


class Lease:
    """The lease of a run, as one attempt sees it."""

    def __init__(self, path: Path, workdir: Path, submission: str):
        self._path, self._lock = path, workdir / lock.NAME
        self._submission, self._attempt = submission, secrets.token_hex(8)
        self._host = socket.gethostname()
        self._checked_at = time.monotonic()

    def take(self, is_stopped: Callable[[], bool]) -> None:
        """Takes the lease, and waits until no earlier attempt is in the run's directory, or ``is_stopped``.

        The lock of a process that no earlier attempt started is left as it is, and the run refuses to start.
        """
        earlier = holder(self._path)
        host, process = (self._host, None) if earlier is None else (earlier.host, earlier.process)
        self._write(Holder(self._submission, self._attempt, has_started=False, host=host, process=process))
        until = time.monotonic() + SECONDS_TO_NOTICE
        while self._is_locked_by(host, process) and not is_stopped():
            if time.monotonic() >= until:
                if host != self._host:
                    self._lock.unlink(missing_ok=True)
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def started(self, process: int) -> None:
        """Records the process of the run."""
        self._write(Holder(self._submission, self._attempt, has_started=True, host=self._host, process=process))

    def is_lost(self) -> bool:
        """Whether another attempt has taken the lease; call it often, it seldom does anything."""
        if time.monotonic() - self._checked_at < SECONDS_BETWEEN_CHECKS:
            return False
        self._checked_at = time.monotonic()
        current = holder(self._path)
        return current is not None and current.attempt != self._attempt

    def _write(self, content: Holder) -> None:
        files.write_json(self._path, asdict(content))

    def _is_locked_by(self, host: str, process: int | None) -> bool:
        """Whether the run's lock is that of an earlier attempt's process, which may still be running."""
        try:
            owner = json.loads(self._lock.read_bytes())
        except (OSError, ValueError):
            return False
        if process is None or owner != {"host": host, "process": process}:
            return False
        return host != self._host or _is_running(process)


def _is_running(process: int) -> bool:
    """Whether there is a process with this number on this machine."""
    with contextlib.suppress(PermissionError):  # that of another user
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
    return True
