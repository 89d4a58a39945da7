"""How far the probabilities can be trusted, prepared for ``templates/probabilities.html.jinja``.

Everything comes from the part of ``results.json`` about the calibration. The reliability diagram has a point for each
bin of images with similar confidence: how sure the classifier was, and how often it was right.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chimeramix_jax.data.identity import counted
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.plot_area import PlotArea
from chimeramix_jax.reporting.splits import FOLDS, split_name
from chimeramix_jax.reporting.statistics import decimals

# In SVG units, as in ``curves``; the plotting area is a square.
AREA = PlotArea(340, 346, left=52, right=330, top=26, bottom=304)
TICKS = (0, 25, 50, 75, 100)  # in percent, on both axes

SMALL_ERROR = 0.05  # with fewer images than can show this calibration error, there are too few to tell

_LARGEST_DOT = 7.0  # its radius
_NO_BREAK = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True)
class Dot:
    """A bin in the diagram, in SVG units; ``low`` and ``high`` are the ends of the accuracy's interval."""

    x: float
    y: float
    radius: float
    low: float
    high: float


@dataclass(frozen=True)
class ReliabilityLine:
    """The bins with or without the temperature."""

    label: str
    colour: int  # the number of one of the page's line colours
    with_intervals: bool
    dots: list[Dot]


@dataclass(frozen=True)
class Probabilities:
    """Everything that the page says about the probabilities."""

    sentences: list[str]
    lines: list[ReliabilityLine]  # of the diagram; empty if there is none
    bins: Sequence[Mapping[str, Any]]  # those of the classifier as it predicts
    rejection: Sequence[Mapping[str, Any]]
    images: int


def content(calibration: Mapping[str, Any] | None, images: str, path: str) -> Probabilities:
    """Prepares the section.

    Args:
        calibration: the part of the results about it; None: they are of an earlier version.
        images: what the measured images are called, such as "test".
        path: the file of the results, for errors.

    Raises:
        InputError: the results cannot be read.
    """
    if calibration is None:
        text = "Not measured: the results are of an earlier version; --stage=evaluate measures it."
        return Probabilities([text], [], [], [], 0)
    try:
        return _content(calibration, images)
    except (KeyError, TypeError, ValueError) as error:
        problem = f"{type(error).__name__}: {error}"
        raise InputError(f"{path}: cannot be read: {problem}; write it again with --stage=evaluate") from None


def _content(calibration: Mapping[str, Any], images: str) -> Probabilities:
    if "before" not in calibration:
        return Probabilities([calibration["explanation"]], [], [], [], 0)
    before, after = calibration["before"], calibration.get("after")
    final = before if after is None else after
    sentences = [_of_a_bin(final), _of_all(final, calibration["images"], images), _of_error(final, calibration, images)]
    sentences.append(calibration["explanation"] if after is None else _of_temperature(calibration))
    lines = [ReliabilityLine("as predicted", 1, True, _dots(final["bins"]))]
    if after is not None:
        lines.insert(0, ReliabilityLine("without the temperature", 2, False, _dots(before["bins"])))
    return Probabilities(sentences, lines, final["bins"], calibration["rejection"], calibration["images"])


def _of_a_bin(measured: Mapping[str, Any]) -> str:
    """Says what a probability is worth, for the bin with most images, and among equals for the most certain."""
    largest = max(measured["bins"], key=lambda row: (row["images"], row["confidence"]))
    low, high = map(_percent, largest["interval"])
    says, right = _percent(largest["confidence"]), _percent(largest["accuracy"])
    least, most = _percent(largest["low"]), _percent(largest["high"])
    place = f"at {least}" if least == most else f"from {least} to {most}"
    return (
        f"When the model says {says}, it is right {right} of the time ({counted(largest['images'], 'image')} {place}; "
        f"95{_NO_BREAK}% interval {low} to {high})."
    )


def _of_all(measured: Mapping[str, Any], count: int, images: str) -> str:
    digits = decimals(count)
    confidence, accuracy = _percent(measured["confidence"], digits), _percent(measured["accuracy"], digits)
    if count == 1:
        outcome = "right" if measured["accuracy"] else "wrong"
        return f"Of the only {images} image, it says {confidence} and is {outcome}."
    return f"Over all {count} {images} images, it says {confidence} on average and is right {accuracy} of the time."


def _of_error(measured: Mapping[str, Any], calibration: Mapping[str, Any], images: str) -> str:
    """Says how large the calibration error is, and whether that is more than chance explains."""
    error, chance = measured["error"], measured["error_by_chance"]
    begin = f"The expected calibration error is {_percent(error, 1)}"
    if error > chance:
        begin += f", more than the {_percent(chance, 1)} that chance explains: the model is"
        gap = measured["confidence"] - measured["accuracy"]
        if abs(gap) < error / 2:  # the bins' differences largely cancel out
            return f"{begin} too sure of itself at some probabilities, and not sure enough at others."
        return f"{begin} {'too sure' if gap > 0 else 'not sure enough'} of itself."
    if chance > SMALL_ERROR:
        return (
            f"{begin}. Chance alone would give up to {_percent(chance, 1)} for a perfectly calibrated model, so "
            f"{counted(calibration['images'], f'{images} image')} {'is' if calibration['images'] == 1 else 'are'} too "
            "few to tell."
        )
    return f"{begin}, no more than chance would give for a perfectly calibrated model (up to {_percent(chance, 1)})."


def _of_temperature(calibration: Mapping[str, Any]) -> str:
    source = split_name(calibration["fitted_on"])
    text = (
        f"The logits are divided by a temperature of {calibration['temperature']:.2f}, which was fitted on "
        f"{calibration['fitted_images']} {source} images and changes no predicted class. Without it, the calibration "
        f"error is {_percent(calibration['before']['error'], 1)}."
    )
    if calibration["cross_fitted"]:
        text += " Each fifth of the images was measured with a temperature that was fitted on the others."
    if calibration["fitted_on"] == FOLDS:
        text += " The models of the folds learned from fewer images than the final one, which may need another one."
    return text


def _dots(bins: Sequence[Mapping[str, Any]]) -> list[Dot]:
    most = max(row["images"] for row in bins)
    return [
        Dot(
            AREA.x(row["confidence"]),
            AREA.y(row["accuracy"]),
            round(max(_LARGEST_DOT * math.sqrt(row["images"] / most), 2.5), 1),
            AREA.y(row["interval"][0]),
            AREA.y(row["interval"][1]),
        )
        for row in bins
    ]


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f}{_NO_BREAK}%"
