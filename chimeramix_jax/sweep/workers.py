"""What a launcher provides: workers, each of which carries out one task at a time, on this machine or on another."""

from pathlib import Path
from typing import Protocol, runtime_checkable

from chimeramix_jax.sweep.processes import Task


@runtime_checkable
class RunningTask(Protocol):
    """A task in progress."""

    @property
    def has_started(self) -> bool:
        """Whether its process has started; until then it waits for a machine."""

    @property
    def seconds(self) -> float:
        """Seconds since its process started."""

    def poll(self) -> int | None:
        """Returns the exit code of its process; None until it has ended and its files can be read here."""

    def ask_to_stop(self) -> None:
        """Asks its process to write a checkpoint and exit; a second request makes it exit at once."""

    def last_line(self) -> str:
        """Returns the last line that its process printed."""


@runtime_checkable
class Worker(Protocol):
    """Carries out one task at a time."""

    def is_free(self, folder: Path) -> bool:
        """Whether a task can start in a run's directory, as no process of an earlier command is still in it."""

    def start(self, task: Task) -> RunningTask:
        """Starts a task."""
