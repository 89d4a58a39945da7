"""Harmonic convolutions: kernels that are learned combinations of the filters of a discrete cosine transform.

Ulicny, Krylov and Dahyot, *Harmonic networks for image classification*, BMVC 2019, and *Harmonic convolutional networks
based on discrete cosine transform*, Pattern Recognition 129, 2022. As in their programs, all k x k filters are used,
the absolute values of each sum to 1, and 1x1 convolutions stay as they are. Filtering and combining are both linear, so
the kernel is combined first and then convolved as usual. Only the first layer has a batch norm between the two, which
has neither scale nor shift.
"""

import numpy as np
from flax import nnx
from jax import lax
from jax import numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from chimeramix_jax.models import convolution
from chimeramix_jax.models.layers import he_convolution, normal_fan_out
from chimeramix_jax.models.normalization import BatchNorm


def dct_filters(side: int) -> Float[np.ndarray, "filters side side"]:
    """Returns the side**2 filters of the two-dimensional DCT-II, the lowest frequencies first along both axes.

    Filter (i, j) is cos(pi (x + 1/2) i / side) cos(pi (y + 1/2) j / side) at row x and column y, divided by the sum of
    its absolute values; j changes faster.
    """
    frequencies, places = np.arange(side)[:, None], np.arange(side) + 0.5
    waves = np.cos(np.pi * frequencies * places / side)
    filters = np.einsum("ix,jy->ijxy", waves, waves).reshape(side**2, side, side)
    return filters / np.abs(filters).sum(axis=(1, 2), keepdims=True)


class _OfFilters(nnx.Module):
    """The common base of layers whose square kernel is made of ``dct_filters``: zero padding and no bias."""

    def __init__(self, kernel_side: int, stride: int, padding: int, dtype: DTypeLike | None):
        """Sets how the kernel is applied, with the attributes that ``nnx.Conv`` has for it."""
        self.kernel_side = kernel_side
        self.strides = (stride, stride)
        self.padding = ((padding, padding), (padding, padding))
        self.dtype = dtype

    @property
    def kernel(self) -> Float[Array, "side side in_channels kernels"]:
        """The kernel, in float32."""
        raise NotImplementedError(f"{type(self).__name__} defines no kernel")

    def convolved(
        self, features: Float[Array, "batch height width in_channels"]
    ) -> Float[Array, "batch out_height out_width kernels"]:
        """Returns the features convolved with the kernel."""
        features, kernel = convolution.promote_dtype((features, self.kernel), dtype=self.dtype)
        return convolution.conv_general_dilated(
            features, kernel, self.strides, self.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )


class HarmonicConvolution(_OfFilters):
    """A square convolution with zero padding and no bias, whose kernel is combined from ``dct_filters``."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_side: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Creates the layer; the coefficients' axes are (filter, in_channels, out_channels)."""
        super().__init__(kernel_side, stride, padding, dtype)
        initialize = normal_fan_out(out_channels * kernel_side**2)
        self.coefficients = nnx.Param(initialize(rngs.params(), (kernel_side**2, in_channels, out_channels)))

    @property
    def kernel(self) -> Float[Array, "side side in_channels out_channels"]:
        """The kernel that the coefficients stand for, in float32.

        It is a product of plain matrices, since XLA:CPU is slow with the channels as two axes.
        """
        side, coefficients = self.kernel_side, self.coefficients[...]
        filters = jnp.asarray(dct_filters(side).reshape(side**2, -1), jnp.float32)
        kernels = jnp.matmul(filters.T, coefficients.reshape(side**2, -1), precision=lax.Precision.HIGHEST)
        return kernels.reshape(side, side, *coefficients.shape[1:])

    def __call__(
        self, features: Float[Array, "batch height width in_channels"]
    ) -> Float[Array, "batch out_height out_width out_channels"]:
        """Returns the convolved features."""
        return self.convolved(features)


class HarmonicStem(_OfFilters):
    """The first layer: every channel filtered by ``dct_filters``, batch norm, and a learned combination of the results.

    There are ``kernel_side**2`` responses for each channel of the input; those of the first channel come first.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_side: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dtype: DTypeLike | None = None,
        rngs: nnx.Rngs,
    ):
        """Creates the layer."""
        super().__init__(kernel_side, stride, padding, dtype)
        self.in_channels = in_channels
        responses = in_channels * kernel_side**2
        self.norm = BatchNorm(responses, affine=False)
        self.combination = he_convolution(responses, out_channels, 1, dtype=dtype, rngs=rngs)

    @property
    def kernel(self) -> Float[Array, "side side in_channels responses"]:
        """The fixed filters as a kernel that keeps the channels apart, in float32."""
        filters = dct_filters(self.kernel_side)
        apart = np.einsum("fxy,ic->xyicf", filters, np.eye(self.in_channels))
        return jnp.asarray(apart.reshape(*filters.shape[1:], self.in_channels, -1), jnp.float32)

    def __call__(
        self, images: Float[Array, "batch height width in_channels"], example_mask: Bool[Array, "batch"] | None = None
    ) -> Float[Array, "batch out_height out_width out_channels"]:
        """Returns the features; the batch statistics ignore the examples where ``example_mask`` is False."""
        return self.combination(self.norm(self.convolved(images), example_mask))


Convolution = nnx.Conv | HarmonicConvolution
Stem = nnx.Conv | HarmonicStem


def inner_convolution(
    in_channels: int, out_channels: int, kernel_side: int, *, harmonic: bool, **settings
) -> Convolution:
    """Returns a convolution of a residual classifier's blocks: without bias, and harmonic if asked and not 1x1."""
    layer = HarmonicConvolution if harmonic and kernel_side > 1 else he_convolution
    return layer(in_channels, out_channels, kernel_side, **settings)


def first_convolution(in_channels: int, out_channels: int, kernel_side: int, *, harmonic: bool, **settings) -> Stem:
    """Returns the first convolution of a residual classifier, without bias."""
    layer = HarmonicStem if harmonic else he_convolution
    return layer(in_channels, out_channels, kernel_side, **settings)


def first_features(
    stem: Stem, images: Float[Array, "batch height width channels"], example_mask: Bool[Array, "batch"] | None
) -> Float[Array, "batch out_height out_width out_channels"]:
    """Returns the features of either kind of first layer."""
    return stem(images, example_mask) if isinstance(stem, HarmonicStem) else stem(images)
