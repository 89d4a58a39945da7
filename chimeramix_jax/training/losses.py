"""The generator's and discriminator's losses (method of the paper, §3; settings as in the released program)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # the 5x5 kernel /256 is this one's outer product with itself
_LEVELS = 3


def _blurring(side: int) -> np.ndarray:
    """The matrix that blurs along a side of so many pixels, with the binomial kernel and reflect padding."""
    padded = np.pad(np.eye(side), ((2, 2), (0, 0)), mode="reflect")
    return np.sum([weight * padded[place : place + side] for place, weight in enumerate(_BINOMIAL)], axis=0)


def _halving(side: int) -> np.ndarray:
    """The matrix that blurs a side and keeps every other pixel."""
    return _blurring(side)[::2]


def _doubling(side: int) -> np.ndarray:
    """The matrix that doubles a side: zeros between the pixels, then twice the blur."""
    return 2 * _blurring(2 * side)[:, ::2]


def _along_both_sides(
    matrix_of: Callable[[int], np.ndarray], images: Float[Array, "batch height width channels"]
) -> Float[Array, "batch new_height new_width channels"]:
    """Multiplies the columns and the rows of images with the matrix for their length."""
    rows, columns = (jnp.asarray(matrix_of(side), images.dtype) for side in images.shape[1:3])
    return jnp.einsum("ih,bhwc,jw->bijc", rows, images, columns, precision=jax.lax.Precision.HIGHEST)


def laplacian_pyramid(
    images: Float[Array, "batch height width channels"], levels: int = _LEVELS
) -> list[Float[Array, "batch level_height level_width channels"]]:
    """Band-pass levels of the images, finest first; each has half the side of the one before.

    Height and width must be multiples of ``2**levels``, so that the coarsest level, too, can be halved and doubled.
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
    """Sum over three Laplacian pyramid levels of the mean absolute difference between x and y.

    With ``weights``, the mean over the images is weighted by them.
    """
    # The pyramid is linear, so the difference of two pyramids is the pyramid of the difference.
    return sum((_mean(jnp.abs(level), weights) for level in laplacian_pyramid(x - y)), jnp.zeros((), x.dtype))


def reconstruction_loss(
    reconstructions: Float[Array, "batch height width channels"],
    images: Float[Array, "batch height width channels"],
    weights: Float[Array, "batch"] | None = None,
) -> Float[Array, ""]:
    """Mean squared error."""
    return _mean(jnp.square(reconstructions - images), weights)


def least_squares_loss(
    scores: Float[Array, "batch height width 1"], target: float, weights: Float[Array, "batch"] | None = None
) -> Float[Array, ""]:
    """Mean squared distance of scores from ``target``: 1 for real, 0 for fake (Mao et al., 2017)."""
    return _mean(jnp.square(scores - target), weights)


def _mean(values: Float[Array, "batch ..."], weights: Float[Array, "batch"] | None) -> Float[Array, ""]:
    """Mean over everything, the images weighted where weights are given."""
    if weights is None:
        return jnp.mean(values)
    per_image = jnp.mean(values.reshape(values.shape[0], -1), axis=1)
    return jnp.sum(per_image * weights) / jnp.sum(weights)
