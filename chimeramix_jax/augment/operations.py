"""The operations of AutoAugment and TrivialAugment, on the device, with a different operation for each image.

They are defined by Pillow (``Image.transform``, ``ImageOps``, ``ImageEnhance``) as torchvision's ``AutoAugment`` and
``TrivialAugmentWide`` call it by default: nearest neighbour, black outside the image.

A batched switch over operations would run every branch for every image. Instead there are three passes. Each computes a
family of operations and leaves other images unchanged: ``_warp`` moves pixels, ``_remap`` looks up grey levels in a
table, ``_enhance`` blends with a degenerate image.
"""

import enum
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped, UInt8

from chimeramix_jax.runtime import backend


class Operation(enum.IntEnum):
    """The codes of the operations. Comments give the meaning of the magnitude; operations without one ignore it."""

    IDENTITY = 0
    SHEAR_X = 1  # shift of each row to the left, relative to the row above, in pixels; the top edge is fixed
    SHEAR_Y = 2  # upward shift of each column, relative to the column on its left, in pixels; the left edge is fixed
    TRANSLATE_X = 3  # pixels to the right, truncated
    TRANSLATE_Y = 4  # pixels down, truncated
    ROTATE = 5  # degrees counterclockwise about the centre
    BRIGHTNESS = 6  # here and below: -1 gives the degenerate image (see _enhance), 0 the image, 1 extrapolates
    COLOR = 7
    CONTRAST = 8
    SHARPNESS = 9
    POSTERIZE = 10  # bits kept, 1 to 8
    SOLARIZE = 11  # the lowest grey level that is inverted
    AUTO_CONTRAST = 12
    EQUALIZE = 13
    INVERT = 14


def apply(
    images: UInt8[Array, "batch height width 3"], operations: Int[Array, "batch"], magnitudes: Float[Array, "batch"]
) -> UInt8[Array, "batch height width 3"]:
    """Applies to each image its own operation at its own magnitude (see ``Operation``)."""
    return jax.vmap(_apply)(images, operations, magnitudes)


def warp_labels(
    labels: Int[Array, "batch height width"],
    operations: Int[Array, "batch"],
    magnitudes: Float[Array, "batch"],
    outside: int,
) -> Int[Array, "batch height width"]:
    """Moves the labels of pixels like ``apply`` moves the pixels; places beyond the image get the label ``outside``."""
    return jax.vmap(partial(_warp, outside=outside))(labels, operations, magnitudes)


def _apply(
    image: UInt8[Array, "height width 3"], operation: Int[Array, ""], magnitude: Float[Array, ""]
) -> UInt8[Array, "height width 3"]:
    for change in (_warp, _remap, _enhance):
        image = change(image, operation, magnitude)
    return image


def _warp(
    image: Shaped[Array, "height width ..."],
    operation: Int[Array, ""],
    magnitude: Float[Array, ""],
    outside: int = 0,
) -> Shaped[Array, "height width ..."]:
    """Shears, translates or rotates: an affine map gives each pixel's source position, rounded to the nearest pixel."""
    height, width = image.shape[:2]

    def amount(candidate: Operation) -> Float[Array, ""]:
        return jnp.where(operation == candidate, magnitude, 0)

    angle = jnp.radians(amount(Operation.ROTATE))
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    x_per_row, y_per_column = amount(Operation.SHEAR_X) - sine, amount(Operation.SHEAR_Y) + sine
    # A rotation fixes the centre; a shear fixes the corner, which needs no offset.
    x_offset = ((1 - cosine) * width + sine * height) / 2 - jnp.trunc(amount(Operation.TRANSLATE_X))
    y_offset = ((1 - cosine) * height - sine * width) / 2 - jnp.trunc(amount(Operation.TRANSLATE_Y))
    columns, rows = jnp.arange(width), jnp.arange(height)[:, None]
    x = _positions(cosine, columns, x_per_row, rows, x_offset)
    y = _positions(y_per_column, columns, cosine, rows, y_offset)
    return image.at[y, x].get(mode="fill", fill_value=outside, wrap_negative_indices=False)


def _positions(
    per_column: Float[Array, ""],
    columns: Int[Array, "width"],
    per_row: Float[Array, ""],
    rows: Int[Array, "height 1"],
    offset: Float[Array, ""],
) -> Int[Array, "height width"]:
    """Returns source positions along one axis: ``per_column * x + per_row * y + offset`` for pixel centres (x, y).

    Uses Pillow's 16-bit fixed point: a rotation by 45 degrees maps the centres of a whole diagonal exactly between two
    pixels, so the rounding decides which is used.
    """
    first = offset + (per_column + per_row) / 2
    across, down, start = (jnp.round(value * 2**16).astype(jnp.int32) for value in (per_column, per_row, first))
    return (across * columns + down * rows + start) >> 16


def _remap(
    image: UInt8[Array, "height width 3"], operation: Int[Array, ""], magnitude: Float[Array, ""]
) -> UInt8[Array, "height width 3"]:
    """Replaces grey levels by means of a table per channel."""
    levels = jnp.arange(256)[:, None]
    counts = jnp.zeros((256, 3), jnp.int32).at[image, jnp.arange(3)].add(1)
    tables: dict[Operation, Array] = {
        Operation.POSTERIZE: levels & (-256 >> magnitude.astype(jnp.int32)),
        Operation.SOLARIZE: jnp.where(levels < magnitude, levels, 255 - levels),
        Operation.AUTO_CONTRAST: _auto_contrast_table(levels, counts),
        Operation.EQUALIZE: _equalize_table(levels, counts),
        Operation.INVERT: 255 - levels,
    }
    chosen = jnp.select([operation == candidate for candidate in tables], list(tables.values()), levels)
    table = jnp.broadcast_to(jnp.clip(chosen, 0, 255).astype(jnp.uint8), (256, 3))
    if backend.uses_cpu_lowering():
        # Written to an array, entry by entry. XLA:CPU would compute the entry of every pixel anew instead.
        table = jnp.zeros_like(table).at[jnp.arange(256)].set(table, indices_are_sorted=True, unique_indices=True)
    return table[image, jnp.arange(3)]


def _auto_contrast_table(levels: Int[Array, "256 1"], counts: Int[Array, "256 3"]) -> Int[Array, "256 3"]:
    """Stretches each channel's levels linearly to 0..255; a channel with a single level is unchanged."""
    darkest = jnp.min(jnp.where(counts > 0, levels, 255), axis=0)
    brightest = jnp.max(jnp.where(counts > 0, levels, 0), axis=0)
    stretched = (levels - darkest) * 255 // jnp.maximum(brightest - darkest, 1)
    return jnp.where(brightest > darkest, stretched, levels)


def _equalize_table(levels: Int[Array, "256 1"], counts: Int[Array, "256 3"]) -> Int[Array, "256 3"]:
    """Equalizes each channel's histogram; a channel with few pixels or levels is unchanged.

    A level becomes the number of darker pixels divided by Pillow's step, which is a 255th of the number of pixels
    darker than the brightest.
    """
    darker = jnp.cumsum(counts, axis=0) - counts
    step = jnp.max(jnp.where(counts > 0, darker, 0), axis=0) // 255
    return jnp.where(step > 0, (darker + step // 2) // jnp.maximum(step, 1), levels)


def _enhance(
    image: UInt8[Array, "height width 3"], operation: Int[Array, ""], magnitude: Float[Array, ""]
) -> UInt8[Array, "height width 3"]:
    """Blends the image with a degenerate image or away from it: black, greyscale, uniformly grey, or smoothed."""
    pixels = image.astype(jnp.int32)
    # ITU-R 601-2 luma in 16-bit fixed point, rounded, like Pillow's conversion to greyscale.
    grey = (jnp.sum(pixels * jnp.array([19595, 38470, 7471]), axis=-1, keepdims=True) + 2**15) >> 16
    degenerates: dict[Operation, Array] = {
        Operation.BRIGHTNESS: jnp.zeros_like(grey),
        Operation.COLOR: grey,
        Operation.CONTRAST: (2 * grey.sum() + grey.size) // (2 * grey.size),  # the mean, rounded
        Operation.SHARPNESS: _smooth(pixels),
    }
    chosen = jnp.select([operation == candidate for candidate in degenerates], list(degenerates.values()), pixels)
    enhanced = chosen + (1 + magnitude) * (pixels - chosen)
    return jnp.clip(enhanced, 0, 255).astype(jnp.uint8)  # truncates, like Pillow


def _smooth(pixels: Int[Array, "height width 3"]) -> Int[Array, "height width 3"]:
    """Returns rounded means of each pixel, with weight 5, and its eight neighbours; the border is unchanged."""
    columns = pixels[:-2] + pixels[1:-1] + pixels[2:]
    sums = columns[:, :-2] + columns[:, 1:-1] + columns[:, 2:] + 4 * pixels[1:-1, 1:-1]
    return pixels.at[1:-1, 1:-1].set((2 * sums + 13) // 26)
