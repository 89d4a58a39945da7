"""The losses of generator and discriminator (section 3 of the paper; constants as in the released program)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # its outer product with itself is the 5x5 kernel /256
_LEVELS = 3


def _blurring(side: int) -> np.ndarray:
    """Returns the matrix that blurs along a side, given in pixels, by the binomial kernel with reflect padding."""
    padded = np.pad(np.eye(side), ((2, 2), (0, 0)), mode="reflect")
    return np.sum([weight * padded[place : place + side] for place, weight in enumerate(_BINOMIAL)], axis=0)


def _halving(side: int) -> np.ndarray:
    """Returns the matrix that blurs along a side and keeps every other pixel."""
    return _blurring(side)[::2]


def _doubling(side: int) -> np.ndarray:
    """Returns the matrix that doubles a side: it inserts zeros between the pixels, then applies twice the blur."""
    return 2 * _blurring(2 * side)[:, ::2]


def _along_both_sides(
    matrix_of: Callable[[int], np.ndarray], images: Float[Array, "batch height width channels"]
) -> Float[Array, "batch new_height new_width channels"]:
    """Multiplies the columns and the rows of images by the matrix for their length."""
    rows, columns = (jnp.asarray(matrix_of(side), images.dtype) for side in images.shape[1:3])
    return jnp.einsum("ih,bhwc,jw->bijc", rows, images, columns, precision=jax.lax.Precision.HIGHEST)


def laplacian_pyramid(
    images: Float[Array, "batch height width channels"], levels: int = _LEVELS
) -> list[Float[Array, "batch level_height level_width channels"]]:
    """Returns band-pass levels of the images, finest first; each has half the side of the level before.

    Height and width must be multiples of ``2**levels``, so that even the coarsest level can be halved and doubled.
    """
    pyramid = []
    for _ in range(levels):
        smaller = _along_both_sides(_halving, images)
        pyramid.append(images - _along_both_sides(_doubling, smaller))
        images = smaller
    return pyramid


def laplacian_pyramid_loss(
    x: Float[Array, "batch height width channels"],
    y: Float[Array, "batch height width channels"],
    weights: Float[Array, "batch"] | None = None,
) -> Float[Array, ""]:
    """Returns the mean absolute difference between x and y, summed over three Laplacian pyramid levels.

    ``weights``, if given, weight the images in the mean.
    """
    # The pyramid is linear, so the difference of two pyramids is the pyramid of the difference.
    return sum((_mean(jnp.abs(level), weights) for level in laplacian_pyramid(x - y)), jnp.zeros((), x.dtype))


def reconstruction_loss(
    reconstructions: Float[Array, "batch height width channels"],
    images: Float[Array, "batch height width channels"],
    weights: Float[Array, "batch"] | None = None,
) -> Float[Array, ""]:
    """Returns the mean squared error."""
    return _mean(jnp.square(reconstructions - images), weights)


def least_squares_loss(
    scores: Float[Array, "batch height width 1"], target: float, weights: Float[Array, "batch"] | None = None
) -> Float[Array, ""]:
    """Returns the mean squared distance of scores from ``target``: 1 for real, 0 for fake (Mao et al., 2017)."""
    return _mean(jnp.square(scores - target), weights)


def _mean(values: Float[Array, "batch ..."], weights: Float[Array, "batch"] | None) -> Float[Array, ""]:
    """Returns the mean over everything; ``weights``, if given, weight the images."""
    if weights is None:
        return jnp.mean(values)
    per_image = jnp.mean(values.reshape(values.shape[0], -1), axis=1)
    return jnp.sum(per_image * weights) / jnp.sum(weights)
