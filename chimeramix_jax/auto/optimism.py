"""Corrects the accuracy of a recipe for having been chosen by it.

The best of several recipes is partly the best because the images at hand suited it. The bootstrap of BBC-CV
(I. Tsamardinos, E. Greasidou and G. Borboudakis, *Bootstrapping the out-of-sample predictions for efficient and
accurate cross-validation*, Machine Learning 107, 2018) repeats the choice on images drawn with replacement and looks at
the images that were not drawn. It needs no further training, as the predictions of all recipes are known.

The choice that is repeated is that of the last rung. In simulations (``tests/auto/test_optimism.py``), this corrects
for the first rung, too, although that looked at some of the same images: the corrected accuracy is rather too low.
"""

import numpy as np
from jaxtyping import Bool, Float

SAMPLES = 1000

EXPLANATION = (
    "The recipe was chosen by its accuracy on these images, which is therefore too high: when the choice is repeated "
    f"on {SAMPLES} bootstrap samples of the images, the chosen recipe does worse outside the sample than inside, on "
    "average by what is subtracted."
)


def optimism(correct: Bool[np.ndarray, "recipes images"], seed: int = 0) -> float:
    """Returns by how much the best recipe's accuracy is too high on average, at least 0; 0 for a single recipe.

    Args:
        correct: whether each recipe predicts each image correctly, by a model that has not seen the image.
        seed: the seed of the bootstrap samples.
    """
    recipes, images = correct.shape
    if recipes < 2 or images < 2:
        return 0.0
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=SAMPLES)
    drawn = drawn[np.any(drawn == 0, axis=1)]
    inside = _accuracies(correct, drawn.astype(float))
    outside = _accuracies(correct, (drawn == 0).astype(float))
    best = np.argmax(inside, axis=1)
    rows = np.arange(len(best))
    return max(float(np.mean(inside[rows, best] - outside[rows, best])), 0.0)


def _accuracies(
    correct: Bool[np.ndarray, "recipes images"], weights: Float[np.ndarray, "samples images"]
) -> Float[np.ndarray, "samples recipes"]:
    """Returns the accuracy of each recipe on each sample of images, given how often each image is in it."""
    return weights @ correct.T.astype(float) / weights.sum(axis=1, keepdims=True)
