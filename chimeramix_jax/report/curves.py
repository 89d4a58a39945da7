"""Line charts: where their lines, ticks and labels lie; ``templates/chart.svg.jinja`` draws them.

Inline SVG rather than pictures by matplotlib: it takes its colours from the page, light or dark, its text can be read
aloud and searched, it stays sharp in print, and nothing has to be installed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

# In SVG's units: the page scales a chart to about this many pixels, from a phone's width on.
WIDTH, HEIGHT = 340, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 330, 28, 188  # of the area of the lines

LOGARITHMIC_FROM = 10.0  # times the smallest value is the largest
FEW_POINTS = 25  # up to which every one of them is marked


@dataclass(frozen=True)
class Series:
    """A line to be drawn.

    Attributes:
        label: for the legend.
        points: x (rising) and y; the line has a gap where y is None.
        colour: 1 to 4, of the page's colours for lines.
        dashed: to tell two lines of one colour apart.
    """

    label: str
    points: Sequence[tuple[float, float | None]]
    colour: int = 1
    dashed: bool = False


@dataclass(frozen=True)
class Tick:
    """A labelled place on an axis, in SVG's units."""

    place: float
    text: str


@dataclass(frozen=True)
class Line:
    """A line as SVG draws it: ``path`` in its own notation, ``marks`` as x and y."""

    series: Series
    path: str
    marks: list[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """All that the template needs: labels, ticks and lines."""

    title: str
    unit: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]


def chart(title: str, unit: str, series: Sequence[Series], *, percent: bool = False) -> Chart | None:
    """Lays a chart out over epochs; None where there is not a single value.

    The vertical axis is logarithmic where all values are above 0 and the largest is many times the smallest.

    Args:
        title: of the chart.
        unit: of the values, for the vertical axis.
        series: the lines; those without values are left out.
        percent: values are shares, to be labelled as percentages.
    """
    series = [one for one in series if any(y is not None for _, y in one.points)]
    values = [y for one in series for _, y in one.points if y is not None]
    if not values:
        return None
    low, high = min(values), max(values)
    logarithmic = not percent and low > 0 and high / low >= LOGARITHMIC_FROM
    y_values = logarithmic_ticks(low, high) if logarithmic else linear_ticks(low, high)
    last = max(x for one in series for x, _ in one.points)
    x_values = [x for x in linear_ticks(0, last, whole=True) if x <= last]

    def scaled(value: float) -> float:
        return math.log10(value) if logarithmic else value

    bottom, top = scaled(y_values[0]), scaled(y_values[-1])

    def place_x(x: float) -> float:
        return round(LEFT + x / last * (RIGHT - LEFT), 1)

    def place_y(y: float) -> float:
        return round(BOTTOM - (scaled(y) - bottom) / (top - bottom) * (BOTTOM - TOP), 1)

    lines = []
    for one in series:
        places = [None if y is None else (place_x(x), place_y(y)) for x, y in one.points]
        known = [place for place in places if place is not None]
        lines.append(Line(one, _path(places), known if len(known) <= FEW_POINTS else []))
    return Chart(
        title,
        f"{unit}, logarithmic" if logarithmic else unit,
        [Tick(place_x(x), f"{x:g}") for x in x_values],
        [Tick(place_y(y), f"{100 * y:g}%" if percent else f"{y:g}") for y in y_values],
        lines,
    )


def linear_ticks(low: float, high: float, *, whole: bool = False, wanted: int = 5) -> list[float]:
    """Round numbers at equal distances, about as many as wanted, the first and last of them around all values."""
    if math.isclose(low, high):  # also where no two numbers lie between them
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
    """Powers of ten around all values, and their double and fivefold where that does not make too many."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    start = max(number for number, tick in enumerate(ticks) if tick <= low * (1 + 1e-9))
    end = min(number for number, tick in enumerate(ticks) if tick >= high * (1 - 1e-9))
    if end - start < most:
        return ticks[start : end + 1]
    every = math.ceil((last - first) / most)
    return [10.0**power for power in range(first, last + every, every)]


def _path(places: Sequence[tuple[float, float] | None]) -> str:
    commands, pen_is_down = [], False
    for place in places:
        if place is not None:
            commands.append(f"{'L' if pen_is_down else 'M'}{place[0]:g},{place[1]:g}")
        pen_is_down = place is not None
    return "".join(commands)
