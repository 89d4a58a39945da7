"""How far figures may be off: means over a few seeds, shares of a few images, and differences between two shares."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool
from scipy import special

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """From where to where a share may lie."""

    low: float
    high: float


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: of the values.
        standard_deviation: of the values, with n - 1 in the denominator; None for a single one.
        interval: Student's 95 % confidence interval of the mean; None for a single value.
        count: number of values.
    """

    mean: float
    standard_deviation: float | None
    interval: tuple[float, float] | None
    count: int

    def within(self, low: float, high: float) -> "Estimate":
        """The same with its interval cut off at the bounds of what is possible, which Student's knows nothing of."""
        if self.interval is None:
            return self
        return replace(self, interval=(max(self.interval[0], low), min(self.interval[1], high)))


def estimate(values: Sequence[float]) -> Estimate:
    """Returns mean, sample standard deviation and 95 % interval of at least one value.

    Raises:
        ValueError: there is none.
    """
    count = len(values)
    if not count:
        raise ValueError("no values: nothing to estimate")
    mean = float(np.mean(values))
    if count == 1:
        return Estimate(mean, None, None, count)
    deviation = float(np.std(values, ddof=1))
    quantile = float(special.stdtrit(count - 1, (1 + CONFIDENCE) / 2))  # as scipy.stats does, whose import takes long
    reach = quantile * deviation / math.sqrt(count)
    return Estimate(mean, deviation, (mean - reach, mean + reach), count)


def wilson_interval(successes: int, trials: int) -> Interval:
    """The 95 % interval of Wilson's score for a binomial share, which also serves close to 0 and 1.

    E. B. Wilson, *Probable inference, the law of succession, and statistical inference*, JASA 22 (1927). The same as
    ``scipy.stats.binomtest`` gives, whose import takes longer than a whole page.
    """
    quantile = float(special.ndtri((1 + CONFIDENCE) / 2))
    pulled = trials + quantile**2  # as if there were so many trials more, half of them successes
    centre = (successes + quantile**2 / 2) / pulled
    reach = quantile * math.sqrt(successes * (trials - successes) / trials + quantile**2 / 4) / pulled
    low = 0.0 if successes == 0 else centre - reach  # exactly
    return Interval(low, 1.0 if successes == trials else centre + reach)


def only_right(first: Bool[np.ndarray, "images"], second: Bool[np.ndarray, "images"]) -> tuple[int, int]:
    """Given which images two classifiers have right: how many the first alone has, and how many the second alone."""
    return int(np.sum(first & ~second)), int(np.sum(second & ~first))


def mcnemar(only_first: int, only_second: int) -> float:
    """The p-value of McNemar's exact test: how likely two equally good classifiers differ so much on the same images.

    Q. McNemar, *Note on the sampling error of the difference between correlated proportions or percentages*,
    Psychometrika 12 (1947); exact by the binomial distribution, two-sided, as ``scipy.stats.binomtest`` is.

    Args:
        only_first: the images that the first classifier alone has right.
        only_second: those that the second alone has right.
    """
    differing = only_first + only_second
    return min(1.0, 2 * float(special.bdtr(min(only_first, only_second), differing, 0.5)))


def is_beyond_chance(p_value: float) -> bool:
    """Whether a difference of this p-value is called beyond chance."""
    return p_value < 1 - CONFIDENCE


def decimals(images: int) -> int:
    """How many decimals a percentage of so many images carries: its last digit is never worth less than an image.

    None for up to 100 images, one for up to 1,000, and two for more.
    """
    return sum(images > bound for bound in (100, 1000))


def percent(share: float, images: int) -> str:
    """A share of so many images as text: ``83.5%`` of 697."""
    return f"{100 * share:.{decimals(images)}f}%"


def points(difference: float, images: int) -> str:
    """A difference of two shares of so many images, in percentage points: ``+1.6`` of 697."""
    return f"{100 * difference:+.{decimals(images)}f}"


def p_in_words(p_value: float) -> str:
    """``p = 0.03``, or ``p < 0.001``."""
    return f"p = {p_value:.2g}" if p_value >= 0.001 else "p < 0.001"
