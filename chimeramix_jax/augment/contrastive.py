"""The augmentation of contrastive pretraining: random resized crops, mirroring, and changes of colour, on the device.

Chen et al., *A simple framework for contrastive learning of visual representations*, ICML 2020 (SimCLR), appendix A, as
they set it for CIFAR-10 in appendix B.9: colour strength 0.5 and no blur.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

AREA = (0.08, 1.0)  # share of the image that a crop shows, drawn uniformly
ASPECT = (3 / 4, 4 / 3)  # width over height of a crop; its logarithm is drawn uniformly
COLOUR_PROBABILITY, GREY_PROBABILITY = 0.8, 0.2
STRENGTH = 0.4  # brightness, contrast and saturation are multiplied by a factor from 1 - STRENGTH to 1 + STRENGTH
LARGEST_HUE_SHIFT = 0.1  # share of the colour circle, in either direction
_LUMA = (0.299, 0.587, 0.114)


def contrastive_views(
    key: PRNGKeyArray, images: UInt8[Array, "batch side side 3"], *, mirror: bool
) -> Float[Array, "batch side side 3"]:
    """Returns a newly drawn view of every image.

    The source changes brightness, contrast, saturation and hue in random order; here the order is always this one. A
    crop that would be wider or higher than the image ends at its border; torchvision draws such crops again.

    Args:
        key: the source of all random numbers.
        images: in 0..255.
        mirror: whether half of the views are mirrored, as in the source. Not for images like digits, which mean
            something else then: a network that is to ignore mirroring cannot tell them apart.

    Returns:
        The views, in [-1, 1].
    """
    crop_key, flip_key, colour_key, grey_key = jax.random.split(key, 4)
    views = _random_resized_crops(crop_key, images.astype(jnp.float32) / 255)
    if mirror:
        flipped = jax.random.bernoulli(flip_key, 0.5, (len(images), 1, 1, 1))
        views = jnp.where(flipped, views[:, :, ::-1], views)
    views = _with_changed_colours(colour_key, views)
    to_grey = jax.random.bernoulli(grey_key, GREY_PROBABILITY, (len(images), 1, 1, 1))
    return 2 * jnp.where(to_grey, _grey(views), views) - 1


def _random_resized_crops(
    key: PRNGKeyArray, images: Float[Array, "batch side side 3"]
) -> Float[Array, "batch side side 3"]:
    """Returns a random part of each image, enlarged bilinearly to the whole side."""
    area_key, aspect_key, row_key, column_key = jax.random.split(key, 4)
    count = (len(images),)
    area = jax.random.uniform(area_key, count, minval=AREA[0], maxval=AREA[1])
    aspect = jnp.exp(jax.random.uniform(aspect_key, count, minval=math.log(ASPECT[0]), maxval=math.log(ASPECT[1])))
    heights, widths = (jnp.minimum(jnp.sqrt(size), 1) for size in (area / aspect, area * aspect))
    rows = _interpolation(jax.random.uniform(row_key, count) * (1 - heights), heights, images.shape[1])
    columns = _interpolation(jax.random.uniform(column_key, count) * (1 - widths), widths, images.shape[2])
    return jnp.einsum("byh,bhwc,bxw->byxc", rows, images, columns, precision=jax.lax.Precision.HIGHEST)


def _interpolation(
    starts: Float[Array, "batch"], lengths: Float[Array, "batch"], side: int
) -> Float[Array, "batch side side"]:
    """Returns the weights of an axis's pixels in each pixel of a crop; starts and lengths are shares of the side."""
    centres = (starts[:, None] + lengths[:, None] * (jnp.arange(side) + 0.5) / side) * side - 0.5
    centres = jnp.clip(centres, 0, side - 1)  # beyond the border, the outermost pixel continues
    return jnp.maximum(0, 1 - jnp.abs(centres[:, :, None] - jnp.arange(side)))


def _with_changed_colours(
    key: PRNGKeyArray, images: Float[Array, "batch side side 3"]
) -> Float[Array, "batch side side 3"]:
    """Changes the colours of most images, each by factors and a shift of its own; values are in [0, 1]."""
    chance_key, factor_key, hue_key = jax.random.split(key, 3)
    each = (len(images), 1, 1, 1)
    brightness, contrast, saturation = jax.random.uniform(
        factor_key, (3, *each), minval=1 - STRENGTH, maxval=1 + STRENGTH
    )
    changed = jnp.clip(images * brightness, 0, 1)
    mean = jnp.mean(_grey(changed), axis=(1, 2, 3), keepdims=True)
    changed = jnp.clip(mean + contrast * (changed - mean), 0, 1)
    changed = jnp.clip(_grey(changed) + saturation * (changed - _grey(changed)), 0, 1)
    shift = jax.random.uniform(hue_key, each, minval=-LARGEST_HUE_SHIFT, maxval=LARGEST_HUE_SHIFT)
    changed = shifted_hues(changed, shift)
    return jnp.where(jax.random.bernoulli(chance_key, COLOUR_PROBABILITY, each), changed, images)


def _grey(images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height width 1"]:
    return jnp.sum(images * jnp.array(_LUMA), axis=-1, keepdims=True)


def shifted_hues(
    images: Float[Array, "batch height width 3"], shift: Float[Array, "#batch 1 1 1"]
) -> Float[Array, "batch height width 3"]:
    """Turns the hue of every pixel, leaving its saturation and value (HSV) as they are.

    Args:
        images: in [0, 1].
        shift: share of the colour circle; 1/3 turns red into green.
    """
    red, green, blue = (images[..., channel] for channel in range(3))
    value, least = jnp.max(images, axis=-1), jnp.min(images, axis=-1)
    chroma = value - least
    divisor = jnp.where(chroma > 0, chroma, 1)
    sixths = jnp.where(
        value == red,
        (green - blue) / divisor,
        jnp.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    sixths = sixths + 6 * shift[..., 0]
    distances = jnp.stack([(offset + sixths) % 6 for offset in (5, 3, 1)], axis=-1)
    kept = jnp.clip(jnp.minimum(distances, 4 - distances), 0, 1)
    return value[..., None] - chroma[..., None] * kept
