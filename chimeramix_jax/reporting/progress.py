"""Progress of a training stage: a bar on a terminal, occasional lines in a log file."""

import functools
import io
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TextIO, cast

from rich.cells import cell_len
from rich.console import Console, Group
from rich.file_proxy import FileProxy
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

SECONDS_BETWEEN_LINES = 4.0  # if the output is not a terminal, so that nobody takes a run for dead
SECONDS_OF_LONG_WORK = 10.0  # more than a few hundred photos and the compilation for them take

_REDRAWS_PER_SECOND = 4
_BAR_WIDTH = 10
_BETWEEN = 2  # spaces between the parts of a line
# The metrics of a stage that matter most to somebody who waits for it, in that order, and their names on a terminal.
_MATTERS = {
    "test_top1": "test accuracy",
    "validation_top1": "validation accuracy",
    "reconstruction": "reconstruction error",
    "accuracy": "training accuracy",
    "loss": "loss",
}


class StageProgress:
    """Shows the progress of a stage: steps, rate, remaining time and the latest metrics.

    On a terminal, this is a line that redraws itself, also before the first step, with as many metrics as fit.
    Elsewhere it prints lines such as ``generator: 1200/4000 steps (30%), 41.3 steps/s, 1m 08s left, loss 0.213``, at
    most one every ``SECONDS_BETWEEN_LINES`` seconds, one at the end, and one at the start where something has to be
    done before the first step. Use it in a ``with`` statement, or close it explicitly.
    """

    def __init__(
        self,
        title: str,
        total_steps: int,
        first_step: int = 0,
        unit: str = "step",
        stream: io.TextIOBase | None = None,
        clock: Callable[[], float] = time.monotonic,
        work: Callable[[int], float] = float,
        beforehand: str | None = None,
    ) -> None:
        """Starts the display on ``stream`` (None: standard error), of steps that are called ``unit`` in the singular.

        ``first_step`` were completed by an earlier, interrupted run and do not count towards the rate. ``work`` returns
        how much work a number of steps is, in any unit, for the remaining time if steps take unequal time.
        ``beforehand`` says what takes time before the first step, such as "compiling"; None: nothing does.
        """
        self._title, self._total, self._unit = title, total_steps, unit
        self._beforehand = beforehand
        self._stream = cast(io.TextIOBase, sys.stderr) if stream is None else stream
        self._clock, self._work = clock, work
        self._step = self._shown_step = first_step
        # Step and time of the first update; the time before it does not count towards the rate.
        self._timed_from: tuple[int, float] | None = None
        self._metrics: Mapping[str, str] = {}
        self._started_at = self._updated_at = self._shown_at = clock()
        self._screen = _screen(self._stream) if self._stream.isatty() else None
        if self._screen is not None:
            self._screen.open(self)
        elif beforehand is not None:
            print(f"{title}: {beforehand}", file=self._stream, flush=True)

    def update(self, step: int, **metrics: Any) -> None:
        """Reports that ``step`` steps are complete, counted from the start of the stage, and the latest metrics.

        Metrics are numbers, NumPy or JAX scalars (reading one waits for the device), or text; omitted ones stay.
        """
        self._updated_at = self._clock()
        if self._timed_from is None:
            self._timed_from = (step, self._updated_at)
        self._metrics = {**self._metrics, **{name: _short(value) for name, value in metrics.items()}}
        self._step = step
        if self._screen is None and self._updated_at - self._shown_at >= SECONDS_BETWEEN_LINES:
            self._show_line()

    def close(self) -> None:
        """Shows the final state and closes the display. Closing it again has no effect."""
        if self._screen is not None:
            self._screen.close(self)
        elif self._step != self._shown_step:
            self._show_line()

    def row(self, width: int) -> Table:
        """Returns the line for a terminal of ``width`` columns: what matters most, as far as it fits.

        The bar gives way to the most important metric, and the other metrics to the bar.
        """
        texts = [self._title]
        if self._timed_from is None:
            return _row([*texts, f"{self._beforehand or 'starting'}, {duration(self._clock() - self._started_at)}"])
        texts.append(f"{self._step / max(self._total, 1):4.0%}")
        if (left := self._seconds_left()) is not None:
            texts.append(f"{duration(left)} left" if self._step < self._total else f"in {duration(self._elapsed())}")
        most_important, others = (metrics := self._metrics_in_words())[:1], metrics[1:]
        texts += most_important
        bar_fits = _length([*texts, _BAR_WIDTH * " "]) <= width
        for text in others:
            if _length([*texts, text, *([_BAR_WIDTH * " "] if bar_fits else [])]) > width:
                break
            texts.append(text)
        cells: list[str | ProgressBar] = [*texts]
        if bar_fits:
            cells.insert(1, ProgressBar(max(self._total, 1), self._step, width=_BAR_WIDTH))
        return _row(cells)

    def __enter__(self) -> "StageProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _show_line(self) -> None:
        self._shown_at, self._shown_step = self._updated_at, self._step
        parts = [f"{self._title}: {self._step}/{self._total} {self._unit}s ({self._step / max(self._total, 1):.0%})"]
        if rate := self._rate(float):
            parts.append(f"{_short(rate)} {self._unit}s/s")
            if self._step < self._total and (left := self._seconds_left()) is not None:
                parts.append(f"{duration(left)} left")
        parts += [f"{name} {value}" for name, value in self._metrics.items()]
        print(", ".join(parts), file=self._stream, flush=True)

    def _metrics_in_words(self) -> list[str]:
        """Returns the metrics with their names on a terminal, the most important first."""
        known = [name for name in _MATTERS if name in self._metrics]
        others = [name for name in self._metrics if name not in _MATTERS]
        return [f"{_MATTERS.get(name, name)} {_as_percentage(name, self._metrics[name])}" for name in known + others]

    def _elapsed(self) -> float:
        return self._updated_at - self._started_at

    def _seconds_left(self) -> float | None:
        """Returns the remaining time, assuming that it is proportional to the work; None before a second update."""
        rate = self._rate(self._work)
        return (self._work(self._total) - self._work(self._step)) / rate if rate else None

    def _rate(self, work: Callable[[int], float]) -> float:
        """Returns the work per second since the first update; 0 if there has been no second update."""
        if self._timed_from is None or self._step == self._timed_from[0]:
            return 0.0
        step, moment = self._timed_from
        return (work(self._step) - work(step)) / max(self._updated_at - moment, 1e-9)


class ProgressOfLongWork:
    """Shows the progress of work once it has taken ``SECONDS_OF_LONG_WORK`` seconds; quicker work shows nothing.

    Use it in a ``with`` statement.
    """

    def __init__(
        self,
        title: str,
        total_steps: int,
        unit: str,
        stream: io.TextIOBase | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepares the display; the arguments are those of ``StageProgress``."""
        self._title, self._total, self._unit, self._stream, self._clock = title, total_steps, unit, stream, clock
        self._first_update: float | None = None
        self._shown: StageProgress | None = None

    def update(self, step: int) -> None:
        """Reports that ``step`` steps are complete; the time counts from the first report."""
        now = self._clock()
        self._first_update = now if self._first_update is None else self._first_update
        if self._shown is None and now - self._first_update >= SECONDS_OF_LONG_WORK and step < self._total:
            self._shown = StageProgress(self._title, self._total, step, self._unit, self._stream, self._clock)
        if self._shown is not None:
            self._shown.update(step)

    def __enter__(self) -> "ProgressOfLongWork":
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown is not None:
            self._shown.close()


class _Screen:
    """The rows of all open displays on a terminal. A display that is closed leaves its last row above the others.

    Text that is printed in the meantime also appears above the rows.
    """

    def __init__(self, stream: io.TextIOBase):
        self._console = Console(file=cast(TextIO, stream), highlight=False, markup=False, emoji=False)
        self._open: tuple[StageProgress, ...] = ()
        self._live: Live | None = None

    def open(self, display: StageProgress) -> None:
        self._open += (display,)
        if self._live is None:
            self._live = Live(
                console=self._console,
                get_renderable=self._rows,
                refresh_per_second=_REDRAWS_PER_SECOND,
                transient=True,
            )
            self._live.start()
            self._console.show_cursor(True)  # a process that is killed could not show it again

    def close(self, display: StageProgress) -> None:
        if display not in self._open:
            return
        self._open = tuple(other for other in self._open if other is not display)
        if not self._open and self._live is not None:
            self._live.stop()
            self._live = None
        self._console.print(display.row(self._console.width))

    def _rows(self) -> Group:
        return Group(*(display.row(self._console.width) for display in self._open))


@functools.cache
def _screen_on(stream: io.TextIOBase) -> _Screen:
    return _Screen(stream)


def _screen(stream: io.TextIOBase) -> _Screen:
    """Returns the screen of a terminal, also if a screen has redirected it to print above its rows."""
    return _screen_on(cast(io.TextIOBase, stream.rich_proxied_file) if isinstance(stream, FileProxy) else stream)


def _length(texts: list[str]) -> int:
    return cell_len((_BETWEEN * " ").join(texts))


def _row(cells: Sequence[str | ProgressBar]) -> Table:
    row = Table.grid(padding=(0, _BETWEEN, 0, 0))
    for _ in cells:
        row.add_column(no_wrap=True, overflow="ellipsis")
    row.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))
    return row


def _short(value: Any) -> str:
    return value if isinstance(value, str) else f"{float(value):.3g}"


def _as_percentage(name: str, value: str) -> str:
    return f"{float(value):.1%}" if name == "accuracy" or name.endswith("top1") else value


def duration(seconds: float) -> str:
    """Formats a duration for people: ``8s``, ``1m 08s``, ``2h 05m``."""
    if not math.isfinite(seconds):
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"
