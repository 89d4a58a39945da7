"""Progress of a training stage: a bar on a terminal, occasional lines in a log file."""

import io
import math
import sys
import time
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

# The bar has a fixed width, so that a narrow terminal cuts off the metrics at the end instead.
BAR = "{desc}: {percentage:3.0f}% |{bar:10}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"

SECONDS_BETWEEN_LINES = 10.0  # if the output is not a terminal: often enough to show activity, rarely enough for a log


class StageProgress:
    """Shows the progress of a stage: steps, rate, remaining time and the latest metrics.

    On a terminal, this is a bar that redraws itself. Elsewhere it prints lines such as
    ``generator: 1200/4000 steps (30%), 41.3 steps/s, 1m 08s left, loss 0.213``, at most one every
    ``SECONDS_BETWEEN_LINES`` seconds and one at the end. Use it in a ``with`` statement, or close it explicitly.
    """

    def __init__(
        self,
        title: str,
        total_steps: int,
        first_step: int = 0,
        unit: str = "step",
        stream: io.TextIOBase | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts the display on ``stream`` (None: standard error), of steps that are called ``unit`` in the singular.

        ``first_step`` were completed by an earlier, interrupted run and do not count towards the rate.
        """
        self._title, self._total, self._unit = title, total_steps, unit
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._step = self._shown_step = first_step
        # Step and time of the first update; the time before it is spent compiling.
        self._timed_from: tuple[int, float] | None = None
        self._metrics: dict[str, Any] = {}
        self._shown_at = clock()
        self._bar: tqdm[Any] | None = None
        if self._stream.isatty():
            self._bar = tqdm(
                desc=title,
                total=total_steps,
                initial=first_step,
                unit=unit,
                file=self._stream,
                dynamic_ncols=True,
                bar_format=BAR,
            )

    def update(self, step: int, **metrics: Any) -> None:
        """Reports that ``step`` steps are complete, counted from the start of the stage, and the latest metrics.

        Metrics are numbers, NumPy or JAX scalars (reading one waits for the device), or text; omitted ones stay.
        """
        if self._timed_from is None:
            self._timed_from = (step, self._clock())
        self._metrics.update({name: _short(value) for name, value in metrics.items()})
        done, self._step = step - self._step, step
        if self._bar is not None:
            self._bar.set_postfix(self._metrics, refresh=False)
            self._bar.update(done)
        elif self._clock() - self._shown_at >= SECONDS_BETWEEN_LINES:
            self._show_line()

    def close(self) -> None:
        """Shows the final state and closes the display. Closing it again has no effect."""
        if self._bar is not None:
            self._bar.close()
        elif self._step != self._shown_step:
            self._show_line()

    def __enter__(self) -> "StageProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _show_line(self) -> None:
        self._shown_at, self._shown_step = self._clock(), self._step
        parts = [f"{self._title}: {self._step}/{self._total} {self._unit}s ({self._step / max(self._total, 1):.0%})"]
        if rate := self._rate():
            parts.append(f"{_short(rate)} {self._unit}s/s")
            if self._step < self._total:
                parts.append(f"{duration((self._total - self._step) / rate)} left")
        parts += [f"{name} {value}" for name, value in self._metrics.items()]
        print(", ".join(parts), file=self._stream, flush=True)

    def _rate(self) -> float:
        """Returns steps per second since the first update; 0 if there has been no second update."""
        if self._timed_from is None or self._step == self._timed_from[0]:
            return 0.0
        step, moment = self._timed_from
        return (self._step - step) / max(self._shown_at - moment, 1e-9)


def _short(value: Any) -> str:
    return value if isinstance(value, str) else f"{float(value):.3g}"


def duration(seconds: float) -> str:
    """Formats a duration for people: ``8s``, ``1m 08s``, ``2h 05m``."""
    if not math.isfinite(seconds):
        return "unknown"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"
