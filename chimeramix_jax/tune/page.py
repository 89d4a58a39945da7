"""The page of a search, ``search.html``: what mattered, how accuracy depends on each setting, and all trials."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chimeramix_jax import files
from chimeramix_jax.reporting import web_page
from chimeramix_jax.reporting.plot_area import PlotArea, Tick
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.statistics import percent
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.tune import outcome
from chimeramix_jax.tune.outcome import Ranking, TrialRecord
from chimeramix_jax.tune.space import Choice, Dimension, Space, plain
from chimeramix_jax.tune.trial import Plan

PAGE = "search.html"  # in the search's folder

# In SVG units; on a phone, a chart is about this many pixels wide.
_AREA = PlotArea(340, 220, left=48, right=330, top=12, bottom=180)


@dataclass(frozen=True)
class Mark:
    """A trial in a chart, in SVG units."""

    x: float
    y: float
    style: str  # "done", "early" or "best"
    text: str


@dataclass(frozen=True)
class Slice:
    """The accuracies of all trials by one of their settings, laid out."""

    key: str
    scale: str  # how the values are spread
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark]


def write(ranking: Ranking, space: Space, importance: Mapping[str, float] | None, plan: Plan, title: str) -> Path:
    """Writes the page and returns its path; ``importance`` are shares of 1, or None if they are not known."""
    path = plan.folder / PAGE
    shown = {} if importance is None else importance
    best = ranking.best
    content = (
        web_page.environment("chimeramix_jax.tune", ".")
        .get_template("page.html.jinja")
        .render(
            title=title,
            counts=outcome.counts(ranking),
            best=best,
            accuracy="" if best is None else percent(best.accuracy, best.examples),
            judged_on=f"{plan.config.folds} folds" if plan.config.folds else "validation images",
            explanation="" if best is None else outcome.explanation(ranking, plan),
            importance=sorted(shown.items(), key=lambda item: -item[1]),
            finished=len(ranking.finished),
            slices=slices(ranking, space),
            keys=[dimension.key for dimension in space],
            rows=[_row(record, space, plan) for record in _in_order(ranking)],
            area=_AREA,
        )
    )
    files.write_text(path, content)
    return path


def slices(ranking: Ranking, space: Space) -> list[Slice]:
    """Lays out a chart for each setting; none if no trial has an accuracy."""
    shown = [record for record in ranking.records if not math.isnan(record.accuracy)]
    if not shown:
        return []
    low, high = min(record.accuracy for record in shown), max(record.accuracy for record in shown)
    margin = max((high - low) * 0.05, 0.005)
    bottom, top = max(low - margin, 0.0), min(high + margin, 1.0)
    return [_slice(dimension, shown, ranking, bottom, top) for dimension in space]


def _slice(dimension: Dimension, shown: Sequence[TrialRecord], ranking: Ranking, bottom: float, top: float) -> Slice:
    def svg_y(accuracy: float) -> float:
        return _AREA.y((accuracy - bottom) / (top - bottom))

    def svg_x(value: object) -> float:
        return _AREA.x(_share(dimension, value))

    marks = [
        Mark(
            svg_x(record.values[dimension.key]),
            svg_y(record.accuracy),
            _style(record, ranking),
            f"trial {record.number}: {record.values[dimension.key]}, {100 * record.accuracy:.1f}%, {record.state}",
        )
        for record in shown
        if dimension.key in record.values
    ]
    marks.sort(key=lambda mark: ("early", "done", "best").index(mark.style))  # the best lies on top
    logarithmic = not isinstance(dimension, Choice) and dimension.logarithmic
    y_ticks = [Tick(svg_y(value), f"{100 * value:.1f}%") for value in (bottom, (bottom + top) / 2, top)]
    x_ticks = [Tick(svg_x(value), text) for value, text in _ticks(dimension)]
    return Slice(dimension.key, "logarithmic" if logarithmic else "", x_ticks, y_ticks, marks)


def _share(dimension: Dimension, value: object) -> float:
    """Returns where a value is on the horizontal axis, from 0 to 1."""
    if isinstance(dimension, Choice):
        return (dimension.values.index(value) + 0.5) / len(dimension.values)
    assert isinstance(value, int | float)
    if dimension.logarithmic:
        return math.log(value / dimension.low) / math.log(dimension.high / dimension.low)
    return (value - dimension.low) / (dimension.high - dimension.low)


def _ticks(dimension: Dimension) -> list[tuple[object, str]]:
    if isinstance(dimension, Choice):
        return [(value, str(value)) for value in dimension.values]
    low, high = dimension.low, dimension.high
    middle = math.sqrt(low * high) if dimension.logarithmic else (low + high) / 2
    return [
        (value, f"{value:.0f}" if dimension.whole else plain(float(f"{value:.2g}"))) for value in (low, middle, high)
    ]


def _style(record: TrialRecord, ranking: Ranking) -> str:
    if record.state != outcome.DONE:
        return "early"
    return "best" if record is ranking.best else "done"


def _in_order(ranking: Ranking) -> list[TrialRecord]:
    """Returns the finished trials, the best first, and then all others."""
    return [*ranking.finished, *(record for record in ranking.records if record.state != outcome.DONE)]


def _row(record: TrialRecord, space: Space, plan: Plan) -> dict[str, object]:
    """Returns what the table says about a trial; a trial with a single run links to its report."""
    report = Workdir(plan.folder_of(record.number)).report
    accuracy = "" if math.isnan(record.accuracy) else f"{100 * record.accuracy:.1f}%"
    return {
        "number": record.number,
        "link": os.path.relpath(report, plan.folder) if report.exists() else "",
        "state": record.state,
        "accuracy": percent(record.accuracy, record.examples) if record.examples else accuracy,
        "time": "" if math.isnan(record.seconds) else duration(record.seconds),
        "values": [str(record.values.get(dimension.key, "")) for dimension in space],
        "problem": record.problem,
    }
