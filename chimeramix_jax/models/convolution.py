"""How convolutions are lowered, per backend. The one place that decides: the models only say which convolution.

XLA's CPU backend is slow at some of the shapes that the models have (measured figures: ``docs/performance.md``): wide
kernels that begin or end with few channels, and outputs smaller than the kernel. On CPU these are computed here by
other convolutions or matrix products of the same value; all else is XLA's, and so is everything on other backends.
On CPU it also matters by which library XLA computes them: ``chimeramix_jax/runtime/xla_flags.py``.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

_NHWC = ("NHWC", "HWIO", "NHWC")

FEW_CHANNELS = 4  # up to which an input or output counts as narrow: an image's
WIDE_KERNEL = 5  # from which on convolutions from and to few channels are computed otherwise
SOME_CHANNELS = 16  # up to which a convolution to few channels is computed in tiles, and beyond by columns

# Pixels of the output that are computed at once, as so many times the channels: XLA's convolution spends most of its
# time on gathering what lies under the kernel, which is less work for a tile than for each of its pixels.
TILE_FROM_FEW_CHANNELS, TILE_TO_FEW_CHANNELS = (1, 2), (4, 4)


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
    explicit = None if isinstance(padding, str) else padding
    if explicit and jax.default_backend() == "cpu" and _is_plain(lhs, rhs, window_strides, explicit, settings):
        return _convolve_on_cpu(lhs, rhs, tuple(window_strides), explicit)
    return lax.conv_general_dilated(lhs, rhs, window_strides, padding, **settings)


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
    lhs: Array, rhs: Array, strides: Sequence[int], padding: Sequence[tuple[int, int]], settings: dict
) -> bool:
    """Whether it is a 2-D NHWC convolution with nothing unusual: all that our models use."""
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
    """Pads before the convolution: XLA would make it the convolution's own padding, which is slow from few channels."""
    if not any(map(any, padding)):
        return images
    return lax.optimization_barrier(jnp.pad(images, ((0, 0), *padding, (0, 0))))


def _plain(images: Array, kernel: Array, strides: Sequence[int] = (1, 1)) -> Array:
    return lax.conv_general_dilated(images, kernel, strides, "VALID", dimension_numbers=_NHWC)


def _turned(kernel: Array) -> Array:
    """The kernel that convolves the other way: turned by half a turn, inputs and outputs swapped."""
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
    # The images' gradient is a convolution that starts at the few channels. Where images and cotangent change places,
    # the kernel's gradient is that of the same convolution.
    to_few_channels = partial(convolve_in_tiles, images, tile=TILE_TO_FEW_CHANNELS)
    from_few_channels = partial(convolve_in_tiles, padded, tile=TILE_FROM_FEW_CHANNELS)
    if _fits_tiles(kernel):
        kernel_gradient = _kernel_gradient(to_few_channels, kernel, cotangent)
    else:
        kernel_gradient = _turned(_kernel_gradient(from_few_channels, _turned(kernel), images))
    return from_few_channels(_turned(kernel)), kernel_gradient


def _kernel_gradient(convolve: Callable[[Array], Array], kernel: Array, cotangent: Array) -> Array:
    """The gradient of the kernel of a convolution, which is linear in it."""
    return jax.linear_transpose(convolve, kernel)(cotangent)[0]


_convolve_to_few_channels.defvjp(
    lambda *operands: (_convolve_to_few_channels(*operands), operands), _few_channels_backward
)


def convolve_in_tiles(
    images: Float[Array, "batch height width in_channels"],
    kernel: Float[Array, "kernel_height kernel_width in_channels out_channels"],
    tile: tuple[int, int],
) -> Float[Array, "batch out_height out_width out_channels"]:
    """An unpadded convolution with stride 1, for few channels of the input or of the output.

    A larger kernel, with a stride of the tile's sides, holds the kernel once for every pixel of a tile, shifted by as
    many pixels as that one lies from the tile's corner. A side of the output that is no multiple of the tile's is
    computed pixel by pixel.
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
    """An unpadded convolution with stride 1, for few channels of the output.

    The kernel's columns are convolved beside each other, as channels of their own, and added up afterwards.
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


@jax.custom_vjp
def pixelwise_product(
    images: Float[Array, "batch height width in_channels"], matrix: Float[Array, "in_channels out_channels"]
) -> Float[Array, "batch height width out_channels"]:
    """The matrix product ``images @ matrix``, a convolution by single pixels.

    The matrix's gradient is a product of plain matrices here; JAX's own has XLA:CPU transpose all pixels first, one
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
