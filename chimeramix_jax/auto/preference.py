"""Which recipe a comparison prefers: the first one, unless another is ahead by more than a standard error.

The first recipe of the menu is the one that was the most accurate on average over our sets of photos. A comparison
knows the accuracies of a few dozen or hundred images only, so the best of several recipes is often the luckiest, and
recipes that learn fast are ahead in short trainings without being so at the end. So the first recipe is kept in every
comparison, and another has to be ahead of it by more than a standard error of the difference. On four sets of photos,
that hardly changed the final accuracy, and replaced the first recipe less often (``docs/results.md``, "How a choice
should divide its time").
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from chimeramix_jax.reporting.clustered import numbers_of

MARGIN = 1.0  # standard errors of the difference


def ranked(
    correct: Bool[np.ndarray, "recipes images"], units: Sequence[str] | None = None, margin: float = MARGIN
) -> list[int]:
    """Returns the places of the recipes, the preferred one first. The first two are the first recipe and its rival.

    Args:
        correct: whether each recipe predicts each image correctly.
        units: the name of each image, the same for images that belong together (``data/kept_together.py``); None: none
            do.
        margin: the standard errors by which another recipe has to be ahead of the first one.
    """
    unit_of_each = np.arange(correct.shape[1]) if units is None else numbers_of(units)
    number = int(unit_of_each.max()) + 1
    (preferred,) = winners(correct, unit_of_each, np.ones((1, number)), margin)
    others = sorted(range(1, len(correct)), key=lambda place: -np.mean(correct[place]))
    if preferred == 0:
        return [0, *others]
    return [int(preferred), 0, *(place for place in others if place != preferred)]


def winners(
    correct: Bool[np.ndarray, "recipes images"],
    unit_of_each: Int64[np.ndarray, "images"],
    drawn: Shaped[np.ndarray, "samples units"],
    margin: float = MARGIN,
) -> Int64[np.ndarray, "samples"]:
    """Returns the place of the recipe that is preferred on each sample of units, given how often each is in it."""
    if len(correct) == 1:
        return np.zeros(len(drawn), np.int64)
    weights = drawn.astype(float)
    gains = _of_units(correct[1:].astype(float) - correct[0], unit_of_each, drawn.shape[1])
    sizes = np.bincount(unit_of_each, minlength=drawn.shape[1]).astype(float)
    images = weights @ sizes
    means = weights @ gains.T / images[:, np.newaxis]
    best, samples = np.argmax(means, axis=1), np.arange(len(weights))
    # The sum of (gain of a unit - mean gain of its images) squared, written out so that it is a product of matrices.
    squares = weights @ np.square(gains).T - 2 * means * (weights @ (gains * sizes).T)
    squares += np.square(means) * (weights @ np.square(sizes))[:, np.newaxis]
    number = weights.sum(axis=1, keepdims=True)
    errors = np.sqrt(np.maximum(squares, 0) * number / np.maximum(number - 1, 1e-9)) / images[:, np.newaxis]
    is_ahead = (means - margin * errors)[samples, best] > 1e-9
    return np.where(is_ahead, best + 1, 0)


def _of_units(
    gains: Float[np.ndarray, "recipes images"], unit_of_each: Int64[np.ndarray, "images"], units: int
) -> Float[np.ndarray, "recipes units"]:
    return np.stack([np.bincount(unit_of_each, weights=gain, minlength=units) for gain in gains])
