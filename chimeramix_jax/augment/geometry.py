"""Geometric augmentation on the device: random crops with reflect padding, mirroring, and resizing."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8
from ml_collections import ConfigDict


def normalize(images: UInt8[Array, "batch height width 3"]) -> Float[Array, "batch height width 3"]:
    """Maps 0..255 to [-1, 1] in float32: mean 0.5 and standard deviation 0.5 per channel after scaling to [0, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1


@dataclass(frozen=True)
class RandomViews:
    """Draws randomly shifted and mirrored views of images.

    A view is a crop of the image's own size out of the image padded by ``padding`` reflected pixels on each side,
    mirrored left to right with probability 1/2 if ``horizontal_flip``.
    """

    padding: int
    horizontal_flip: bool

    @classmethod
    def of(cls, settings: ConfigDict, side: int) -> "RandomViews":
        """The views that ``config.augment`` asks for, of images of the given side."""
        return cls(int(side * settings.crop_padding_fraction), settings.horizontal_flip)

    def __call__(
        self, key: PRNGKeyArray, images: UInt8[Array, "examples side side 3"], indices: Int[Array, "batch"]
    ) -> Float[Array, "batch side side 3"]:
        """Views of ``images[indices]`` in [-1, 1]; choosing, cropping and mirroring are one gather."""
        batch, side = indices.shape[0], images.shape[1]
        offset_key, flip_key = jax.random.split(key)
        offsets = jax.random.randint(offset_key, (2, batch, 1), -self.padding, self.padding + 1)
        rows, columns = (_reflect(offset + jnp.arange(side), side) for offset in offsets)
        if self.horizontal_flip:
            flips = jax.random.bernoulli(flip_key, 0.5, (batch, 1))
            columns = jnp.where(flips, columns[:, ::-1], columns)
        return normalize(images[indices[:, None, None], rows[:, :, None], columns[:, None, :]])


def _reflect(positions: Int[Array, "..."], side: int) -> Int[Array, "..."]:
    """Folds positions in -side < p < 2 * side - 1 back into 0..side-1, without repeating the border pixel."""
    positions = jnp.abs(positions)
    return jnp.where(positions >= side, 2 * (side - 1) - positions, positions)


def resize_align_corners(
    images: Float[Array, "batch height width channels"], side: int
) -> Float[Array, "batch side side channels"]:
    """Bilinear resize that maps corner pixels onto corner pixels (PyTorch's ``align_corners=True``)."""
    if images.shape[1:3] == (side, side):
        return images
    rows, columns = (jnp.asarray(_align_corners_weights(n, side), images.dtype) for n in images.shape[1:3])
    return jnp.einsum("yh,bhwc,xw->byxc", rows, images, columns)


def _align_corners_weights(source: int, target: int) -> Float[np.ndarray, "target source"]:
    """The matrix that interpolates ``source`` values linearly at ``target`` places, the ends included."""
    positions = np.arange(target) * ((source - 1) / max(target - 1, 1))
    return np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(source)))
