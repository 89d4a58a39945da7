"""Geometric augmentation on the device: random crops with reflect padding, mirroring, and resizing."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer, PRNGKeyArray, Shaped, UInt8
from ml_collections import ConfigDict


def normalize(images: UInt8[Array, "*batch height width 3"]) -> Float[Array, "*batch height width 3"]:
    """Maps 0..255 to [-1, 1] in float32: mean 0.5 and standard deviation 0.5 per channel after scaling to [0, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1


def to_pixels(images: Float[Array, "*batch height width channels"]) -> UInt8[Array, "*batch height width channels"]:
    """Returns images in [-1, 1] as pixels in 0..255; values outside are clipped."""
    return jnp.round((jnp.clip(images, -1, 1) + 1) * 127.5).astype(jnp.uint8)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ViewDraw:
    """The positions of a batch's views in their images.

    ``shifts`` are the offsets of the views from their images in pixels, down (first row) and to the right (second row),
    each from -padding to padding. Where ``flips`` is True, the view is mirrored left to right.
    """

    shifts: Int[Array, "2 batch"]
    flips: Bool[Array, "batch"]


@dataclass(frozen=True)
class RandomViews:
    """Draws randomly shifted and mirrored views of images, and cuts the same views from their label maps.

    A view is a crop of the image's size from the image padded by ``padding`` reflected pixels on each side. With
    ``horizontal_flip`` it is mirrored left to right with probability 1/2.
    """

    padding: int
    horizontal_flip: bool

    @classmethod
    def of(cls, settings: ConfigDict, side: int) -> "RandomViews":
        """Returns the views set in ``config.augment``, for images of the given side."""
        return cls(int(side * settings.crop_padding_fraction), settings.horizontal_flip)

    def __call__(
        self, key: PRNGKeyArray, images: UInt8[Array, "examples side side 3"], indices: Int[Array, "batch"]
    ) -> Float[Array, "batch side side 3"]:
        """Draws new views of ``images[indices]`` and returns them in [-1, 1]."""
        return self.images(self.draw(key, indices.shape[0]), images, indices)

    def draw(self, key: PRNGKeyArray, batch_size: int) -> ViewDraw:
        """Draws the positions of ``batch_size`` views."""
        shift_key, flip_key = jax.random.split(key)
        shifts = jax.random.randint(shift_key, (2, batch_size), -self.padding, self.padding + 1)
        flips = jax.random.bernoulli(flip_key, 0.5, (batch_size,)) & self.horizontal_flip
        return ViewDraw(shifts, flips)

    def images(
        self, draw: ViewDraw, images: UInt8[Array, "examples side side 3"], indices: Int[Array, "batch"]
    ) -> Float[Array, "batch side side 3"]:
        """Returns the views of ``images[indices]`` in [-1, 1]. Selection, crop and mirroring are a single gather."""
        return normalize(self.reflected(draw, images, indices))

    def reflected(
        self, draw: ViewDraw, sources: Shaped[Array, "examples side side ..."], indices: Int[Array, "batch"]
    ) -> Shaped[Array, "batch side side ..."]:
        """Returns the views of ``sources[indices]``, which have no padding and are reflected at their borders."""
        side = sources.shape[1]
        rows, columns = (_reflect(positions, side) for positions in _positions(draw, side))
        return _gather(sources, indices, rows, columns)

    def labels(
        self, draw: ViewDraw, canvases: Integer[Array, "examples canvas canvas"], indices: Int[Array, "batch"]
    ) -> Integer[Array, "batch side side"]:
        """Returns the same views of label maps that cover the padded images: ``canvas = side + 2 * padding``."""
        rows, columns = _positions(draw, canvases.shape[1] - 2 * self.padding)
        return _gather(canvases, indices, rows + self.padding, columns + self.padding)


def _positions(draw: ViewDraw, side: int) -> tuple[Int[Array, "batch side"], Int[Array, "batch side"]]:
    """Returns the rows and columns of the images that the views show, from -padding to side + padding - 1."""
    rows, columns = draw.shifts[:, :, None] + jnp.arange(side)
    return rows, jnp.where(draw.flips[:, None], columns[:, ::-1], columns)


def _gather(
    sources: Shaped[Array, "examples height width ..."],
    indices: Int[Array, "batch"],
    rows: Int[Array, "batch side"],
    columns: Int[Array, "batch side"],
) -> Shaped[Array, "batch side side ..."]:
    return sources[indices[:, None, None], rows[:, :, None], columns[:, None, :]]


def _reflect(positions: Int[Array, "..."], side: int) -> Int[Array, "..."]:
    """Reflects positions in -side < p < 2 * side - 1 back into 0..side-1, without repeating the border pixel."""
    positions = jnp.abs(positions)
    return jnp.where(positions >= side, 2 * (side - 1) - positions, positions)


def resize_align_corners(
    images: Float[Array, "batch height width channels"], side: int
) -> Float[Array, "batch side side channels"]:
    """Resizes images bilinearly and maps corner pixels to corner pixels (PyTorch's ``align_corners=True``)."""
    if images.shape[1:3] == (side, side):
        return images
    rows, columns = (jnp.asarray(_align_corners_weights(n, side), images.dtype) for n in images.shape[1:3])
    # By default, GPUs and TPUs round the factors of a float32 product to TF32 or bfloat16.
    return jnp.einsum("yh,bhwc,xw->byxc", rows, images, columns, precision=jax.lax.Precision.HIGHEST)


def resize_antialiased(
    images: Float[Array, "batch height width channels"], side: int
) -> Float[Array, "batch side side channels"]:
    """Resizes images bilinearly; where it shrinks them, every pixel is a weighted mean of those that it replaces.

    The weights are those of Pillow's bilinear filter. The result is not rounded; whatever the backend, it is computed
    in the images' own number format, in training float32.
    """
    if images.shape[1:3] == (side, side):
        return images
    shape = (images.shape[0], side, side, images.shape[3])
    return jax.image.resize(images, shape, "bilinear", antialias=True, precision=jax.lax.Precision.HIGHEST)


def _align_corners_weights(source: int, target: int) -> Float[np.ndarray, "target source"]:
    """Returns the matrix that interpolates ``source`` values linearly at ``target`` positions, including both ends."""
    positions = np.arange(target) * ((source - 1) / max(target - 1, 1))
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(source)))
