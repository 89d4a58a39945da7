"""The mixing generator: an encoder and a decoder, with the blending of features in between (section 3 of the paper)."""

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chimeramix_jax.models.layers import DoublingConvolution, ResidualBlock, convolution_layer
from chimeramix_jax.models.normalization import instance_norm
from chimeramix_jax.models.padding import reflect_pad
from chimeramix_jax.models.sides import ENCODER_STRIDE


class Encoder(nnx.Module):
    """Encodes images as features with a quarter of the side and four times ``channels``."""

    def __init__(self, channels: int, residual_blocks: int, *, dtype: DTypeLike | None = None, rngs: nnx.Rngs):
        """Creates the encoder of CycleGAN's generator; it ends with ``residual_blocks`` residual blocks."""
        self.stem = convolution_layer(3, channels, 7, normed=True, dtype=dtype, rngs=rngs)
        self.downsampling = nnx.List(
            convolution_layer(width, 2 * width, 3, stride=2, padding=1, normed=True, dtype=dtype, rngs=rngs)
            for width in (channels, 2 * channels)
        )
        self.blocks = nnx.List(ResidualBlock(4 * channels, dtype=dtype, rngs=rngs) for _ in range(residual_blocks))

    def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height/4 width/4 features"]:
        """Encodes images in [-1, 1]."""
        features = instance_norm(self.stem(reflect_pad(images, 3)), slope=0)
        for layer in self.downsampling:
            features = instance_norm(layer(features), slope=0)
        for block in self.blocks:
            features = block(features)
        return features


class Decoder(nnx.Module):
    """Decodes features to images."""

    def __init__(self, channels: int, residual_blocks: int, *, dtype: DTypeLike | None = None, rngs: nnx.Rngs):
        """Creates the decoder. Unlike the encoder's, its residual blocks have no biases, as in the released program."""
        self.blocks = nnx.List(
            ResidualBlock(4 * channels, bias=False, dtype=dtype, rngs=rngs) for _ in range(residual_blocks)
        )
        self.upsampling = nnx.List(
            DoublingConvolution(2 * width, width, dtype=dtype, rngs=rngs) for width in (2 * channels, channels)
        )
        self.to_image = convolution_layer(channels, 3, 7, dtype=dtype, rngs=rngs)

    def __call__(
        self, features: Float[Array, "batch rows columns features"]
    ) -> Float[Array, "batch 4*rows 4*columns 3"]:
        """Decodes features to images in (-1, 1)."""
        for block in self.blocks:
            features = block(features)
        first, last = self.upsampling
        features = instance_norm(first(features), slope=0)
        return jnp.tanh(self.to_image(instance_norm(last(features), slope=0, padding=3)))


class Generator(nnx.Module):
    """Encodes images and decodes features; ``mixing.blending`` blends the features of several images in between.

    ``decoder_residual_blocks`` is 0 in the released program, which creates two blocks and never uses their output, and
    2 in the paper's figure.
    """

    def __init__(
        self,
        channels: int = 64,
        residual_blocks: int = 2,
        decoder_residual_blocks: int = 0,
        *,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Creates the generator; ``channels`` (ngf) come from the first convolution, ``dtype`` is the computation's."""
        self.encoder = Encoder(channels, residual_blocks, dtype=dtype, rngs=rngs)
        self.decoder = Decoder(channels, decoder_residual_blocks, dtype=dtype, rngs=rngs)

    @staticmethod
    def features_side(image_side: int) -> int:
        """Returns the side of the features, and therefore of the masks, for images of the given side in pixels."""
        return image_side // ENCODER_STRIDE

    def encode(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height/4 width/4 features"]:
        """Encodes images in [-1, 1]; height and width must be multiples of 4."""
        return self.encoder(images)

    def decode(self, features: Float[Array, "batch rows columns features"]) -> Float[Array, "batch 4*rows 4*columns 3"]:
        """Decodes features to images in (-1, 1)."""
        return self.decoder(features)
