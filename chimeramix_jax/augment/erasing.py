"""Augmentation by erasing a rectangle of each image: Cutout and Random Erasing, on the device."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

ATTEMPTS = 100  # the released program's: so many rectangles are drawn for an image before it is left as it is


def cutout(
    key: PRNGKeyArray, images: Float[Array, "batch height width 3"], side: int
) -> Float[Array, "batch height width 3"]:
    """Sets one square of each image to zero, which is mid-grey for images in [-1, 1] (DeVries & Taylor, 2017).

    The square's centre is drawn uniformly from the image's pixels, each image for itself; it reaches from ``side // 2``
    pixels before the centre to just before ``side // 2`` pixels after it (so an odd ``side`` acts as ``side - 1``).
    What lies outside the image is cut off.
    """
    batch, height, width, _ = images.shape
    row_key, column_key = jax.random.split(key)
    rows = jax.random.randint(row_key, (batch,), 0, height) - side // 2
    columns = jax.random.randint(column_key, (batch,), 0, width) - side // 2
    extent = jnp.full((batch,), 2 * (side // 2))
    return jnp.where(_rectangles(rows, columns, extent, extent, (height, width)), 0, images)


def random_erasing(
    key: PRNGKeyArray,
    images: Float[Array, "batch height width 3"],
    probability: float = 0.5,
    area: tuple[float, float] = (0.02, 0.4),
    aspect: tuple[float, float] = (0.3, 1 / 0.3),
) -> Float[Array, "batch height width 3"]:
    """Fills one rectangle of each image with noise (Zhong et al., 2020); each image draws for itself.

    Args:
        key: everything is drawn from it.
        images: in [-1, 1].
        probability: of an image to be changed at all.
        area: least and greatest share of the image that the rectangle covers, drawn uniformly.
        aspect: least and greatest height divided by width, drawn uniformly as in the paper (torchvision draws its
            logarithm uniformly).

    A rectangle that would be as high or as wide as the image is drawn anew: the first of ``ATTEMPTS`` that fits is
    taken, and if none does, the image stays as it is. Its place is uniform. The noise is uniform in [-1, 1] (before
    normalising: in [0, 1]), for every pixel and channel anew.
    """
    batch, height, width, _ = images.shape
    chance_key, size_key, row_key, column_key, noise_key = jax.random.split(key, 5)
    heights, widths = _fitting_sizes(size_key, images.shape, area, aspect)
    rows = jax.random.randint(row_key, (batch,), 0, height - heights + 1)
    columns = jax.random.randint(column_key, (batch,), 0, width - widths + 1)
    chosen = jax.random.bernoulli(chance_key, probability, (batch, 1, 1, 1))
    erased = chosen & _rectangles(rows, columns, heights, widths, (height, width))
    noise = jax.random.uniform(noise_key, images.shape, images.dtype, -1, 1)
    return jnp.where(erased, noise, images)


def _fitting_sizes(
    key: PRNGKeyArray, shape: tuple[int, ...], area: tuple[float, float], aspect: tuple[float, float]
) -> tuple[Int[Array, "batch"], Int[Array, "batch"]]:
    """Heights and widths: for each image of those drawn the first that fit into it, or 0 where none did."""
    batch, height, width, _ = shape
    area_key, aspect_key = jax.random.split(key)
    areas = height * width * jax.random.uniform(area_key, (ATTEMPTS, batch), minval=area[0], maxval=area[1])
    aspects = jax.random.uniform(aspect_key, (ATTEMPTS, batch), minval=aspect[0], maxval=aspect[1])
    heights = jnp.round(jnp.sqrt(areas * aspects)).astype(jnp.int32)
    widths = jnp.round(jnp.sqrt(areas / aspects)).astype(jnp.int32)
    fits = (heights < height) & (widths < width)
    first = jnp.argmax(fits, axis=0), jnp.arange(batch)
    return jnp.where(fits, heights, 0)[first], jnp.where(fits, widths, 0)[first]


def _rectangles(
    rows: Int[Array, "batch"],
    columns: Int[Array, "batch"],
    heights: Int[Array, "batch"],
    widths: Int[Array, "batch"],
    shape: tuple[int, int],
) -> Bool[Array, "batch height width 1"]:
    """Where an image of ``shape`` lies in the rectangle whose top left pixel is at its ``rows`` and ``columns``."""

    def within(starts, lengths, size):
        positions = jnp.arange(size) - starts[:, None]
        return (positions >= 0) & (positions < lengths[:, None])

    return (within(rows, heights, shape[0])[:, :, None] & within(columns, widths, shape[1])[:, None, :])[..., None]
