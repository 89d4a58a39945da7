"""Convolutions, in the form that is fastest on the backend. The models only say which convolution they need.

XLA's CPU backend is slow at some shapes of our models (figures in ``docs/performance.md``): wide kernels with few input
or output channels, and outputs smaller than the kernel. On CPU this module computes them by other convolutions or
matrix products of equal value; it leaves all other convolutions, and all on other backends, to XLA. Speed on CPU also
depends on the library that XLA uses: see ``chimeramix_jax/runtime/xla_flags.py``.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chimeramix_jax.runtime import backend

Arrays = TypeVar("Arrays", bound=tuple[Any, ...])  # a layer's inputs, kernel and bias; the bias may be None

_NHWC = ("NHWC", "HWIO", "NHWC")

FEW_CHANNELS = 4  # inputs and outputs with at most this many channels are narrow, such as images
WIDE_KERNEL = 5  # kernels with at least this side are wide
SOME_CHANNELS = 16  # a convolution to few channels is computed in tiles up to this many input channels, else by columns

# Height and width of the block of output pixels that is computed as the channels of a single pixel. XLA's convolution
# spends most of its time gathering the inputs under the kernel, which is less work for a tile than pixel by pixel.
TILE_FROM_FEW_CHANNELS, TILE_TO_FEW_CHANNELS = (1, 2), (4, 4)


def conv_general_dilated(
    lhs: Float[Array, "batch height width in_channels"],
    rhs: Float[Array, "kernel_height kernel_width channels_per_group out_channels"],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    **settings,
) -> Float[Array, "batch out_height out_width out_channels"]:
    """Computes ``jax.lax.conv_general_dilated`` in the form that is fastest on the backend in use.

    Takes the arguments that ``flax.nnx.Conv`` passes, so a layer accepts it as ``conv_general_dilated=``.
    """
    explicit = None if isinstance(padding, str) else padding
    if explicit and backend.uses_cpu_lowering() and _is_plain(lhs, rhs, window_strides, explicit, settings):
        return _convolve_on_cpu(lhs, rhs, tuple(window_strides), explicit)
    return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **settings)


def promote_dtype(arrays: Arrays, /, *, dtype: DTypeLike | None = None, inexact: bool = True) -> Arrays:
    """Converts a layer's inputs, kernel and bias to the dtype of its computation, as Flax does.

    On accelerators a narrowed kernel has a gradient of its own (``_narrowed``).
    """
    if dtype is None or backend.uses_cpu_lowering():
        return nnx.nn.dtypes.promote_dtype(arrays, dtype=dtype, inexact=inexact)
    inputs, kernel, *others = arrays
    if jnp.finfo(dtype).bits < jnp.finfo(kernel.dtype).bits:
        kernel = _narrowed(kernel, jnp.dtype(dtype))
    promoted: Any = nnx.nn.dtypes.promote_dtype((inputs, kernel, *others), dtype=dtype, inexact=inexact)
    return promoted


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _narrowed(kernel, dtype):
    """Converts a kernel to a narrower dtype.

    The library's gradient of a kernel has the kernel's last axis first. XLA would compute the optimizer's update in
    that order, in float32, and copy its results. The barrier, which only sees a list of numbers, makes it put the
    narrow gradient in order first. No value changes.
    """
    return kernel.astype(dtype)


def _narrowed_backward(dtype, like, cotangent):
    ordered = lax.optimization_barrier(cotangent.ravel()).reshape(cotangent.shape)
    return (ordered.astype(like.dtype),)


_narrowed.defvjp(lambda kernel, dtype: (kernel.astype(dtype), jnp.zeros((), kernel.dtype)), _narrowed_backward)


def _convolve_on_cpu(
    images: Array, kernel: Array, strides: tuple[int, ...], padding: Sequence[tuple[int, int]]
) -> Array:
    kernel_sides, (in_channels, out_channels) = kernel.shape[:2], kernel.shape[2:]
    if strides == (1, 1) and min(kernel_sides) >= WIDE_KERNEL:
        if in_channels <= FEW_CHANNELS:
            return convolve_in_tiles(_zero_pad(images, padding), kernel, TILE_FROM_FEW_CHANNELS)
        if out_channels <= FEW_CHANNELS:
            return _convolve_to_few_channels(_zero_pad(images, padding), kernel)
    few_pixels = math.prod(_out_sides(images, kernel, strides, padding)) < math.prod(kernel_sides)
    if few_pixels and out_channels > FEW_CHANNELS:
        return _convolve_to_few_pixels(_zero_pad(images, padding), kernel, strides)
    return lax.conv_general_dilated(images, kernel, strides, padding, dimension_numbers=_NHWC)


def _is_plain(
    lhs: Array, rhs: Array, strides: Sequence[int], padding: Sequence[tuple[int, int]], settings: dict[str, Any]
) -> bool:
    """Returns whether the convolution is a plain 2-D NHWC one, as all of our models' are: no dilation, no groups."""
    if len(strides) != 2 or min(min(sides) for sides in padding) < 0:
        return False
    usual = {
        "lhs_dilation": (None, (1, 1)),
        "rhs_dilation": (None, (1, 1)),
        "dimension_numbers": (_NHWC, lax.conv_dimension_numbers(lhs.shape, rhs.shape, _NHWC)),
        "feature_group_count": (1,),
    }
    return all(value in usual.get(name, (None,)) for name, value in settings.items())


def _out_sides(
    images: Array, kernel: Array, strides: Sequence[int], padding: Sequence[tuple[int, int]]
) -> tuple[int, ...]:
    sides = zip(images.shape[1:3], kernel.shape[:2], strides, padding, strict=True)
    return tuple((side + sum(added) - window) // stride + 1 for side, window, stride, added in sides)


def _zero_pad(images: Array, padding: Sequence[tuple[int, int]]) -> Array:
    """Pads before the convolution. The barrier stops XLA from merging the two, which is slow with few channels."""
    if not any(map(any, padding)):
        return images
    return lax.optimization_barrier(jnp.pad(images, ((0, 0), *padding, (0, 0))))


def _plain(images: Array, kernel: Array, strides: Sequence[int] = (1, 1)) -> Array:
    return lax.conv_general_dilated(images, kernel, strides, "VALID", dimension_numbers=_NHWC)


def _turned(kernel: Array) -> Array:
    """Returns the kernel of the transposed convolution: rotated by 180 degrees, input and output channels swapped."""
    return kernel[::-1, ::-1].swapaxes(2, 3)


@jax.custom_vjp
def _convolve_to_few_channels(images, kernel):
    if _fits_tiles(kernel):
        return convolve_in_tiles(images, kernel, TILE_TO_FEW_CHANNELS)
    return convolve_by_columns(images, kernel)


def _fits_tiles(kernel: Array) -> bool:
    return kernel.shape[2] <= SOME_CHANNELS


def _few_channels_backward(operands, cotangent):
    images, kernel = operands
    padded = _zero_pad(cotangent, [(side - 1, side - 1) for side in kernel.shape[:2]])
    # The gradient of the images is a convolution from few channels. With images and cotangent swapped, the gradient of
    # the kernel is that of the same convolution.
    to_few_channels = partial(convolve_in_tiles, images, tile=TILE_TO_FEW_CHANNELS)
    from_few_channels = partial(convolve_in_tiles, padded, tile=TILE_FROM_FEW_CHANNELS)
    if _fits_tiles(kernel):
        kernel_gradient = _kernel_gradient(to_few_channels, kernel, cotangent)
    else:
        kernel_gradient = _turned(_kernel_gradient(from_few_channels, _turned(kernel), images))
    return from_few_channels(_turned(kernel)), kernel_gradient


def _kernel_gradient(convolve: Callable[[Array], Array], kernel: Array, cotangent: Array) -> Array:
    """Returns the gradient of a convolution's kernel; ``convolve`` is linear in the kernel."""
    return jax.linear_transpose(convolve, kernel)(cotangent)[0]


_convolve_to_few_channels.defvjp(
    lambda *operands: (_convolve_to_few_channels(*operands), operands), _few_channels_backward
)


def convolve_in_tiles(
    images: Float[Array, "batch height width in_channels"],
    kernel: Float[Array, "kernel_height kernel_width in_channels out_channels"],
    tile: tuple[int, int],
) -> Float[Array, "batch out_height out_width out_channels"]:
    """Computes an unpadded convolution with stride 1 that has few input or few output channels.

    A larger kernel, whose strides are the tile's sides, holds a copy of the kernel for every pixel of a tile, shifted
    by that pixel's offset from the tile's corner. Along a side of the output that is not a multiple of the tile's, the
    tile is one pixel long.
    """
    kernel_height, kernel_width, in_channels, out_channels = kernel.shape
    batch, *out_sides = images.shape[0], *_out_sides(images, kernel, (1, 1), ((0, 0), (0, 0)))
    rows, columns = (size if side % size == 0 else 1 for side, size in zip(out_sides, tile, strict=True))
    shifted = [
        jnp.pad(kernel, ((row, rows - 1 - row), (column, columns - 1 - column), (0, 0), (0, 0)))
        for row in range(rows)
        for column in range(columns)
    ]
    larger = jnp.stack(shifted, axis=3).reshape(kernel_height + rows - 1, kernel_width + columns - 1, in_channels, -1)
    tiles = _plain(images, larger, (rows, columns))
    tiles = tiles.reshape(batch, out_sides[0] // rows, out_sides[1] // columns, rows, columns, out_channels)
    return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(batch, *out_sides, out_channels)


def convolve_by_columns(
    images: Float[Array, "batch height width in_channels"],
    kernel: Float[Array, "kernel_height kernel_width in_channels out_channels"],
) -> Float[Array, "batch out_height out_width out_channels"]:
    """Computes an unpadded convolution with stride 1 that has few output channels.

    Each column of the kernel is convolved separately, as additional output channels, and the results are added.
    """
    kernel_height, kernel_width, in_channels, out_channels = kernel.shape
    columns = kernel.transpose(0, 2, 1, 3).reshape(kernel_height, 1, in_channels, kernel_width * out_channels)
    by_column = jnp.split(_plain(images, columns), kernel_width, axis=-1)
    out_width = images.shape[2] - kernel_width + 1
    shifted = [convolved[:, :, place : place + out_width] for place, convolved in enumerate(by_column)]
    return sum(shifted[1:], shifted[0])


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve_to_few_pixels(images, kernel, strides):
    return _plain(images, kernel, strides)


def _few_pixels_forward(images, kernel, strides):
    return _plain(images, kernel, strides), (images, kernel)


def _few_pixels_backward(strides, operands, cotangent):
    images, kernel = operands
    _, pull_back = jax.vjp(lambda kernel: _plain(images, kernel, strides), kernel)
    return patch_input_gradient(images.shape, kernel, strides, cotangent), pull_back(cotangent)[0]


_convolve_to_few_pixels.defvjp(_few_pixels_forward, _few_pixels_backward)


def patch_input_gradient(
    shape: tuple[int, ...],
    kernel: Float[Array, "kernel_height kernel_width in_channels out_channels"],
    strides: tuple[int, int],
    cotangent: Float[Array, "batch out_height out_width out_channels"],
) -> Float[Array, "batch height width in_channels"]:
    """Returns the gradient of an unpadded convolution's input; fast if the output is smaller than the kernel.

    One matrix product computes the gradient that every output pixel passes to the input patch under the kernel. The
    patches are then added, one position in the kernel after the other.
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


@jax.custom_vjp
def pixelwise_product(
    images: Float[Array, "batch height width in_channels"], matrix: Float[Array, "in_channels out_channels"]
) -> Float[Array, "batch height width out_channels"]:
    """Computes ``images @ matrix``, a 1x1 convolution.

    Its gradient of the matrix is a product of two 2-D matrices; for JAX's own, XLA:CPU transposes all pixels first, one
    number at a time.
    """
    return images @ matrix


def _pixelwise_forward(images, matrix):
    return images @ matrix, (images, matrix)


def _pixelwise_backward(operands, cotangent):
    images, matrix = operands
    pixels, cotangents = (values.reshape(-1, values.shape[-1]) for values in (images, cotangent))
    return cotangent @ matrix.T, lax.dot_general(pixels, cotangents, (((0,), (0,)), ((), ())))


pixelwise_product.defvjp(_pixelwise_forward, _pixelwise_backward)
