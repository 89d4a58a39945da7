"""An encoder and a decoder that work on patches of 4x4 pixels, for a generator that learns in fewer minutes.

CycleGAN's encoder spends most of its time at the full side, and its first instance norm removes an image's mean
colours, which its decoder then has to guess. Here a patch's 48 numbers become features at once, without a norm, and a
patch is decoded from its features and their neighbours'. The residual blocks in between are CycleGAN's.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chimeramix_jax.models.layers import ResidualBlock, convolution_layer
from chimeramix_jax.models.padding import reflect_pad
from chimeramix_jax.models.sides import ENCODER_STRIDE

_NUMBERS = 3 * ENCODER_STRIDE**2  # of a patch


def to_patches(
    images: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height/4 width/4 16*channels"]:
    """Moves the pixels of every patch of 4x4 pixels, row by row, into the channels."""
    batch, height, width, channels = images.shape
    rows, columns = height // ENCODER_STRIDE, width // ENCODER_STRIDE
    blocks = images.reshape(batch, rows, ENCODER_STRIDE, columns, ENCODER_STRIDE, channels)
    return blocks.swapaxes(2, 3).reshape(batch, rows, columns, ENCODER_STRIDE**2 * channels)


def from_patches(
    patches: Float[Array, "batch rows columns numbers"],
) -> Float[Array, "batch 4*rows 4*columns channels"]:
    """Undoes ``to_patches``."""
    batch, rows, columns, numbers = patches.shape
    blocks = patches.reshape(batch, rows, columns, ENCODER_STRIDE, ENCODER_STRIDE, numbers // ENCODER_STRIDE**2)
    return blocks.swapaxes(2, 3).reshape(batch, rows * ENCODER_STRIDE, columns * ENCODER_STRIDE, -1)


class PatchEncoder(nnx.Module):
    """Encodes images as features with a quarter of the side and four times ``channels``, like CycleGAN's encoder."""

    def __init__(self, channels: int, residual_blocks: int, *, dtype: DTypeLike | None = None, rngs: nnx.Rngs):
        """Creates the encoder; it ends with ``residual_blocks`` residual blocks."""
        features = 4 * channels
        self.stem = convolution_layer(_NUMBERS, features, 3, dtype=dtype, rngs=rngs)
        self.blocks = nnx.List(ResidualBlock(features, dtype=dtype, rngs=rngs) for _ in range(residual_blocks))

    def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height/4 width/4 features"]:
        """Encodes images in [-1, 1]."""
        features = jax.nn.relu(self.stem(reflect_pad(to_patches(images), 1)))
        for block in self.blocks:
            features = block(features)
        return features


class PatchDecoder(nnx.Module):
    """Decodes each patch from its features and those of its neighbours."""

    def __init__(self, channels: int, residual_blocks: int, *, dtype: DTypeLike | None = None, rngs: nnx.Rngs):
        """Creates the decoder; it begins with ``residual_blocks`` residual blocks."""
        features = 4 * channels
        self.blocks = nnx.List(
            ResidualBlock(features, bias=False, dtype=dtype, rngs=rngs) for _ in range(residual_blocks)
        )
        self.neighbours = convolution_layer(features, features, 3, dtype=dtype, rngs=rngs)
        self.to_pixels = convolution_layer(features, _NUMBERS, 1, dtype=dtype, rngs=rngs)

    def __call__(
        self, features: Float[Array, "batch rows columns features"]
    ) -> Float[Array, "batch 4*rows 4*columns 3"]:
        """Decodes features to images in (-1, 1)."""
        for block in self.blocks:
            features = block(features)
        features = jax.nn.relu(self.neighbours(reflect_pad(features, 1)))
        return jnp.tanh(from_patches(self.to_pixels(features)))
