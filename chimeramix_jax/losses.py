"""The generator's and discriminator's losses (method of the paper, §3; settings as in the released program)."""

import functools

import jax.numpy as jnp
from jaxtyping import Array, Float

from chimeramix_jax.models.layers import reflect_pad

_BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # the 5x5 kernel /256 is this one's outer product with itself
_LEVELS = 3


def _blur(images: Float[Array, "batch height width channels"]) -> Float[Array, "batch height width channels"]:
    """Blurs with the 5x5 binomial kernel and reflect padding: two sums of shifted images, fast on every backend."""
    padded = reflect_pad(images, 2)
    height, width = images.shape[1:3]
    rows = functools.reduce(jnp.add, [weight * padded[:, i : i + height] for i, weight in enumerate(_BINOMIAL)])
    return functools.reduce(jnp.add, [weight * rows[:, :, j : j + width] for j, weight in enumerate(_BINOMIAL)])


def _double(images: Float[Array, "batch height width channels"]) -> Float[Array, "batch 2*height 2*width channels"]:
    """Doubles the side: zeros between the pixels, then four times the blur."""
    batch, height, width, channels = images.shape
    spread = jnp.pad(images[:, :, None, :, None], ((0, 0), (0, 0), (0, 1), (0, 0), (0, 1), (0, 0)))
    return 4 * _blur(spread.reshape(batch, 2 * height, 2 * width, channels))


def laplacian_pyramid(
    images: Float[Array, "batch height width channels"], levels: int = _LEVELS
) -> list[Float[Array, "batch level_height level_width channels"]]:
    """Band-pass levels of the images, finest first; each has half the side of the one before.

    Height and width must be multiples of ``2**levels``, so that the coarsest level, too, can be halved and doubled.
    """
    pyramid = []
    for _ in range(levels):
        smaller = _blur(images)[:, ::2, ::2]
        pyramid.append(images - _double(smaller))
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
