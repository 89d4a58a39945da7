"""Starts runs as processes; their output goes to ``log.txt`` and the reason of a failure to ``error.txt``."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chimeramix_jax import files
from chimeramix_jax.config import shipped
from chimeramix_jax.paths import make_folder
from chimeramix_jax.runtime import stopping
from chimeramix_jax.sweep.finished import is_finished

LOG, ERROR = "log.txt", "error.txt"  # in a run's directory; the log covers all attempts, the error only the last

_LINES_OF_ERROR = 30
_BYTES_READ = 65_536  # from the end of a log

# Replaces itself by a program that the kernel kills when the thread that started it ends, however that ends.
_ENDING_WITH_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL):
    sys.exit(os.strerror(ctypes.get_errno()))
if os.getppid() != int(sys.argv[1]):  # the parent has ended already
    os.kill(os.getpid(), signal.SIGKILL)
os.execv(sys.argv[2], sys.argv[2:])
"""

# The exit codes of runs that were asked to stop, which is not a failure. A process that does not handle signals yet has
# the negative ones.
STOPPED = (*{stopping.exit_code(number) for number in stopping.SIGNALS}, *(-number for number in stopping.SIGNALS))


@dataclass(frozen=True)
class Task:
    """The work of a process: the arguments of the program, the directories of its runs, and the stage."""

    arguments: tuple[str, ...]
    workdirs: tuple[Path, ...]
    stage: str
    with_baseline: bool = False  # whether the runs also train a baseline to compare with

    @property
    def unfinished(self) -> list[Path]:
        """The directories of the runs that have not finished the stage."""
        return [
            workdir
            for workdir in self.workdirs
            if not is_finished(workdir, self.stage, with_baseline=self.with_baseline)
        ]


def command(arguments: Sequence[str]) -> list[str]:
    """Returns the command line of a run, in a checkout or not."""
    main = shipped.folder().parent / "main.py"
    return [sys.executable, *([str(main)] if main.exists() else ["-m", "chimeramix_jax"]), *arguments]


@contextlib.contextmanager
def _restricted(cpus: Collection[int] | None) -> Iterator[None]:
    """Restricts this thread to some CPUs (None: all), which a process started meanwhile inherits."""
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

    has_started = True  # a task that another machine carries out may have to wait

    def __init__(
        self,
        task: Task,
        environment: Mapping[str, str],
        cpus: Collection[int] | None = None,
        *,
        ends_with_parent: bool = False,
    ):
        """Starts the task, restricted to these CPUs (None: all).

        It has its own process group, so that it receives signals only from this object, and not from the terminal.
        With ``ends_with_parent``, it is killed when the thread that calls this ends.
        """
        self.started_at = time.monotonic()
        self._task = task
        for workdir in task.workdirs:
            make_folder(workdir)
            (workdir / ERROR).unlink(missing_ok=True)
        self._log, *self._copies = (workdir / LOG for workdir in task.workdirs)
        self._has_ended = False
        program = command(task.arguments)
        if ends_with_parent:
            program = [sys.executable, "-ISc", _ENDING_WITH_PARENT, str(os.getpid()), *program]
        with open(self._log, "ab") as log, _restricted(cpus):
            self._log_start = log.seek(0, os.SEEK_END)
            self._process = subprocess.Popen(
                program,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                process_group=0,
            )

    @property
    def number(self) -> int:
        """The number of the process."""
        return self._process.pid

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started_at

    def poll(self) -> int | None:
        """Returns the exit code; None while the process is running.

        After its end, ``log.txt`` of all its runs has its output and, after a failure, unfinished runs have
        ``error.txt``. That these cannot be written is raised only once.
        """
        code = self._process.poll()
        if code is not None and not self._has_ended:
            self._has_ended = True
            self._copy_log()
            if code != 0 and code not in STOPPED:
                self._write_error(code)
        return code

    def wait(self, seconds: float = float("inf")) -> int | None:
        """Waits for the end of the process, but at most this long; returns the result of ``poll``.

        Unlike the method of ``subprocess``, this also works in a signal handler that interrupts another call of it.
        """
        until = time.monotonic() + seconds
        while (code := self.poll()) is None and time.monotonic() < until:
            time.sleep(0.1)
        return code

    def ask_to_stop(self) -> None:
        """Asks the process to write a checkpoint and exit; a second request makes it exit at once."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kills the process, and leaves no error."""
        self._process.kill()
        self._process.wait()

    def last_line(self) -> str:
        """Returns the last line of its output; empty without output."""
        return next(reversed(self._output()), "")

    def _write_error(self, code: int) -> None:
        lines = self._output()[-_LINES_OF_ERROR:]
        if code < 0:
            lines.append(f"ended by {signal.Signals(-code).name}")
        write_error(self._task, lines or [f"exit code {code}"])

    def _copy_log(self) -> None:
        """Copies the output of this attempt, which is in the log of the first run, to those of the other runs."""
        for copy in self._copies:
            with open(self._log, "rb") as log, open(copy, "ab") as other:
                log.seek(self._log_start)
                shutil.copyfileobj(log, other)

    def _output(self) -> list[str]:
        """Returns the last lines of output of this attempt, without empty lines."""
        return last_lines(self._log, self._log_start)


def last_lines(log: Path, start: int = 0) -> list[str]:
    """Returns the last lines of a log, as far as they are behind its first ``start`` bytes, without empty lines."""
    with open(log, "rb") as stream:
        stream.seek(max(start, stream.seek(0, os.SEEK_END) - _BYTES_READ))
        return [line for line in stream.read().decode(errors="replace").splitlines() if line.strip()]


def write_error(task: Task, lines: Sequence[str]) -> None:
    """Writes why a task failed into the directories of its unfinished runs; of all, if none is unfinished."""
    for workdir in task.unfinished or task.workdirs:
        files.write_text(workdir / ERROR, "\n".join(lines) + "\n")


def last_error(workdir: Path) -> str | None:
    """Returns the last line of a run's error; None if it has not failed."""
    try:
        lines = (workdir / ERROR).read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return None
    return next((line.strip() for line in reversed(lines) if line.strip()), "unknown")
