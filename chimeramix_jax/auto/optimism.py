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

Images that belong together, such as several photos of one object, are drawn or left out together: predictions of an
object say little about one another's chance, and drawing them one by one would make the choice look far safer than it
is.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

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
    """Returns by how much the best recipe's accuracy is too high on average, at least 0; 0 for a single recipe.

    Args:
        correct: whether each recipe predicts each image correctly, by a model that has not seen the image.
        preselected: whether other recipes were left out before, by their accuracy on some of these images.
        units: the name of each image, the same for images that belong together (``data/kept_together.py``); None: none
            do.
        seed: the seed of the bootstrap samples.
    """
    recipes, images = correct.shape
    unit_of_each = np.arange(images) if units is None else numbers_of(units)
    number = len(set(unit_of_each.tolist()))
    if recipes < 2 or number < 2:
        return 0.0
    drawn = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), size=SAMPLES)
    drawn = drawn[np.any(drawn == 0, axis=1)][:, unit_of_each]
    inside = _accuracies(correct, drawn.astype(float))
    outside = _accuracies(correct, (drawn == 0).astype(float))
    best = np.argmax(inside, axis=1)
    rows = np.arange(len(best))
    apparent = np.mean(inside[rows, best]) if preselected else np.mean(correct, axis=1).max()
    return max(float(apparent - np.mean(outside[rows, best])), 0.0)


def _accuracies(
    correct: Bool[np.ndarray, "recipes images"], weights: Float[np.ndarray, "samples images"]
) -> Float[np.ndarray, "samples recipes"]:
    """Returns the accuracy of each recipe on each sample of images, given how often each image is in it."""
    return weights @ correct.T.astype(float) / weights.sum(axis=1, keepdims=True)
