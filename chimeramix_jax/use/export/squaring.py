"""Crops and resizes images of any size inside an exported program, with the same pixels as Pillow.

Pillow resamples an axis with whole numbers: an output pixel is a sum of input pixels with weights in units of 2^-22,
rounded to a whole grey level. The weights of a bilinear, antialiased resize of a central square follow from the sizes
by whole numbers alone, so a program that knows them only at run time gets the same. Along each row comes first, then
along each column. Pillow 13 turns this round where the height plus ``side`` exceeds twice the width; the pixels of such
tall images may differ by one grey level, as they do between versions of Pillow.

With ``length`` pixels along an axis of which the central ``square`` are resized to ``side``, positions in units of
half an output pixel's share, ``1 / (2 side)`` of a pixel, are whole numbers. A triangle as wide as an output pixel's
share, or as two input pixels if that is more, has the height ``2 max(square, side)`` in these units.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt8

WEIGHT_BITS = 22  # Pillow's PRECISION_BITS for 8-bit images

_HALF_BITS = 11  # weights are computed and multiplied in two halves, so that float32 numbers hold them exactly
_HALF = 1 << _HALF_BITS


def squared(images: UInt8[Array, "batch height width 3"], side: int) -> UInt8[Array, "batch side side 3"]:
    """Crops the largest central square of each image and resizes it, as ``data.image_files.squared`` does.

    Height and width may be symbolic. The sums are exact, hence equal to Pillow's, while the square is at most 16 times
    as large as ``side``. Beyond that, rare pixels may differ by a grey level.
    """
    _, height, width, _ = images.shape
    square = jnp.minimum(jnp.asarray(height, jnp.int32), jnp.asarray(width, jnp.int32))
    places = (jnp.arange(length, dtype=jnp.int32) for length in (width, height))
    columns, rows = (_weights(of_axis, square, side) for of_axis in places)
    resized = _rounded(jnp.einsum("bhwc,wx->bhxc", images.astype(jnp.float32), columns, precision="highest"), 2)
    resized = _rounded(jnp.einsum("bhxc,hy->byxc", resized, rows, precision="highest"), 1)
    return resized.astype(jnp.uint8)


def _weights(places: Int[Array, "length"], square: Int[Array, ""], side: int) -> Float[Array, "length {2*side}"]:
    """Returns the weight of each pixel along an axis in each output pixel: first the upper halves, then the lower.

    ``places`` are the pixels' numbers, from 0.
    """
    outputs = jnp.arange(side, dtype=jnp.int32)[None]
    offset = side * (jnp.asarray(places.shape[0], jnp.int32) - square)  # of the square's first pixel
    distance = jnp.abs(side * (2 * places[:, None] + 1) - offset - (2 * outputs + 1) * square)
    heights = jnp.maximum(2 * jnp.maximum(square, side) - distance, 0)
    total = jnp.sum(heights, axis=0, keepdims=True)
    upper = heights * _HALF // total
    rest = heights * _HALF - upper * total
    lower = jnp.floor(rest.astype(jnp.float32) * _HALF / total.astype(jnp.float32) + 0.5)
    return jnp.concatenate([upper.astype(jnp.float32), lower], axis=1)


def _rounded(sums: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Returns the grey levels for sums of pixels times both halves of their weights, which follow along ``axis``."""
    upper, lower = jnp.split(sums, 2, axis)
    carried = jnp.floor((lower + (1 << (WEIGHT_BITS - 1))) / _HALF)
    return jnp.clip(jnp.floor((upper + carried) / _HALF), 0, 255)
