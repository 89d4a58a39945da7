"""Turns images of any size into squares inside an exported program, with the same pixels as Pillow.

Pillow resamples an axis with whole numbers: an output pixel is a sum of input pixels with weights in units of 2^-22,
rounded to a whole grey level. The weights of a bilinear, antialiased resize of a central part follow from the sizes
by whole numbers alone, so a program that knows them only at run time gets the same. Along each row comes first, then
along each column. Pillow 13 turns this round for cropped images where the height plus ``side`` exceeds twice the width;
the pixels of such tall images may differ by one grey level, as they do between versions of Pillow.

If the central ``part`` of the pixels along an axis are resized to ``shown`` pixels, positions in units of half an
output pixel's share, ``1 / (2 shown)`` of a pixel, are whole numbers. A triangle as wide as an output pixel's share, or
as two input pixels if that is more, has the height ``2 max(part, shown)`` in these units.

- "crop": the part is as long as the shorter side, and all ``side`` pixels are shown.
- "stretch": the part is the whole axis, and all ``side`` pixels are shown.
- "pad": the part is the whole axis, and the pixels shown are its share of ``side``, in the middle; the rest is grey.
"""

from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

from chimeramix_jax.config.rules import Fit
from chimeramix_jax.data.fitting import GREY

WEIGHT_BITS = 22  # Pillow's PRECISION_BITS for 8-bit images

_HALF_BITS = 11  # weights are computed and multiplied in two halves, so that float32 numbers hold them exactly
_HALF = 1 << _HALF_BITS


def squared(
    images: UInt8[Array, "batch height width 3"], side: int, fit: Fit = "crop"
) -> UInt8[Array, "batch side side 3"]:
    """Fits each image into a square, as ``data.fitting.squared`` does.

    Height and width may be symbolic. The sums are exact, hence equal to Pillow's, while an image, or the part of it
    that is kept, is at most 16 times as large as ``side``. Beyond that, rare pixels may differ by a grey level.
    """
    _, height, width, _ = images.shape
    numbers = (jnp.arange(length, dtype=jnp.int32) for length in (width, height))
    lengths = (jnp.asarray(width, jnp.int32), jnp.asarray(height, jnp.int32))
    across, down = (_Axis.of(length, lengths, side, fit) for length in lengths)
    columns, rows = (axis.weights(pixels) for axis, pixels in zip((across, down), numbers, strict=True))
    resized = _rounded(jnp.einsum("bhwc,wx->bhxc", images.astype(jnp.float32), columns, precision="highest"), 2)
    resized = _rounded(jnp.einsum("bhxc,hy->byxc", resized, rows, precision="highest"), 1)
    if fit == "pad":
        shown = down.is_shown()[:, None] & across.is_shown()[None]
        resized = jnp.where(shown[..., None], resized, GREY)
    return resized.astype(jnp.uint8)


@dataclass(frozen=True)
class _Axis:
    """How the pixels along an axis are resized: the central ``part`` to ``shown`` pixels in the middle of ``side``."""

    part: Int[Array, ""]
    shown: Int[Array, ""]
    side: int

    @classmethod
    def of(cls, length: Int[Array, ""], lengths: tuple[Int[Array, ""], Int[Array, ""]], side: int, fit: Fit) -> "_Axis":
        """Returns how an axis of this length is resized, given the lengths of both."""
        whole = jnp.asarray(side, jnp.int32)
        if fit == "crop":
            return cls(jnp.minimum(*lengths), whole, side)
        if fit == "stretch":
            return cls(length, whole, side)
        longer = jnp.maximum(*lengths)
        return cls(length, jnp.maximum((2 * length * side + longer) // (2 * longer), 1), side)

    def weights(self, numbers: Int[Array, "length"]) -> Float[Array, "length outputs"]:
        """Returns the weight of each pixel in each output pixel: first the upper halves, then the lower.

        Those of output pixels that are not shown mean nothing. ``numbers`` are the pixels' places, from 0.
        """
        offset = self.shown * (jnp.asarray(numbers.shape[0], jnp.int32) - self.part)  # of the part's first pixel
        distance = jnp.abs(self.shown * (2 * numbers[:, None] + 1) - offset - self._middles()[None] * self.part)
        heights = jnp.maximum(2 * jnp.maximum(self.part, self.shown) - distance, 0)
        total = jnp.maximum(jnp.sum(heights, axis=0, keepdims=True), 1)  # 0 for output pixels that are not shown
        return _in_halves(heights, total)

    def is_shown(self) -> Bool[Array, "outputs"]:
        """Returns which output pixels show the image."""
        middles = self._middles()
        return (middles > 0) & (middles < 2 * self.shown)

    def _middles(self) -> Int[Array, "outputs"]:
        """Returns the middles of the output pixels, in halves of one, from the first that is shown."""
        return 2 * (jnp.arange(self.side, dtype=jnp.int32) - (self.side - self.shown) // 2) + 1


def _in_halves(heights: Int[Array, "length outputs"], total: Int[Array, "1 outputs"]) -> Float[Array, "length weights"]:
    """Returns the upper and the lower halves of weights, which are the shares of ``heights`` in the ``total``."""
    upper = heights * _HALF // total
    rest = heights * _HALF - upper * total
    lower = jnp.floor(rest.astype(jnp.float32) * _HALF / total.astype(jnp.float32) + 0.5)
    return jnp.concatenate([upper.astype(jnp.float32), lower], axis=1)


def _rounded(sums: Float[Array, "..."], axis: int) -> Float[Array, "..."]:
    """Returns the grey levels for sums of pixels times both halves of their weights, which follow along ``axis``."""
    upper, lower = jnp.split(sums, 2, axis)
    carried = jnp.floor((lower + (1 << (WEIGHT_BITS - 1))) / _HALF)
    return jnp.clip(jnp.floor((upper + carried) / _HALF), 0, 255)
