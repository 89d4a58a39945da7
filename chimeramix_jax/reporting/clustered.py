"""Uncertainty of accuracies on images of which some belong together, such as several photos of one object.

Such images tend to be right or wrong together, so an accuracy is known less precisely than their number suggests. With
20 objects of ten photos each, the 95 % interval for 200 independent images may cover the truth only half of the time.
Without images that belong together, everything here is what ``statistics`` has.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from scipy import special

from chimeramix_jax.reporting import statistics
from chimeramix_jax.reporting.statistics import CONFIDENCE, Interval

EFFECTIVE = "effective_examples"  # in an evaluation of ``results.json``, if some of its images belong together


def effective_number(
    right: Float[np.ndarray, "images"] | Bool[np.ndarray, "images"], units: Sequence[str] | None
) -> float | None:
    """Returns how many independent images would leave an accuracy as uncertain; None if no images belong together.

    It is the number of images divided by the design effect, and less if there are few units, whose spread is then not
    well known: the effective sample size of E. L. Korn and B. I. Graubard, *Confidence intervals for proportions with
    small expected number of positive counts estimated from survey data*, Survey Methodology 24 (1998). For Wilson's
    interval, it is recommended by C. Franco, R. J. A. Little, T. A. Louis and E. V. Slud, *Comparative study of
    confidence intervals for proportions in complex sample surveys*, Journal of Survey Statistics and Methodology 7
    (2019). If all images are right, or all wrong, each unit counts as one.

    Args:
        right: whether each image is predicted correctly or, if it is predicted several times, in which share of them.
        units: the name of each image, the same for images that belong together (``data/kept_together.py``); None: none
            do.
    """
    if units is None or len(set(units)) == len(units):
        return None
    accuracy = float(np.mean(right))
    return _effective_number(np.asarray(right, np.float64) - accuracy, accuracy * (1 - accuracy), units)


def _effective_number(residuals: Float[np.ndarray, "images"], variance: float, units: Sequence[str]) -> float:
    """Returns how many independent images would leave a mean as uncertain.

    Args:
        residuals: the deviation of each image from the mean.
        variance: of an image, as if all were independent.
        units: the name of each image's unit.
    """
    images, count = len(units), len(set(units))
    if count == 1 or not variance:
        return float(count)
    of_units = np.bincount(numbers_of(units), weights=residuals)
    variance_of_mean = count / (count - 1) * float(np.sum(of_units**2)) / images**2
    design_effect = max(variance_of_mean * images / variance, 1.0)
    quantiles = special.stdtrit(np.array([images - 1, count - 1]), (1 + CONFIDENCE) / 2)
    return max(images / design_effect * float(quantiles[0] / quantiles[1]) ** 2, 1.0)


def effective_share(evaluation: Mapping[str, Any]) -> float | None:
    """Returns the effective number of images divided by their number, given a part of ``results.json``, or None."""
    return evaluation[EFFECTIVE] / evaluation["examples"] if EFFECTIVE in evaluation else None


def note(effective: float | None) -> str:
    """Returns how intervals allow for images that belong together, as a sentence; empty if none do."""
    if effective is None:
        return ""
    return (
        "Images of a group, and copies, tend to be right or wrong together. For the intervals, the images count as "
        f"much as {effective:.{0 if effective >= 10 else 1}f} independent images."
    )


def accuracy_interval(evaluation: Mapping[str, Any], accuracy: float) -> Interval:
    """Returns the 95 % Wilson score interval of an accuracy, given the part of ``results.json`` that it comes from."""
    effective = evaluation.get(EFFECTIVE)
    if effective is None:
        return statistics.wilson_interval(round(accuracy * evaluation["examples"]), evaluation["examples"])
    return statistics.wilson_interval(accuracy * effective, effective)


def name_of_test(units: int | None) -> str:
    """Returns what ``paired_test`` is called, given the number of units; None: no images belong together."""
    return "exact McNemar test" if units is None else f"exact McNemar test over {units} groups and single images"


def paired_test(
    first: Bool[np.ndarray, "images"], second: Bool[np.ndarray, "images"], units: Sequence[str] | None
) -> float:
    """Returns the two-sided p-value that two classifiers are equally accurate, given which images each has right.

    It is exact: if they are, each unit's difference is as likely as its negative. If no images belong together (or
    ``units`` is None), that is the exact McNemar test.
    """
    if units is None or len(set(units)) == len(units):
        return statistics.mcnemar(*statistics.only_right(first, second))
    of_units = np.bincount(numbers_of(units), weights=first.astype(float) - second)
    sizes = np.abs(of_units[of_units != 0]).astype(int)
    total = int(sizes.sum())
    chances = np.ones(1)  # of each sum of the differences so far, from the smallest to the largest in steps of 1
    for size in sizes.tolist():
        gap = np.zeros(2 * size)
        chances = (np.concatenate([chances, gap]) + np.concatenate([gap, chances])) / 2
    sums = np.arange(-total, total + 1)
    return min(1.0, math.fsum(chances[np.abs(sums) >= abs(of_units.sum())]))


def paired_interval(
    first: Bool[np.ndarray, "images"], second: Bool[np.ndarray, "images"], units: Sequence[str] | None
) -> Interval:
    """Returns the 95 % interval of the difference of two classifiers' accuracies on the same images, in [-1, 1].

    It is ``statistics.paired_interval`` for as many independent images as would leave the difference as uncertain,
    which are counted as by ``effective_number``.

    Args:
        first: whether the first classifier, whose accuracy is the minuend, has each image right.
        second: the same of the second.
        units: the name of each image's unit; None: no images belong together.
    """
    images, (only_first, only_second) = len(first), statistics.only_right(first, second)
    if units is None or len(set(units)) == images:
        return statistics.paired_interval(only_first, only_second, images)
    differences = first.astype(np.float64) - second
    mean = float(np.mean(differences))
    variance = float(np.mean(differences**2)) - mean**2
    share = _effective_number(differences - mean, variance, units) / images
    return statistics.paired_interval(share * only_first, share * only_second, share * images)


def numbers_of(units: Sequence[str]) -> Int64[np.ndarray, "images"]:
    """Returns the number of each image's unit, from 0, in the order in which the units first occur."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(units))}
    return np.array([numbers[name] for name in units], np.int64)
