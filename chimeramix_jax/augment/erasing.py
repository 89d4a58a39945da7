"""Cutout and Random Erasing: augmentations that erase a rectangle of each image, on the device."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

ATTEMPTS = 100  # rectangles drawn for an image before it is left unchanged, as in the released program


def cutout(
    key: PRNGKeyArray, images: Float[Array, "batch height width 3"], side: int
) -> Float[Array, "batch height width 3"]:
    """Sets one square of each image to zero, which is mid-grey for images in [-1, 1] (DeVries & Taylor, 2017).

    The centre of the square is drawn uniformly from the pixels, independently for each image. The square begins
    ``side // 2`` pixels before the centre and ends just before ``side // 2`` pixels after it, so an odd ``side`` acts
    like ``side - 1``. It is clipped at the image's border.
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
    """Fills one rectangle of each image with noise, independently for each image (Zhong et al., 2020).

    Args:
        key: the source of all random numbers.
        images: in [-1, 1].
        probability: of changing an image at all.
        area: range of the rectangle's share of the image, drawn uniformly.
        aspect: range of height divided by width, drawn uniformly as in the paper; torchvision draws its logarithm
            uniformly.

    A rectangle must be lower and narrower than the image: the first of ``ATTEMPTS`` draws that fits is used, and if
    none fits, the image is unchanged. The position is uniform. The noise is uniform in [-1, 1] (in [0, 1] before
    normalization) and independent for every pixel and channel.
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
    """Draws heights and widths; for each image, returns the first pair that fits into it, or 0 if none does."""
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
    """Returns masks of rectangles, whose top left corners are given, in images of ``shape`` (height, width)."""

    def within(starts, lengths, size):
        positions = jnp.arange(size) - starts[:, None]
        return (positions >= 0) & (positions < lengths[:, None])

    return (within(rows, heights, shape[0])[:, :, None] & within(columns, widths, shape[1])[:, None, :])[..., None]
