"""Claims: which process works on a trial or a generator, if several on several machines share a search.

A claim is a lock (``runs/lock.py``) that is renewed from time to time. The operating system knows whether a process on
the same machine is alive. A process on another machine counts as lost if it has not renewed its claim for long.
"""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import lock

SECONDS_BETWEEN_RENEWALS = 30.0
SECONDS_UNTIL_LOST = 600.0

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
        place.mkdir(parents=True, exist_ok=True)
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
        try:
            host = json.loads(path.read_bytes())["host"]
            os.utime(self._folder)  # compares times of the same clock, that of the file system
            silent = self._folder.stat().st_mtime - path.stat().st_mtime
        except (OSError, ValueError, KeyError, TypeError):  # dropped meanwhile, or being written
            return False
        return host != socket.gethostname() and silent > SECONDS_UNTIL_LOST
