"""How far a classifier's probabilities are from the truth: reliability bins, their error, and what chance explains.

The probability of the predicted class is called the confidence. A classifier is calibrated if, of all images with a
confidence of 80 %, 80 % are classified correctly. The expected calibration error is the mean difference of confidence
and accuracy over bins of similar confidence, weighted by their numbers of images (M. P. Naeini, G. F. Cooper and
M. Hauskrecht, *Obtaining well calibrated probabilities using Bayesian binning*, AAAI 2015; 15 bins of equal width, as
in C. Guo et al., *On calibration of modern neural networks*, ICML 2017).

On few images, it is far from zero even for a calibrated classifier, because the accuracy in a bin varies by chance. So
it comes with what chance alone would give (consistency resampling: J. Bröcker and L. A. Smith, *Increasing the
reliability of reliability diagrams*, Weather and Forecasting 22, 2007).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from chimeramix_jax.reporting.statistics import Interval, wilson_interval

MOST_BINS = 15
IMAGES_PER_BIN = 20  # with fewer than this for each of ``MOST_BINS``, there are fewer bins, of equal numbers of images
THRESHOLDS = (0.0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)  # of the table of rejection

_DRAWS = 1000
_DRAWS_AT_ONCE = 50  # bounds the memory
_QUANTILE = 0.95


@dataclass(frozen=True)
class Bin:
    """Images of similar confidence; shares are in [0, 1]."""

    low: float  # the bounds of their confidences
    high: float
    images: int
    confidence: float  # the mean
    accuracy: float
    interval: Interval  # of the accuracy


@dataclass(frozen=True)
class Calibration:
    """A classifier's calibration on some images; shares are in [0, 1]."""

    error: float  # the expected calibration error
    error_by_chance: float  # what 95 % of calibrated classifiers with these confidences stay below
    confidence: float  # the mean over all images
    accuracy: float
    bins: list[Bin]


@dataclass(frozen=True)
class Rejection:
    """What remains if images below a threshold are not answered; shares are in [0, 1]."""

    threshold: float
    answered: int
    share: float  # of all images
    right: int
    accuracy: float | None  # of the answered images; None if there are none
    interval: Interval | None


def calibration(
    confidences: Float[np.ndarray, "examples"], right: Bool[np.ndarray, "examples"], seed: int = 0
) -> Calibration:
    """Measures the calibration on at least one image.

    Args:
        confidences: the probability of each image's predicted class.
        right: whether the prediction is correct.
        seed: of the draws that show what chance explains.
    """
    numbers, bounds = _bins(confidences)
    counts = np.bincount(numbers, minlength=len(bounds))
    confident = np.bincount(numbers, weights=confidences, minlength=len(bounds))
    correct = np.bincount(numbers, weights=right, minlength=len(bounds))
    bins = [
        Bin(low, high, count, sum_of / count, hits / count, wilson_interval(round(hits), count))
        for (low, high), count, sum_of, hits in zip(
            bounds, counts.tolist(), confident.tolist(), correct.tolist(), strict=True
        )
        if count
    ]
    error = float(np.sum(np.abs(correct - confident)) / len(right))
    by_chance = _error_by_chance(confidences, numbers, confident, seed)
    return Calibration(error, by_chance, float(np.mean(confidences)), float(np.mean(right)), bins)


def rejections(
    confidences: Float[np.ndarray, "examples"],
    right: Bool[np.ndarray, "examples"],
    thresholds: Sequence[float] = THRESHOLDS,
) -> list[Rejection]:
    """Returns what is answered, and how well, if confidences below each threshold are rejected."""
    rows = []
    for threshold in thresholds:
        answered = confidences >= threshold
        count, hits = int(np.sum(answered)), int(np.sum(right & answered))
        accuracy, interval = (hits / count, wilson_interval(hits, count)) if count else (None, None)
        rows.append(Rejection(threshold, count, count / len(right), hits, accuracy, interval))
    return rows


def _bins(
    confidences: Float[np.ndarray, "examples"],
) -> tuple[Int[np.ndarray, "examples"], list[tuple[float, float]]]:
    """Returns the bin of each image, and the bounds of each bin."""
    if len(confidences) >= MOST_BINS * IMAGES_PER_BIN:
        edges = np.linspace(0, 1, MOST_BINS + 1)
        numbers = np.clip(np.ceil(confidences * MOST_BINS).astype(np.int64) - 1, 0, MOST_BINS - 1)
        return numbers, list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
    parts = np.array_split(np.argsort(confidences, kind="stable"), max(len(confidences) // IMAGES_PER_BIN, 1))
    numbers = np.empty(len(confidences), np.int64)
    for number, part in enumerate(parts):
        numbers[part] = number
    return numbers, [(float(confidences[part[0]]), float(confidences[part[-1]])) for part in parts]


def _error_by_chance(
    confidences: Float[np.ndarray, "examples"],
    numbers: Int[np.ndarray, "examples"],
    confident: Float[np.ndarray, "bins"],
    seed: int,
) -> float:
    """Returns the calibration error that is exceeded in 5 % of draws in which every confidence is the truth."""
    random = np.random.default_rng(seed)
    member = (numbers[:, None] == np.arange(len(confident))).astype(np.float32)
    errors = []
    for _ in range(_DRAWS // _DRAWS_AT_ONCE):
        drawn = random.random((_DRAWS_AT_ONCE, len(confidences)), np.float32) < confidences
        errors.append(np.sum(np.abs(drawn.astype(np.float32) @ member - confident), axis=1))
    return float(np.quantile(np.concatenate(errors), _QUANTILE) / len(confidences))
