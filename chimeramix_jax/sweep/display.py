"""What a sweep on this machine shows: a table of the running jobs on a terminal, and a line per job that has ended."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from chimeramix_jax.reporting.progress import duration


@dataclass(frozen=True)
class Running:
    """A job at work: its name, for how many seconds, and what it last said."""

    name: str
    seconds: float
    says: str


class Display:
    """Lines on standard error and, on a terminal, a table that redraws itself below them."""

    def __init__(self) -> None:
        """Shows nothing yet."""
        self._console = Console(file=sys.stderr, highlight=False, markup=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    def say(self, text: str) -> None:
        """Prints a line, which stays."""
        self._console.print(text, soft_wrap=True)

    def show(self, running: Sequence[Running], title: str) -> None:
        """Redraws the table; does nothing where there is no terminal."""
        if not self._console.is_terminal:
            return
        table = Table(title=title, title_justify="left")
        table.add_column("running", no_wrap=True)
        table.add_column("for", justify="right", no_wrap=True)
        table.add_column("says", no_wrap=True, overflow="ellipsis")
        for job in running:
            table.add_row(job.name, duration(job.seconds), job.says)
        self._live.update(table, refresh=True)

    def __enter__(self) -> Self:
        """Begins to draw."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Takes the table away; the lines stay."""
        self._live.stop()
