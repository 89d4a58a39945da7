"""How sure a share of test images is."""

import math
from typing import NamedTuple

from scipy import special

from chimeramix_jax.reporting.statistics import CONFIDENCE


class Interval(NamedTuple):
    """From where to where a share may lie."""

    low: float
    high: float


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
