"""Layers with PyTorch's conventions where Flax has others, so that published weights and results can be reproduced."""

import math
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chimeramix_jax.models import convolution
from chimeramix_jax.models.normalization import instance_norm
from chimeramix_jax.models.padding import reflect_pad


def uniform_fan_in(fan_in: int) -> nnx.Initializer:
    """Returns PyTorch's default initializer of kernels and biases: uniform within ±1/sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)

    def initialize(key, shape, dtype=jnp.float32, out_sharding=None):
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return initialize


def normal_fan_out(fan_out: int) -> nnx.Initializer:
    """Returns He's initializer for layers followed by ReLU: normal, variance 2 / fan_out (He et al., 2015, eq. 14)."""
    return nnx.initializers.normal(math.sqrt(2 / fan_out))


def convolution_layer(
    in_channels: int,
    out_channels: int,
    kernel_side: int,
    *,
    stride: int = 1,
    padding: int = 0,
    bias: bool = True,
    normed: bool = False,
    kernel_init: nnx.Initializer | None = None,
    dtype: DTypeLike | None = None,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """Returns a square convolution with zero padding on all sides and PyTorch's default initialization.

    ``normed`` means that an instance norm follows directly. The norm cancels any constant added to a channel, so the
    bias, which is part of published weights, is kept but not added. That saves computing its gradient, which is 0.
    """
    default_init = uniform_fan_in(in_channels * kernel_side**2)
    layer = nnx.Conv(
        in_channels,
        out_channels,
        (kernel_side, kernel_side),
        strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        use_bias=bias,
        kernel_init=kernel_init or default_init,
        bias_init=default_init,
        dtype=dtype,
        conv_general_dilated=convolution.conv_general_dilated,
        promote_dtype=convolution.promote_dtype,
        rngs=rngs,
    )
    layer.use_bias = bias and not normed
    return layer


def he_convolution(in_channels: int, out_channels: int, kernel_side: int, **settings) -> nnx.Conv:
    """Returns a convolution of a residual classifier: He's initialization, and no bias because a norm follows later."""
    kernel_init = normal_fan_out(out_channels * kernel_side**2)
    return convolution_layer(in_channels, out_channels, kernel_side, bias=False, kernel_init=kernel_init, **settings)


def mean_over_pixels(
    feature_maps: Float[Array, "batch height width channels"],
) -> Float[Array, "batch channels"]:
    """Returns the mean of every channel over an image's pixels, in float32 or wider: global average pooling."""
    return jnp.mean(feature_maps, axis=(1, 2), dtype=jnp.promote_types(feature_maps.dtype, jnp.float32))


class ResidualBlock(nnx.Module):
    """Two 3x3 convolutions with reflect padding and instance norm, added to their input (CycleGAN's block)."""

    def __init__(self, channels: int, *, bias: bool = True, dtype: DTypeLike | None = None, rngs: nnx.Rngs):
        """Creates the block; with ``bias`` both convolutions have biases."""
        self.convolution1 = convolution_layer(channels, channels, 3, bias=bias, normed=True, dtype=dtype, rngs=rngs)
        self.convolution2 = convolution_layer(channels, channels, 3, bias=bias, normed=True, dtype=dtype, rngs=rngs)

    def __call__(
        self, features: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch height width channels"]:
        """Returns features of the same shape."""
        residual = instance_norm(self.convolution1(reflect_pad(features, 1)), slope=0, padding=1)
        return features + instance_norm(self.convolution2(residual))


class DoublingConvolution(nnx.Module):
    """A transposed 2x2 convolution with stride 2 and no bias, which doubles height and width.

    Its outputs do not overlap, so it is one matrix product whose columns are blocks of 2x2 pixels.
    """

    def __init__(self, in_channels: int, out_channels: int, *, dtype: DTypeLike | None = None, rngs: nnx.Rngs):
        """Creates the layer; the kernel's axes are (row, column, in_channels, out_channels)."""
        # PyTorch computes the fan-in of a transposed convolution from its output channels.
        kernel_init = uniform_fan_in(out_channels * 4)
        self.kernel = nnx.Param(kernel_init(rngs.params(), (2, 2, in_channels, out_channels)))
        self.dtype = dtype

    def __call__(
        self, features: Float[Array, "batch height width in_channels"]
    ) -> Float[Array, "batch height width 2 2 out_channels"]:
        """Returns features of twice the height and width, as blocks (``fused_norm.from_blocks``)."""
        features, kernel = convolution.promote_dtype((features, self.kernel[...]), dtype=self.dtype)
        batch, height, width, in_channels = features.shape
        out_channels = kernel.shape[-1]
        matrix = kernel.transpose(2, 0, 1, 3).reshape(in_channels, 4 * out_channels)
        columns = convolution.pixelwise_product(features, matrix)
        return columns.reshape(batch, height, width, 2, 2, out_channels)


Module = TypeVar("Module", bound="SwitchableModule")


class SwitchableModule(nnx.Module):
    """A module whose ``train()`` and ``eval()`` return the module itself, so that calls can be chained."""

    def train(self: Module, **attributes) -> Module:
        """Switches to training mode (batch statistics and dropout) and returns the module."""
        super().train(**attributes)
        return self

    def eval(self: Module, **attributes) -> Module:
        """Switches to evaluation mode (running statistics, no dropout) and returns the module."""
        super().eval(**attributes)
        return self
