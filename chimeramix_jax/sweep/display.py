"""The display of a local sweep: a table of running jobs on a terminal, and a line for each job that has ended."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from chimeramix_jax.reporting.progress import duration


@dataclass(frozen=True)
class Running:
    """A running job: its name, its age in seconds, and the last line of its output."""

    name: str
    seconds: float
    last_line: str


class Display:
    """Prints lines to standard error and, on a terminal, keeps a table of running jobs below them."""

    def __init__(self) -> None:
        """Creates the display; nothing is shown yet."""
        self._console = Console(file=sys.stderr, highlight=False, markup=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def print(self, text: str) -> None:
        """Prints a permanent line."""
        self._console.print(text, soft_wrap=True)

    def show(self, running: Sequence[Running], title: str) -> None:
        """Redraws the table; does nothing without a terminal."""
        if not self._console.is_terminal:
            return
        table = Table(title=title, title_justify="left")
        table.add_column("running", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("output", no_wrap=True, overflow="ellipsis")
        for job in running:
            table.add_row(job.name, duration(job.seconds), job.last_line)
        self._live.update(table, refresh=True)

    def __enter__(self) -> "Display":
        """Starts the live table if there is a terminal."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Removes the table; printed lines remain."""
        self._live.stop()
