"""The layout of line charts, which ``templates/chart.svg.jinja`` draws as inline SVG.

Inline SVG has advantages over matplotlib here: it follows the page's light or dark colours, its text can be searched
and read aloud, it is sharp in print, and it needs no further package.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chimeramix_jax.reporting.plot_area import PlotArea, Tick

# In SVG units; on a phone, a chart is about this many pixels wide.
AREA = PlotArea(340, 230, left=52, right=330, top=28, bottom=188)

LOGARITHMIC_FROM = 10.0  # the ratio of the largest to the smallest value
FEW_POINTS = 25  # up to this many points are marked individually


@dataclass(frozen=True)
class Series:
    """The data of one line."""

    label: str
    points: Sequence[tuple[float, float | None]]  # increasing x, and y; the line has a gap where y is None
    colour: int = 1  # 1 to 4, the number of one of the page's line colours
    dashed: bool = False  # distinguishes two lines of the same colour


@dataclass(frozen=True)
class ChartLine:
    """A line laid out: ``path`` in SVG path notation, ``marks`` as x and y in SVG units."""

    series: Series
    path: str
    marks: list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """A chart laid out for the template: labels, ticks and lines."""

    title: str
    unit: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[ChartLine]


def chart(title: str, unit: str, series: Sequence[Series], *, percent: bool = False) -> Chart | None:
    """Lays out a chart over epochs; returns None if there are no values.

    The vertical axis is logarithmic if all values are positive and span at least a factor of ``LOGARITHMIC_FROM``. With
    ``percent``, values are proportions and labelled as percentages.
    """
    series = [line for line in series if any(y is not None for _, y in line.points)]
    values = [y for line in series for _, y in line.points if y is not None]
    if not values:
        return None
    low, high = min(values), max(values)
    logarithmic = not percent and low > 0 and high / low >= LOGARITHMIC_FROM
    y_values = logarithmic_ticks(low, high) if logarithmic else linear_ticks(low, high)
    last = max(x for line in series for x, _ in line.points)
    x_values = [x for x in linear_ticks(0, last, whole=True) if x <= last]

    def scaled(value: float) -> float:
        return math.log10(value) if logarithmic else value

    bottom, top = scaled(y_values[0]), scaled(y_values[-1])

    def svg_x(x: float) -> float:
        return AREA.x(x / last)

    def svg_y(y: float) -> float:
        return AREA.y((scaled(y) - bottom) / (top - bottom))

    lines = []
    for line in series:
        points = [None if y is None else (svg_x(x), svg_y(y)) for x, y in line.points]
        known = [point for point in points if point is not None]
        lines.append(ChartLine(line, _path(points), known if len(known) <= FEW_POINTS else []))
    return Chart(
        title,
        f"{unit}, logarithmic" if logarithmic else unit,
        [Tick(svg_x(x), f"{x:g}") for x in x_values],
        [Tick(svg_y(y), f"{100 * y:g}%" if percent else f"{y:g}") for y in y_values],
        lines,
    )


def linear_ticks(low: float, high: float, *, whole: bool = False, wanted: int = 5) -> list[float]:
    """Returns about ``wanted`` evenly spaced round numbers whose range includes ``low`` and ``high``."""
    if math.isclose(low, high):  # including values so close that there is no number between them
        low, high = (min(low, 0.0), max(high, 0.0)) if low else (0.0, 1.0)
    distance = (high - low) / (wanted - 1)
    magnitude = 10.0 ** math.floor(math.log10(distance))
    factors = (1.0, 2.0, 5.0, 10.0) if whole else (1.0, 2.0, 2.5, 5.0, 10.0)
    step = next(factor * magnitude for factor in factors if factor * magnitude >= distance * (1 - 1e-9))
    step = max(step, 1.0) if whole else step
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, 1 - math.floor(math.log10(step)))
    return [round(number * step, digits) for number in range(first, last + 1)]


def logarithmic_ticks(low: float, high: float, *, most: int = 7) -> list[float]:
    """Returns powers of ten, and 2 and 5 times each if not too many, whose range includes ``low`` and ``high``."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    start = max(number for number, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    end = min(number for number, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    if end - start < most:
        return ticks[start : end + 1]
    every = math.ceil((last - first) / most)
    return [10.0**power for power in range(first, last + every, every)]


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    commands, pen_is_down = [], False
    for point in points:
        if point is not None:
            commands.append(f"{'L' if pen_is_down else 'M'}{point[0]:g},{point[1]:g}")
        pen_is_down = point is not None
    return "".join(commands)
