"""One progress display for several seeds that train together: their mean step and mean metrics."""

from collections.abc import Callable
from typing import Any

from chimeramix_jax.reporting.progress import StageProgress


class SharedProgress:
    """Progress displays shared by several seeds, one display per stage."""

    def __init__(self) -> None:
        self._stages: dict[str, _Stage] = {}

    def part(
        self, title: str, total_steps: int, first_step: int, work: Callable[[int], float] = float
    ) -> "PartialProgress":
        """Returns one seed's part of the display for the stage with this title; use it like a ``StageProgress``.

        ``work`` is that of a ``StageProgress``, and equal for all seeds.
        """
        stage = self._stages.get(title)
        if stage is None or stage.closed:
            stage = self._stages[title] = _Stage(title, total_steps, work)
        return PartialProgress(stage, first_step)


class PartialProgress:
    """One seed's share in the display of a stage."""

    def __init__(self, stage: "_Stage", first_step: int):
        self.step = first_step
        self.metrics: dict[str, float] = {}
        self.open = True
        self._stage = stage
        stage.parts.append(self)

    def update(self, step: int, **metrics: Any) -> None:
        """Reports that ``step`` steps are complete, with the latest metrics (numbers)."""
        self.step = step
        self.metrics |= {name: float(value) for name, value in metrics.items()}
        self._stage.show()

    def close(self) -> None:
        """Ends the reports of this seed. The display closes when its last part does."""
        self.open = False
        self._stage.close_after_last_part()

    def __enter__(self) -> "PartialProgress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Stage:
    """The parts of a stage and its display, which is opened together with the first part."""

    def __init__(self, title: str, total_steps: int, work: Callable[[int], float]):
        self.parts: list[PartialProgress] = []
        self.closed = False
        title = f"{title}, mean over seeds"
        self._display = StageProgress(title, total_steps, work=work, beforehand="compiling")

    def show(self) -> None:
        names = {name: None for part in self.parts for name in part.metrics}
        values = {name: [part.metrics[name] for part in self.parts if name in part.metrics] for name in names}
        means = {name: sum(numbers) / len(numbers) for name, numbers in values.items()}
        self._display.update(self._mean(part.step for part in self.parts), **means)

    def close_after_last_part(self) -> None:
        if not any(part.open for part in self.parts):
            self.closed = True
            self._display.close()

    def _mean(self, steps: Any) -> int:
        return sum(steps) // len(self.parts)
