"""Curves of accuracy over images per class: a row of panels per data set, accuracies left and differences right."""

import importlib.util
import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.statistics import Estimate
from chimeramix_jax.runtime import invocation
from chimeramix_jax.summary.sections import Section, Summary
from chimeramix_jax.summary.trials import METRICS
from chimeramix_jax.summary.wording import images_in_words

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

INK = "#222222"  # the page replaces these two colours by its own, which follow the reader's light or dark mode
FAINT = "#bbbbbb"

# Okabe and Ito's colours, which are distinguishable with any colour vision, without the two that are invisible on white
# or black. Markers and dashes vary as well, so that no line is identified by colour alone.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":", "-.")

PANEL_WIDTH, PANEL_HEIGHT = 5.0, 3.6  # inches
PIXELS_PER_INCH = 160
LETTERS_PER_INCH = 14  # in the legend
SMALLEST_REACH = 1.0  # in percentage points: how far intervals of equal means are shown
SPREAD = 1.12  # ratio of the x positions of the last and the first point that share a number of images


class Style(NamedTuple):
    """The line style of an experiment."""

    colour: str
    marker: str
    dashes: str


def require_matplotlib() -> None:
    """Raises InputError unless matplotlib is installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            f"curves: matplotlib is not installed; run {invocation.installing('matplotlib')}, or leave the curves out "
            "with --nocurves"
        )


def draw(summary: Summary) -> "matplotlib.figure.Figure | None":
    """Draws means as points and 95 % intervals as bars; returns None if nothing is finished."""
    import matplotlib

    sections = [section for section in summary.sections if any(row.finished for row in section.rows)]
    if not sections:
        return None
    with matplotlib.rc_context({"text.parse_math": False}):  # a folder's name may contain dollar signs
        return _draw(sections, summary)


def _draw(sections: Sequence[Section], summary: Summary) -> "matplotlib.figure.Figure":
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    compared = any(row.differences for section in sections for row in section.rows)
    columns = 2 if compared else 1
    styles = _styles(sections, summary.baseline)
    labels = {row.title: summary.short_title(row) for section in sections for row in section.rows}
    longest = max(len(labels[title]) for title in styles)
    legend_columns = max(1, int(LETTERS_PER_INCH * PANEL_WIDTH * columns) // (longest + 8))
    legend_height = 0.22 * -(-len(styles) // legend_columns)
    size = (PANEL_WIDTH * columns, PANEL_HEIGHT * len(sections) + legend_height + 0.2)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(h_pad=0.12))
    panels = figure.subplots(len(sections), columns, squeeze=False)
    for line, section in zip(panels, sections, strict=True):
        _draw_panel(line[0], section, summary, styles, differences=False)
        line[0].set_ylabel(f"{METRICS[summary.metric]} (%)")
        low, high = line[0].get_ylim()
        line[0].set_ylim(max(low, 0), min(high, 100))
        if compared:
            _draw_panel(line[1], section, summary, styles, differences=True)
            line[1].axhline(0, color=INK, linewidth=0.8, zorder=1)
            line[1].set_ylabel(f"difference to {summary.baseline} (points)")
    _add_legend(figure, [labels[title] for title in styles], legend_columns)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # the layout is done; otherwise each saving would repeat it
    return figure


def _add_legend(figure: "matplotlib.figure.Figure", order: Sequence[str], columns: int) -> None:
    """Adds one legend for all panels, below them, with the labels in this order."""
    handles: dict[str, Any] = {}
    for panel in figure.axes:
        handles |= {label: handle for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    shown = [label for label in order if label in handles]
    lines = [handles[label] for label in shown]
    figure.legend(
        lines,
        [textwrap.fill(label, 120) for label in shown],
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
    )


def _styles(sections: Sequence[Section], baseline: str) -> dict[str, Style]:
    """Returns a style for each experiment, the same in all panels; the baseline has the colour of the text."""
    titles = {(row.experiment != baseline, row.title): row for section in sections for row in section.rows}
    styles: dict[str, Style] = {}
    others = 0
    for (is_other, title), _ in sorted(titles.items(), key=lambda item: item[0]):
        number = len(styles)
        if is_other:
            colour, dashes = COLOURS[others % len(COLOURS)], DASHES[others // len(COLOURS) % len(DASHES)]
            others += 1
        else:
            colour, dashes = INK, DASHES[number % len(DASHES)]
        styles[title] = Style(colour, MARKERS[number % len(MARKERS)], dashes)
    return styles


def _draw_panel(
    panel: "matplotlib.axes.Axes", section: Section, summary: Summary, styles: dict[str, Style], *, differences: bool
) -> None:
    positions = _positions(section)
    labels = {row.title: summary.short_title(row) for row in section.rows}
    titles = [title for title in styles if title in labels]
    drawn: list[Estimate] = []
    for number, title in enumerate(titles):
        shift = SPREAD ** ((number + 0.5) / len(titles) - 0.5)
        points = list(_points(section, title, positions, differences))
        if not points:
            continue
        style = styles[title]
        panel.errorbar(
            [position * shift for position, _ in points],
            [100 * estimate.mean for _, estimate in points],
            yerr=[list(side) for side in zip(*(_error_bar(estimate) for _, estimate in points), strict=True)],
            color=style.colour, marker=style.marker, linestyle=style.dashes, label=labels[title],
            linewidth=1.5, markersize=5, elinewidth=1.1, capsize=2.5,
        )  # fmt: skip
        drawn += [estimate for _, estimate in points]
    if drawn:
        panel.set_ylim(*zoomed(drawn, with_zero=differences))
    _format_axes(panel, section.title, positions)


def zoomed(estimates: Sequence[Estimate], *, with_zero: bool) -> tuple[float, float]:
    """Returns the limits of a vertical axis, in per cent, that keep the means apart.

    Intervals of two or three seeds can be many times as long as the means are apart. An interval extends the axis by at
    most a third of the means' range, or ``SMALLEST_REACH``, beyond its own mean. The panel's edge cuts longer bars.
    """
    means = [100 * estimate.mean for estimate in estimates] + [0.0] * with_zero
    reach = max((max(means) - min(means)) / 3, SMALLEST_REACH)
    low, high = min(means), max(means)
    for estimate in estimates:
        if estimate.interval is not None:
            low = min(low, max(100 * estimate.interval[0], 100 * estimate.mean - reach))
            high = max(high, min(100 * estimate.interval[1], 100 * estimate.mean + reach))
    margin = max(0.06 * (high - low), 0.1)
    return low - margin, high + margin


def _points(
    section: Section, title: str, positions: dict[int | None, float], differences: bool
) -> Iterator[tuple[float, Estimate]]:
    for row in section.rows:
        estimate = row.difference if differences else row.accuracy
        if row.title == title and estimate is not None:
            yield positions[row.images_per_class], estimate


def _error_bar(estimate: Estimate) -> tuple[float, float]:
    """Returns how far the error bar reaches down and up, in percentage points; NaN, which draws none, for one seed."""
    if estimate.interval is None:
        return math.nan, math.nan
    low, high = estimate.interval
    return 100 * (estimate.mean - low), 100 * (high - estimate.mean)


def _positions(section: Section) -> dict[int | None, float]:
    """Returns the x position of each number of images per class; "all" is at the mean number of the runs."""
    unlimited = [trial for row in section.rows if row.images_per_class is None for trial in row.finished]
    counted = [trial.mean_images or 1.0 for trial in unlimited]
    sizes = dict.fromkeys(row.images_per_class for row in section.rows if row.finished)
    return {size: sum(counted) / len(counted) if size is None else float(size) for size in sizes}


def _format_axes(panel: "matplotlib.axes.Axes", title: str, positions: dict[int | None, float]) -> None:
    """Sets the title, the axes, ticks at the existing numbers of images, and a faint grid."""
    panel.set_title(title, fontsize=11, color=INK)
    panel.set_xscale("log")
    panel.set_xlim(min(positions.values()) / 1.35, max(positions.values()) * 1.35)
    panel.set_xticks(list(positions.values()), [images_in_words(size) for size in positions])
    panel.set_xticks([], minor=True)
    panel.set_xlabel("images per class", color=INK)
    panel.tick_params(colors=INK)
    panel.yaxis.label.set_color(INK)
    panel.grid(color=FAINT, linewidth=0.5, alpha=0.7)
    panel.set_axisbelow(True)
    for name, spine in panel.spines.items():
        spine.set_visible(name in ("left", "bottom"))
        spine.set_color(INK)


def png(figure: "matplotlib.figure.Figure") -> bytes:
    """Returns the figure as PNG, on white."""
    return _saved(figure, "png", dpi=PIXELS_PER_INCH)


def svg(figure: "matplotlib.figure.Figure") -> bytes:
    """Returns the figure as SVG with real text and transparent background; equal figures give equal bytes."""
    return _saved(figure, "svg", transparent=True, metadata={"Date": None})


def _saved(figure: "matplotlib.figure.Figure", kind: str, **options) -> bytes:
    import matplotlib

    content = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "chimeramix_jax"}):
        figure.savefig(content, format=kind, **options)
    return content.getvalue()
