"""Uncertainty of results: means over a few seeds, accuracies on a few images, and differences between two of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from scipy import special

CONFIDENCE = 0.95

# From this ratio of the largest class to the mean class, always answering the largest is worth mentioning.
UNBALANCED = 1.25


class Interval(NamedTuple):
    """The confidence interval of a proportion."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds, with its uncertainty."""

    mean: float
    # The sample standard deviation (n - 1 in the denominator), within groups if there are several; None if there is
    # a single value, or one for each group.
    standard_deviation: float | None
    # The 95 % confidence interval of the mean by Student's t; None without a standard deviation.
    interval: tuple[float, float] | None
    count: int

    def within(self, low: float, high: float) -> "Estimate":
        """Returns this estimate with its interval clipped to the possible range, which Student's t ignores."""
        if self.interval is None:
            return self
        return replace(self, interval=(max(self.interval[0], low), min(self.interval[1], high)))


def estimate(values: Sequence[float]) -> Estimate:
    """Returns mean, sample standard deviation and 95 % interval of at least one value."""
    count = len(values)
    if not count:
        raise ValueError("no values: nothing to estimate")
    mean = float(np.mean(values))
    if count == 1:
        return Estimate(mean, None, None, count)
    deviation = float(np.std(values, ddof=1))
    quantile = float(special.stdtrit(count - 1, (1 + CONFIDENCE) / 2))  # as scipy.stats does, which is slow to import
    half_width = quantile * deviation / math.sqrt(count)
    return Estimate(mean, deviation, (mean - half_width, mean + half_width), count)


def stratified(groups: Sequence[Sequence[float]]) -> Estimate:
    """Returns the mean of the groups' means, with an interval for these groups: no others are drawn in their place.

    The values of a group are independent, and the standard deviation within a group is the same for all (pooled). With
    a single group it is ``estimate``. Each group has at least one value.
    """
    if not groups:
        raise ValueError("no groups: nothing to estimate")
    mean = float(np.mean([np.mean(values) for values in groups]))
    count = sum(map(len, groups))
    if (freedom := count - len(groups)) == 0:
        return Estimate(mean, None, None, count)
    squares = sum(float(np.sum((np.asarray(values) - np.mean(values)) ** 2)) for values in groups)
    deviation = math.sqrt(squares / freedom)
    quantile = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2))
    half_width = quantile * deviation * math.sqrt(sum(1 / len(values) for values in groups)) / len(groups)
    return Estimate(mean, deviation, (mean - half_width, mean + half_width), count)


def paired_t_test(differences: Sequence[float]) -> float | None:
    """Returns the two-sided p-value of Student's t-test that paired differences have the mean 0.

    It agrees with the interval of ``estimate``. None if there are fewer than two differences or all are equal, since
    their spread is unknown then.
    """
    if len(differences) < 2:
        return None
    difference = estimate(differences)
    assert difference.standard_deviation is not None
    if math.isclose(difference.standard_deviation, 0.0, abs_tol=1e-12):
        return None
    statistic = difference.mean / (difference.standard_deviation / math.sqrt(difference.count))
    return 2 * float(special.stdtr(difference.count - 1, -abs(statistic)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values corrected for their number: below 0.05, the chance of any false alarm among all is below 5 %.

    S. Holm, *A simple sequentially rejective multiple test procedure*, Scandinavian Journal of Statistics 6 (1979).
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def wilson_interval(successes: float, trials: float) -> Interval:
    """Returns the 95 % Wilson score interval of a binomial proportion, which is also valid close to 0 and 1.

    E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, JASA 22 (1927). It equals that
    of ``scipy.stats.binomtest``, whose import takes longer than writing a whole report. An effective number of trials
    (``clustered``) need not be whole.
    """
    quantile = float(special.ndtri((1 + CONFIDENCE) / 2))
    total = trials + quantile**2  # equivalent to quantile**2 additional trials, half of them successes
    centre = (successes + quantile**2 / 2) / total
    half_width = quantile * math.sqrt(successes * (trials - successes) / trials + quantile**2 / 4) / total
    low = 0.0 if successes == 0 else centre - half_width  # exactly 0, without rounding error
    return Interval(low, 1.0 if successes == trials else centre + half_width)


def only_right(first: Bool[np.ndarray, "images"], second: Bool[np.ndarray, "images"]) -> tuple[int, int]:
    """Counts the images that only the first, and only the second classifier has right, given what each has right."""
    return int(np.sum(first & ~second)), int(np.sum(second & ~first))


def mcnemar(only_first: int, only_second: int) -> float:
    """Returns the two-sided p-value of the exact McNemar test, which compares two classifiers on the same images.

    Q. McNemar, *Note on the sampling error of the difference between correlated proportions or percentages*,
    Psychometrika 12 (1947). The arguments count the images that only one of the two has right.
    """
    discordant = only_first + only_second
    return min(1.0, 2 * float(special.bdtr(min(only_first, only_second), discordant, 0.5)))


def paired_interval(only_first: float, only_second: float, images: float) -> Interval:
    """Returns the 95 % interval of the difference of two classifiers' accuracies on the same images, in [-1, 1].

    It is the adjusted Wald interval of D. G. Bonett and R. M. Price, *Adjusted Wald confidence interval for a
    difference of binomial proportions based on paired data*, Journal of Educational and Behavioral Statistics 37
    (2012), which is also valid for few images. It rarely disagrees with ``mcnemar``, which decides whether a difference
    is significant.

    Args:
        only_first: the images that only the first classifier has right; its accuracy is the minuend.
        only_second: the images that only the second has right.
        images: all images, at least 1. Effective numbers (``clustered``) need not be whole.
    """
    quantile = float(special.ndtri((1 + CONFIDENCE) / 2))
    first, second = ((only + 1) / (images + 2) for only in (only_first, only_second))
    difference = first - second
    half_width = quantile * math.sqrt((first + second - difference**2) / (images + 2))
    return Interval(max(difference - half_width, -1.0), min(difference + half_width, 1.0))


def is_significant(p_value: float) -> bool:
    """Whether a difference with this p-value is called significant."""
    return p_value < 1 - CONFIDENCE


def is_unbalanced(largest: float, classes: int) -> bool:
    """Whether classes differ much in size, given the share of the largest one."""
    return largest * classes >= UNBALANCED


def decimals(images: int) -> int:
    """Returns how many decimals of a percentage are meaningful, given the number of images that it was measured on.

    0 for up to 100 images, 1 for up to 1,000, and 2 for more: one image changes the last digit by at least 1.
    """
    return sum(images > bound for bound in (100, 1000))


def percent(share: float, images: int) -> str:
    """Formats an accuracy measured on this many images: ``83.5%`` for 697 images."""
    return f"{100 * share:.{decimals(images)}f}%"


def points(difference: float, images: int) -> str:
    """Formats a difference of two accuracies in percentage points: ``+1.6`` for 697 images."""
    return f"{100 * difference:+z.{decimals(images)}f}"


def p_in_words(p_value: float) -> str:
    """Formats a p-value as ``p = 0.03`` or ``p < 0.001``."""
    return f"p = {p_value:.2g}" if p_value >= 0.001 else "p < 0.001"
