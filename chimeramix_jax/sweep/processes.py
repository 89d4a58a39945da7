"""A run as a process: what it says goes to ``log.txt`` in its directory, and why it failed to ``error.txt``."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from chimeramix_jax import files
from chimeramix_jax.runtime import stopping
from chimeramix_jax.sweep import program
from chimeramix_jax.sweep.finished import is_finished

LOG, ERROR = "log.txt", "error.txt"  # in a run's directory; the log is of all attempts, the error of the last one

_LINES_OF_ERROR = 30
_BYTES_READ = 65_536  # of the end of a log

# A run that was asked to stop has not failed. The negative ones are of a process that did not listen yet.
STOPPED = (*{stopping.exit_code(number) for number in stopping.SIGNALS}, *(-number for number in stopping.SIGNALS))


@dataclass(frozen=True)
class Task:
    """What one process has to do: the program's arguments, the directories of the runs that it works on, the stage."""

    arguments: tuple[str, ...]
    workdirs: tuple[Path, ...]
    stage: str


@contextlib.contextmanager
def _confined(cpus: Collection[int] | None) -> Iterator[None]:
    """Confines this thread to some CPUs (None: not at all), so that a process it starts is so from the beginning."""
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class RunProcess:
    """A task in progress."""

    def __init__(self, task: Task, environment: Mapping[str, str], cpus: Collection[int] | None = None):
        """Starts it, on these CPUs only (None: all), and in a process group of its own: signals come from us alone."""
        self.started_at = time.monotonic()
        self._task = task
        for workdir in task.workdirs:
            workdir.mkdir(parents=True, exist_ok=True)
            (workdir / ERROR).unlink(missing_ok=True)
        self._log, *self._copies = (workdir / LOG for workdir in task.workdirs)
        with open(self._log, "ab") as log, _confined(cpus):
            self._log_start = log.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(
                program.command(task.arguments),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                process_group=0,
            )

    @property
    def seconds(self) -> float:
        """Since its start."""
        return time.monotonic() - self.started_at

    def poll(self) -> int | None:
        """Its exit code; None while it runs.

        Once it has ended, all its runs' ``log.txt`` have what it said and, if it failed, unfinished ones ``error.txt``.
        """
        code = self._process.poll()
        if code is not None:
            self._copy_log()
        if code is not None and code != 0 and code not in STOPPED:
            self._write_error(code)
        return code

    def wait(self, seconds: float = float("inf")) -> int | None:
        """Waits for its end, not longer than this; returns what ``poll`` does.

        Serves within a signal handler that interrupts another call of it, as ``subprocess``'s own does not.
        """
        until = time.monotonic() + seconds
        while (code := self.poll()) is None and time.monotonic() < until:
            time.sleep(0.1)
        return code

    def ask_to_stop(self) -> None:
        """Has it write a checkpoint and end; asked twice, it ends at once."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def last_line(self) -> str:
        """The newest line of its log; empty where it has said nothing."""
        return next(reversed(self._said()), "")

    def _write_error(self, code: int) -> None:
        lines = self._said()[-_LINES_OF_ERROR:]
        if code < 0:
            lines.append(f"ended by {signal.Signals(-code).name}")
        for workdir in self._task.workdirs:
            if not is_finished(workdir, self._task.stage):
                files.write_bytes(workdir / ERROR, ("\n".join(lines or [f"exit code {code}"]) + "\n").encode())

    def _copy_log(self) -> None:
        """Adds what this attempt has said, once, to the logs of the runs whose process wrote it to the first one's."""
        copies, self._copies = self._copies, []
        for copy in copies:
            with open(self._log, "rb") as log, open(copy, "ab") as other:
                log.seek(self._log_start)
                shutil.copyfileobj(log, other)

    def _said(self) -> list[str]:
        """The end of what this attempt has said, without empty lines."""
        with open(self._log, "rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - _BYTES_READ))
            return [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]


def last_error(workdir: Path) -> str | None:
    """The last line of why a run failed; None if it has not."""
    try:
        lines = (workdir / ERROR).read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return None
    return next((line.strip() for line in reversed(lines) if line.strip()), "unknown")
