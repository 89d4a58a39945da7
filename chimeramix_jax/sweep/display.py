"""The display of a sweep: a table of running jobs on a terminal, and a line for each job that has ended."""

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.live import Live
from rich.table import Table

from chimeramix_jax.reporting.progress import duration


class Display:
    """Prints lines to standard error and, on a terminal, keeps a table of running jobs below them."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stderr, highlight=False, markup=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)

    @property
    def is_live(self) -> bool:
        """Whether there is a terminal, on which the table can be shown."""
        return self._console.is_terminal

    def print(self, text: str) -> None:
        """Prints a permanent line."""
        self._console.print(text, soft_wrap=True)

    def show(self, running: Iterable[tuple[str, float, str]], title: str) -> None:
        """Redraws the table of name, seconds and last line of each running job; does nothing without a terminal."""
        if not self.is_live:
            return
        table = Table(title=title, title_justify="left")
        table.add_column("running", no_wrap=True)
        table.add_column("time", justify="right", no_wrap=True)
        table.add_column("output", no_wrap=True, overflow="ellipsis")
        for name, seconds, last_line in running:
            table.add_row(name, duration(seconds), last_line)
        self._live.update(table, refresh=True)

    def __enter__(self) -> "Display":
        if self.is_live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()
