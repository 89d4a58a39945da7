"""How sure a share of test images is."""

from typing import NamedTuple

from scipy import stats

from chimeramix_jax.reporting.statistics import CONFIDENCE


class Interval(NamedTuple):
    """From where to where a share may lie."""

    low: float
    high: float


def wilson_interval(successes: int, trials: int) -> Interval:
    """The 95 % interval of Wilson's score for a binomial share, which also serves close to 0 and 1."""
    bounds = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(float(bounds.low), float(bounds.high))
