"""What a few seeds say of all seeds: mean, spread, and how far off the mean may be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

CONFIDENCE = 0.95


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
