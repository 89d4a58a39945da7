"""How convolutions are lowered, per backend. The one place that decides: the models only say which convolution.

XLA's CPU backend computes the gradient of a convolution's *kernel* slowly (measured figures: ``docs/performance.md``);
its forward pass and the gradient of its input are sound. So on CPU the kernel's gradient is computed here as matrix
products over blocks of a row; elsewhere everything is XLA's.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_NHWC = ("NHWC", "HWIO", "NHWC")


def conv_general_dilated(
    lhs: Float[Array, "batch height width in_channels"],
    rhs: Float[Array, "kernel_height kernel_width in_channels out_channels"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    **settings,
) -> Float[Array, "batch out_height out_width out_channels"]:
    """``jax.lax.conv_general_dilated`` with the fastest lowering for the backend in use.

    Takes the arguments that ``flax.nnx.Conv`` passes, so it can be given to a layer as ``conv_general_dilated=``.
    """
    if jax.default_backend() != "cpu" or not _is_plain(lhs, rhs, window_strides, padding, settings):
        return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **settings)
    lhs = jnp.pad(lhs, ((0, 0), *padding, (0, 0))) if any(any(sides) for sides in padding) else lhs
    return _convolve_valid(lhs, rhs, tuple(window_strides))


def _is_plain(
    lhs: Array, rhs: Array, strides: Sequence[int], padding: str | Sequence[tuple[int, int]], settings: dict
) -> bool:
    """Whether it is a 2-D NHWC convolution with explicit padding and nothing unusual: all that our models use."""
    if isinstance(padding, str) or len(strides) != 2 or min(min(sides) for sides in padding) < 0:
        return False
    usual = {
        "lhs_dilation": (None, (1, 1)),
        "rhs_dilation": (None, (1, 1)),
        "dimension_numbers": (_NHWC, lax.conv_dimension_numbers(lhs.shape, rhs.shape, _NHWC)),
        "feature_group_count": (1,),
    }
    return all(value in usual.get(name, (None,)) for name, value in settings.items())


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve_valid(images, kernel, strides):
    return lax.conv_general_dilated(images, kernel, strides, "VALID", dimension_numbers=_NHWC)


def _convolve_valid_forward(images, kernel, strides):
    return _convolve_valid(images, kernel, strides), (images, kernel)


def _convolve_valid_backward(strides, residuals, cotangent):
    images, kernel = residuals
    _, input_gradient = jax.vjp(
        lambda x: lax.conv_general_dilated(x, kernel, strides, "VALID", dimension_numbers=_NHWC), images
    )
    return (*input_gradient(cotangent), kernel_gradient(images, cotangent, kernel.shape, strides))


_convolve_valid.defvjp(_convolve_valid_forward, _convolve_valid_backward)


def kernel_gradient(
    images: Float[Array, "batch height width in_channels"],
    cotangent: Float[Array, "batch out_height out_width out_channels"],
    kernel_shape: tuple[int, int, int, int],
    strides: tuple[int, int] = (1, 1),
) -> Float[Array, "kernel_height kernel_width in_channels out_channels"]:
    """The gradient of an unpadded convolution's kernel, as matrix products.

    A row of the output is cut into blocks of ``block`` pixels; each block meets the stretch of the input row that it
    was computed from. One matrix product correlates every input pixel of the stretch with every output pixel of the
    block, over all blocks of all images; the kernel's gradient is the sum along that matrix's diagonals. This does
    (stretch / kernel_width) times the useful arithmetic, but copies long runs of memory instead of single pixels,
    which is what makes the usual im2col slow for few channels.
    """
    kernel_height, kernel_width, in_channels, out_channels = kernel_shape
    block = 8 if kernel_width >= 5 else 2
    cotangent = _pad_to_multiple(cotangent, block)
    batch, out_height, out_width, _ = cotangent.shape
    blocks = out_width // block
    stretch = (block - 1) * strides[1] + kernel_width
    needed_width = (out_width - 1) * strides[1] + kernel_width
    if needed_width > images.shape[2]:
        images = jnp.pad(images, ((0, 0), (0, 0), (0, needed_width - images.shape[2]), (0, 0)))
    starts = [index * block * strides[1] for index in range(blocks)]
    stretches = jnp.stack([images[:, :, start : start + stretch] for start in starts], axis=2)
    stretches = stretches.reshape(batch, images.shape[1], blocks, stretch * in_channels)
    cotangent = cotangent.reshape(batch, out_height, blocks, block * out_channels)

    # The products for the kernel's rows differ in which rows of input and cotangent meet. Whichever side has fewer
    # channels is the one that is copied once per kernel row.
    if strides == (1, 1) and out_channels < in_channels:
        rows = images.shape[1] - out_height
        shifted = [jnp.pad(cotangent, ((0, 0), (i, rows - i), (0, 0), (0, 0))) for i in range(kernel_height)]
        products = _correlate(stretches, jnp.stack(shifted, axis=3))
        products = products.reshape(stretch, in_channels, kernel_height, block, out_channels).transpose(2, 0, 1, 3, 4)
    else:
        last = (out_height - 1) * strides[0] + 1
        rows_of = [stretches[:, i : i + last : strides[0]] for i in range(kernel_height)]
        products = jnp.stack([_correlate(rows, cotangent) for rows in rows_of])
        products = products.reshape(kernel_height, stretch, in_channels, block, out_channels)
    diagonals = [products[:, s * strides[1] : s * strides[1] + kernel_width, :, s] for s in range(block)]
    return sum(diagonals[1:], diagonals[0])


def _correlate(left: Array, right: Array) -> Array:
    """Sums the outer products of the two sides' features over batch, rows and blocks: (left, right) features."""
    left, right = (side.reshape(*side.shape[:3], -1) for side in (left, right))
    return lax.dot_general(left, right, (((0, 1, 2), (0, 1, 2)), ((), ())))


def _pad_to_multiple(cotangent: Array, block: int) -> Array:
    missing = -cotangent.shape[2] % block
    return jnp.pad(cotangent, ((0, 0), (0, 0), (0, missing), (0, 0))) if missing else cotangent
