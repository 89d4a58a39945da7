"""Which classes are taken for which: the confusion matrix as a heat table, its worst pairs, and every class's share."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from chimeramix_jax.reporting.statistics import Interval, wilson_interval

# A cell's colour tells which share of the true class's images it holds: up to the first of these, the second, ...
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

MOST_CLASSES_WITH_NUMBERS = 20  # a larger table has narrow cells, whose numbers are shown when pointed at

Confusion = Int[np.ndarray, "classes classes"]  # images by true class (row) and predicted class (column)


@dataclass(frozen=True)
class Cell:
    """A cell of the heat table: its number of images, its style (empty: no image) and its explanation."""

    count: int
    style: str
    explanation: str


@dataclass(frozen=True)
class HeatTable:
    """A confusion matrix ready to be shown; ``rows`` has a class's name and its cells."""

    names: tuple[str, ...]
    rows: list[tuple[str, list[Cell]]]
    dense: bool


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were taken for another; ``share`` is that of the true class's images (``examples``)."""

    true: str
    predicted: str
    count: int
    share: float
    examples: int


@dataclass(frozen=True)
class ClassShare:
    """How much of a class was recognized."""

    name: str
    examples: int
    share: float
    interval: Interval


def heat_table(confusion: Confusion, names: Sequence[str]) -> HeatTable:
    """Lays the table out."""
    totals = confusion.sum(axis=1)
    rows = []
    for true, name in enumerate(names):
        cells = []
        for predicted, count in enumerate(confusion[true].tolist()):
            kind = "right" if true == predicted else "wrong"
            style = f"{kind}-{_level(count / totals[true])}" if count else ""
            taken = "recognized" if true == predicted else f"taken for {names[predicted]}"
            cells.append(Cell(count, style, f"{name}: {count} of {totals[true]} {taken}"))
        rows.append((name, cells))
    return HeatTable(tuple(names), rows, dense=len(names) > MOST_CLASSES_WITH_NUMBERS)


def most_confused(confusion: Confusion, names: Sequence[str], most: int) -> list[ConfusedPair]:
    """The pairs of classes that were confused most often, in that order; of equals the first classes come first."""
    wrong = confusion * ~np.eye(len(confusion), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [np.unravel_index(place, wrong.shape) for place in order if wrong.flat[place]]
    totals, counts = confusion.sum(axis=1).tolist(), wrong.tolist()
    return [
        ConfusedPair(
            names[true], names[other], counts[true][other], counts[true][other] / totals[true], examples=totals[true]
        )
        for true, other in pairs
    ]


def class_shares(confusion: Confusion, names: Sequence[str]) -> list[ClassShare]:
    """What share of every class was recognized, the best first; classes without an image are left out."""
    shares = []
    for name, row, right in zip(names, confusion, np.diagonal(confusion).tolist(), strict=True):
        if examples := int(row.sum()):
            shares.append(ClassShare(name, examples, right / examples, wilson_interval(right, examples)))
    return sorted(shares, key=lambda one: -one.share)


def heat_rules(paper: str, right: str, wrong: str) -> str:
    """The style sheet's rules for the cells: from the paper's colour to one for hits and one for mistakes.

    Text is black or white, whichever stands out more: against any colour that is a contrast of 4.5 or more.
    """
    rules = []
    for kind, colour in (("right", right), ("wrong", wrong)):
        for level in range(1, len(LEVELS) + 1):
            ground = _between(paper, colour, level / len(LEVELS))
            ink = "#000000" if contrast("#000000", ground) > contrast("#ffffff", ground) else "#ffffff"
            rules.append(f".{kind}-{level} {{ background: {ground}; color: {ink}; }}")
    return "\n".join(rules)


def contrast(first: str, second: str) -> float:
    """The contrast of two colours such as ``#0072b2``, from 1 to 21, as the WCAG defines it."""
    lighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _level(share: float) -> int:
    return next(number for number, bound in enumerate(LEVELS, start=1) if share <= bound)


def _channels(colour: str) -> list[float]:
    return [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]


def _luminance(colour: str) -> float:
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in _channels(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _between(first: str, second: str, share: float) -> str:
    mixed = [a + share * (b - a) for a, b in zip(_channels(first), _channels(second), strict=True)]
    return "#" + "".join(f"{round(255 * value):02x}" for value in mixed)
