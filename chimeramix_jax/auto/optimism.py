"""Corrects the accuracy of a recipe for having been chosen by it.

The best of several recipes is partly the best because the images at hand suited it. BBC-CV (I. Tsamardinos, E.
Greasidou and G. Borboudakis, *Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation*,
Machine Learning 107, 2018) repeats the choice on images drawn with replacement, and expects of the chosen recipe the
mean accuracy on the images that were not drawn. It needs no further training, as the predictions of all recipes are
known.

A comparison of recipes that an earlier one left over is not the whole choice: those recipes were the best on some of
the same images before, and the predictions of the others are missing. BBC-CV alone may then stay too high. The accuracy
inside the bootstrap samples is more optimistic than the measured one, since an image may be drawn several times, and
subtracting the gap between inside and outside is our own reserve for such a choice. In the simulations of
``tests/auto/test_optimism.py`` it leaves at most 1.5 points too little, and nothing too much beyond chance.

If all others of the last comparison diverge, nothing is left to compare there, but the recipe that remains may have
been the best rival of the first one in an earlier comparison. ``optimism_of_remaining`` repeats that one. Only samples
in which it is won by this recipe count, and what is compared is its later predictions inside and outside the sample,
since only these are measured.

Images that belong together, such as several photos of one object, are drawn or left out together: predictions of an
object say little about one another's chance, and drawing them one by one would make the choice look far safer than it
is.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int64, Shaped

from chimeramix_jax.auto.preference import ranked, winners
from chimeramix_jax.reporting.clustered import numbers_of

SAMPLES = 1000

EXPLANATION = (
    "The recipe was chosen by its accuracy on these images, which is therefore too high. What is subtracted comes from "
    f"repeating the choice on {SAMPLES} bootstrap samples of the images: the chosen recipe does worse on images "
    "outside the sample."
)


def optimism(
    correct: Bool[np.ndarray, "recipes images"],
    *,
    preselected: bool,
    units: Sequence[str] | None = None,
    seed: int = 0,
) -> float:
    """Returns by how much the preferred recipe's accuracy is too high on average, at least 0; 0 for a single recipe.

    Args:
        correct: whether each recipe predicts each image correctly, by a model that has not seen the image; the first
            one is preferred (``preference``).
        preselected: whether other recipes were left out before, by their accuracy on some of these images.
        units: the name of each image, the same for images that belong together (``data/kept_together.py``); None: none
            do.
        seed: the seed of the bootstrap samples.
    """
    unit_of_each, drawn = _samples(correct.shape[1], units, seed)
    if len(correct) < 2 or not len(drawn):
        return 0.0
    of_images = drawn[:, unit_of_each]
    inside, outside = _accuracies(correct, of_images), _accuracies(correct, of_images == 0)
    best = winners(correct, unit_of_each, drawn)
    rows = np.arange(len(best))
    apparent = np.mean(inside[rows, best]) if preselected else np.mean(correct[ranked(correct, units)[0]])
    return max(float(apparent - np.mean(outside[rows, best])), 0.0)


def optimism_of_remaining(
    correct: Bool[np.ndarray, "recipes images"],
    remaining: int,
    later: Bool[np.ndarray, "images"],
    *,
    units: Sequence[str] | None = None,
    seed: int = 0,
) -> float:
    """Returns by how much a recipe's later accuracy is too high because it was the best before, at least 0.

    Args:
        correct: whether each recipe predicted each image correctly when they were compared, without the first one,
            which is kept whatever its accuracy.
        remaining: the place of the recipe in ``correct`` that was the best of them.
        later: whether it predicts the same images correctly after another training, in which nothing was left to
            compare it with.
        units: as for ``optimism``.
        seed: the seed of the bootstrap samples.
    """
    unit_of_each, of_units = _samples(correct.shape[1], units, seed)
    drawn = of_units[:, unit_of_each]
    won = drawn[np.argmax(_accuracies(correct, drawn), axis=1) == remaining]
    if len(correct) < 2 or not len(won):
        return 0.0
    inside, outside = (np.mean(_accuracies(later[np.newaxis], weights)) for weights in (won, won == 0))
    return max(float(inside - outside), 0.0)


def _samples(
    images: int, units: Sequence[str] | None, seed: int
) -> tuple[Int64[np.ndarray, "images"], Int64[np.ndarray, "samples units"]]:
    """Returns the unit of each image, and how often each unit is in each bootstrap sample, which never has all."""
    unit_of_each = np.arange(images) if units is None else numbers_of(units)
    number = len(set(unit_of_each.tolist()))
    drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=SAMPLES)
    return unit_of_each, drawn[np.any(drawn == 0, axis=1)]


def _accuracies(
    correct: Bool[np.ndarray, "recipes images"], weights: Shaped[np.ndarray, "samples images"]
) -> Float[np.ndarray, "samples recipes"]:
    """Returns the accuracy of each recipe on each sample of images, given how often each image is in it."""
    weights = weights.astype(float)
    return weights @ correct.T.astype(float) / weights.sum(axis=1, keepdims=True)
