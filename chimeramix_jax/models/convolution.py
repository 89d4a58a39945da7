"""How convolutions are lowered, per backend. The one place that decides: the models only say which convolution.

XLA's CPU backend is slow at some of the shapes that the models have (measured figures: ``docs/performance.md``). On CPU
these are computed here as matrix products, over blocks of a row where there are few channels; all else is XLA's, and so
is everything on other backends.
"""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_NHWC = ("NHWC", "HWIO", "NHWC")

FEW_CHANNELS = 4  # up to which one side counts as narrow: images, and the decoder's last convolution
WIDE_KERNEL = 5  # from which on narrow convolutions are computed over blocks of a row
FORWARD_BLOCK = 4  # output pixels per block


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
    if _is_narrow(kernel, strides):
        return convolve_blocks(images, kernel)
    return lax.conv_general_dilated(images, kernel, strides, "VALID", dimension_numbers=_NHWC)


def _is_narrow(kernel: Array, strides: tuple[int, int]) -> bool:
    kernel_height, kernel_width, in_channels, out_channels = kernel.shape
    wide = min(kernel_height, kernel_width) >= WIDE_KERNEL
    return strides == (1, 1) and wide and min(in_channels, out_channels) <= FEW_CHANNELS


def _convolve_valid_forward(images, kernel, strides):
    return _convolve_valid(images, kernel, strides), (images, kernel)


def _convolve_valid_backward(strides, residuals, cotangent):
    images, kernel = residuals
    return (
        _input_gradient(images, kernel, strides, cotangent),
        kernel_gradient(images, cotangent, kernel.shape, strides),
    )


_convolve_valid.defvjp(_convolve_valid_forward, _convolve_valid_backward)


def _input_gradient(images: Array, kernel: Array, strides: tuple[int, int], cotangent: Array) -> Array:
    if _is_narrow(kernel, strides):
        margins = [(side - 1, side - 1) for side in kernel.shape[:2]]
        padded = jnp.pad(cotangent, ((0, 0), *margins, (0, 0)))
        return convolve_blocks(padded, kernel[::-1, ::-1].swapaxes(2, 3))
    if math.prod(cotangent.shape[1:3]) < math.prod(kernel.shape[:2]) and kernel.shape[3] > FEW_CHANNELS:
        return patch_input_gradient(images.shape, kernel, strides, cotangent)
    _, gradient = jax.vjp(
        lambda x: lax.conv_general_dilated(x, kernel, strides, "VALID", dimension_numbers=_NHWC), images
    )
    return gradient(cotangent)[0]


def convolve_blocks(
    images: Float[Array, "batch height width in_channels"],
    kernel: Float[Array, "kernel_height kernel_width in_channels out_channels"],
) -> Float[Array, "batch out_height out_width out_channels"]:
    """An unpadded convolution with stride 1, as one matrix product over blocks of a row; for few channels.

    A block of ``FORWARD_BLOCK`` neighbouring output pixels depends on a stretch of ``block + kernel_width - 1`` input
    pixels per row. The matrix holds the kernel once for every pixel of the block, each time one pixel further. The
    kernel's rows are taken in beside each other before the product where the images have few channels, and added up
    after it where the outputs have.
    """
    kernel_height, kernel_width, in_channels, out_channels = kernel.shape
    block = FORWARD_BLOCK
    out_height, out_width = images.shape[1] - kernel_height + 1, images.shape[2] - kernel_width + 1
    blocks, stretch = -(-out_width // block), block + kernel_width - 1
    stretches = _stretches(images, blocks, block, stretch)
    shifted = [jnp.pad(kernel, ((0, 0), (s, block - 1 - s), (0, 0), (0, 0))) for s in range(block)]
    matrix = jnp.stack(shifted, axis=3)  # (kernel_height, stretch, in_channels, block, out_channels)
    if in_channels <= out_channels:
        rows = [stretches[:, i : i + out_height] for i in range(kernel_height)]
        out = jnp.concatenate(rows, axis=-1) @ matrix.reshape(-1, block * out_channels)
    else:
        products = stretches @ jnp.moveaxis(matrix, 0, 2).reshape(stretch * in_channels, -1)
        by_row = jnp.split(products, kernel_height, axis=-1)
        shifted_rows = [product[:, i : i + out_height] for i, product in enumerate(by_row)]
        out = sum(shifted_rows[1:], shifted_rows[0])
    return out.reshape(len(images), out_height, blocks * block, out_channels)[:, :, :out_width]


def _stretches(images: Array, blocks: int, step: int, stretch: int) -> Float[Array, "batch height blocks features"]:
    """Cuts rows into overlapping stretches of so many pixels, one every ``step`` pixels; zeros beyond the end."""
    needed = (blocks - 1) * step + stretch
    if needed > images.shape[2]:
        images = jnp.pad(images, ((0, 0), (0, 0), (0, needed - images.shape[2]), (0, 0)))
    cut = jnp.stack([images[:, :, index * step : index * step + stretch] for index in range(blocks)], axis=2)
    return cut.reshape(*cut.shape[:3], -1)


def patch_input_gradient(
    shape: tuple[int, ...],
    kernel: Float[Array, "kernel_height kernel_width in_channels out_channels"],
    strides: tuple[int, int],
    cotangent: Float[Array, "batch out_height out_width out_channels"],
) -> Float[Array, "batch height width in_channels"]:
    """The gradient of an unpadded convolution's input of the given shape; for outputs smaller than the kernel.

    One matrix product gives what every output pixel hands back to the patch that it was computed from; the patches
    are then added up, kernel place by kernel place.
    """
    kernel_height, kernel_width, _, out_channels = kernel.shape
    patches = cotangent @ kernel.reshape(-1, out_channels).T
    zero = jnp.zeros((), patches.dtype)
    gradient = jnp.zeros(shape, patches.dtype)
    for place, patch in enumerate(jnp.split(patches, kernel_height * kernel_width, axis=-1)):
        starts = divmod(place, kernel_width)
        edges = [
            (start, whole - start - ((small - 1) * stride + 1), stride - 1)
            for start, whole, small, stride in zip(starts, shape[1:3], cotangent.shape[1:3], strides, strict=True)
        ]
        gradient += lax.pad(patch, zero, ((0, 0, 0), *edges, (0, 0, 0)))
    return gradient


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
    block = 8 if kernel_width >= WIDE_KERNEL else 2
    cotangent = _pad_to_multiple(cotangent, block)
    batch, out_height, out_width, _ = cotangent.shape
    blocks, stretch = out_width // block, (block - 1) * strides[1] + kernel_width
    stretches = _stretches(images, blocks, block * strides[1], stretch)
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
