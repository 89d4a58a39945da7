"""Claims: which process works on a trial or a generator, if several on several machines share a search.

A claim is a lock (``runs/lock.py``) that is renewed from time to time. The operating system knows whether a process on
the same machine is alive. A process on another machine counts as lost if it has not renewed its claim for long.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import make_folder
from chimeramix_jax.runs import lock

SECONDS_BETWEEN_RENEWALS = 30.0
SECONDS_UNTIL_LOST = 600.0

_TAKING_OVER = "taking-over"  # the claim of the process that takes over another

_SECONDS_TO_WAIT = 60.0  # for what takes another process a moment


class Claims:
    """The claims of this process, in a folder that all processes of a search share."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._own: dict[str, contextlib.ExitStack] = {}
        self._renewed_at = time.monotonic()

    def take(self, name: str) -> bool:
        """Takes a claim, unless it is taken, and returns whether it did."""
        place, stack = self._folder / name, contextlib.ExitStack()
        if name in self._own:
            return False
        make_folder(place)
        try:
            stack.enter_context(lock.locked(place))
        except lock.InUseError:
            return False
        self._own[name] = stack
        return True

    def drop(self, name: str) -> None:
        """Gives a claim back; does nothing without it."""
        if (stack := self._own.pop(name, None)) is not None:
            stack.close()

    def holds(self, name: str) -> bool:
        """Whether this process has the claim."""
        return name in self._own

    @contextlib.contextmanager
    def briefly(self, name: str) -> Iterator[None]:
        """Holds a claim inside the ``with`` statement, and waits for it; raises InputError if that takes too long."""
        until = time.monotonic() + _SECONDS_TO_WAIT
        while not self.take(name):
            if time.monotonic() > until:
                raise InputError(f"{self._folder / name / lock.NAME}: held by another process for too long; remove it")
            time.sleep(0.05)
        try:
            yield
        finally:
            self.drop(name)

    def renew(self) -> None:
        """Shows that this process is alive; call it often, it seldom does anything."""
        if time.monotonic() - self._renewed_at < SECONDS_BETWEEN_RENEWALS:
            return
        self._renewed_at = time.monotonic()
        for name in self._own:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self._folder / name / lock.NAME)

    def is_lost(self, name: str) -> bool:
        """Whether a process on another machine has a claim that it has not renewed for long."""
        path = self._folder / name / lock.NAME
        return _host(path) not in (None, socket.gethostname()) and self._is_silent([path])

    def take_over(self, name: str, workdir: Path) -> bool:
        """Takes a claim that is lost, together with the lock of the run that was for it; returns whether it did.

        It does not while anything is still written into the run's directory, since the process of a search that is
        lost may go on.
        """
        claimed, running = (folder / lock.NAME for folder in (self._folder / name, workdir))
        if not self.is_lost(name):
            return False
        with self.briefly(_TAKING_OVER):
            host = _host(claimed)
            if not self.is_lost(name) or not self._is_silent(workdir.rglob("*")):  # another process may be faster
                return False
            if _host(running) == host:
                running.unlink(missing_ok=True)
            claimed.unlink(missing_ok=True)
            return self.take(name)

    def _is_silent(self, paths: Iterable[Path]) -> bool:
        """Whether nothing of this was changed for long."""
        try:
            os.utime(self._folder)  # compares times of the same clock, that of the file system
            now = self._folder.stat().st_mtime
            return all(now - path.stat().st_mtime > SECONDS_UNTIL_LOST for path in paths)
        except OSError:  # removed meanwhile
            return False


def _host(path: Path) -> str | None:
    """Returns the host that a lock names; None if it is dropped, or being written."""
    try:
        return str(json.loads(path.read_bytes())["host"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
