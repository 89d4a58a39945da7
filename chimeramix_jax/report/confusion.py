"""The confusion matrix as a heat map, its most confused pairs of classes, and the accuracy of each class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from chimeramix_jax.reporting.clustered import EFFECTIVE, accuracy_interval
from chimeramix_jax.reporting.statistics import Interval

# Upper bounds of the share of the true class's images in a cell; each bound has its own colour.
LEVELS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

MOST_CLASSES_WITH_NUMBERS = 20  # a larger table has narrow cells, which show their numbers on hovering
MOST_CLASSES_IN_A_TABLE = 100  # a page with a cell for every pair of more classes takes long to open
_MOST_NAMED = 5  # classes in a sentence

Confusion = Int[np.ndarray, "classes classes"]  # images by true class (row) and predicted class (column)


@dataclass(frozen=True)
class HeatMapCell:
    """A cell of the heat map: its number of images, its CSS class (empty without images) and its tooltip.

    ``share`` is relative to the images of the true class.
    """

    count: int
    share: float
    style: str
    tooltip: str


@dataclass(frozen=True)
class HeatTable:
    """A confusion matrix laid out for the page; ``rows`` holds each true class's name and cells."""

    names: tuple[str, ...]
    rows: list[tuple[str, list[HeatMapCell]]]
    dense: bool


@dataclass(frozen=True)
class ConfusedPair:
    """Images of one class that were predicted as another; ``share`` is relative to the true class's ``examples``."""

    true: str
    predicted: str
    count: int
    share: float
    examples: int


@dataclass(frozen=True)
class ClassAccuracy:
    """The accuracy on the images of one class."""

    name: str
    examples: int
    accuracy: float
    interval: Interval


def heat_table(confusion: Confusion, names: Sequence[str]) -> HeatTable:
    """Lays out the heat map of a confusion matrix."""
    totals = confusion.sum(axis=1)
    rows = []
    for true, name in enumerate(names):
        cells = []
        for predicted, count in enumerate(confusion[true].tolist()):
            kind = "right" if true == predicted else "wrong"
            share = count / max(totals[true], 1)
            level = next(number for number, bound in enumerate(LEVELS, start=1) if share <= bound)
            style = f"{kind}-{level}" if count else ""
            outcome = "correct" if true == predicted else f"predicted as {names[predicted]}"
            cells.append(HeatMapCell(count, share, style, f"{name}: {count} of {totals[true]} {outcome}"))
        rows.append((name, cells))
    return HeatTable(tuple(names), rows, dense=len(names) > MOST_CLASSES_WITH_NUMBERS)


def most_confused(confusion: Confusion, names: Sequence[str], most: int) -> list[ConfusedPair]:
    """Returns the pairs of classes that were confused most often; ties are in the order of the classes."""
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


def without_images(confusion: Confusion, names: Sequence[str]) -> str:
    """Returns the classes without images, as the end of a sentence: ``of the class “a”``; empty if there are none."""
    quoted = [f"“{name}”" for name, total in zip(names, confusion.sum(axis=1), strict=True) if not total]
    if len(quoted) < 2:
        return f"of the class {quoted[0]}" if quoted else ""
    if len(quoted) > _MOST_NAMED:
        return f"of {len(quoted)} classes, such as {quoted[0]} and {quoted[1]}"
    return f"of the classes {', '.join(quoted[:-1])} and {quoted[-1]}"


def class_accuracies(
    confusion: Confusion, names: Sequence[str], repeats: int = 1, effective_share: float | None = None
) -> list[ClassAccuracy]:
    """Returns the accuracy of each class, the best first; classes without images are left out.

    Args:
        confusion: the confusion matrix.
        names: the classes' names, by label.
        repeats: how often each image was predicted; the intervals are those for the number of images.
        effective_share: how many independent images are as informative as all (``clustered.effective_number``), divided
            by the number of images; None: no images belong together.
    """
    accuracies = []
    for name, row, right in zip(names, confusion, np.diagonal(confusion).tolist(), strict=True):
        if examples := int(row.sum()) // repeats:
            accuracy, of_class = right / repeats / examples, {"examples": float(examples)}
            if effective_share is not None:
                of_class[EFFECTIVE] = examples * effective_share
            accuracies.append(ClassAccuracy(name, examples, accuracy, accuracy_interval(of_class, accuracy)))
    return sorted(accuracies, key=lambda row: -row.accuracy)
