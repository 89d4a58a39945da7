"""A norm with everything that follows it up to the next convolution, in as few passes over memory as XLA can do.

On an accelerator the elementwise operations between two convolutions take as long as the bytes that they read and
write. The forward pass here reads a convolution's output twice (for the statistics, and to normalise it) and writes
once. It keeps for the backward pass only that output, in its own dtype, and two numbers per statistic; the backward
pass computes normalised values again, which costs nothing beside reading. ``docs/performance.md`` has what each part
saves. On CPU the same is computed by separate operations (``normalization.py``, ``padding.py``).
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from chimeramix_jax.models.padding import fold_borders


class Form(NamedTuple):
    """What is normalised, and what follows.

    Attributes:
        axes: of the features, over which a mean is taken.
        epsilon: added to the variance.
        slope: factor of negative values after the norm: 0 is ReLU, 1 is no activation.
        padding: pixels by which the result is padded by reflection.
    """

    axes: tuple[int, ...]
    epsilon: float
    slope: float = 1.0
    padding: int = 0


@partial(jax.custom_vjp, nondiff_argnums=(4,))
def normalize(
    features: Float[Array, "batch height width ... channels"],
    scale: Float[Array, "..."],
    bias: Float[Array, "..."],
    example_mask: Bool[Array, "batch 1 1 1"] | None,
    form: Form,
) -> tuple[Float[Array, "batch out_height out_width channels"], Float[Array, "..."], Float[Array, "..."]]:
    """Normalises, scales, shifts, activates and pads features; also returns their mean and variance.

    Features with six axes, (batch, height, width, 2, 2, channels), are blocks of 2x2 pixels, which the result has in
    place. As in ``normalization.normalize``, statistics are in float32 or wider, count the examples where
    ``example_mask`` is True, keep the axes with length 1, and pass no gradient.

    Of features narrower than float32, both statistics come from one pass: the variance is the mean square less the
    squared mean. Up to a mean of ten deviations, the deviation's error is below a tenth of what bfloat16 can resolve.
    """
    return _forward(features, scale, bias, example_mask, form)[0]


def _forward(features, scale, bias, example_mask, form):
    wide = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    count = values_per_statistic(features, example_mask, form.axes)
    counted = wide if example_mask is None else jnp.where(example_mask, wide, 0)
    if features.dtype == wide.dtype:
        mean = jnp.sum(counted, form.axes, keepdims=True) / count
        variance = jnp.sum(jnp.square(wide - mean), form.axes, keepdims=True, where=example_mask) / count
    else:
        mean = jnp.sum(counted, form.axes, keepdims=True) / count
        squares = jnp.sum(jnp.square(counted), form.axes, keepdims=True)
        variance = jnp.maximum(squares / count - jnp.square(mean), 0)
    inverse = lax.rsqrt(variance + form.epsilon)
    # Pixels are put in their places first, since XLA does not fuse a look-up with what comes before it.
    mean_in_place, inverse_in_place = (_without_blocks(statistic) for statistic in (mean, inverse))
    placed = _in_place(features, form).astype(mean.dtype)
    normalized = (placed - mean_in_place) * (scale * inverse_in_place) + bias
    active = normalized if form.slope == 1 else jnp.maximum(normalized, form.slope * normalized)
    result = active.astype(features.dtype)
    return (result, mean, variance), (features, scale, bias, example_mask, mean, inverse)


def _backward(form, residuals, cotangents):
    features, scale, bias, example_mask, mean, inverse = residuals

    def read(pixels, cotangent):
        """Returns the normalised features, and the gradient with respect to the norm's result."""
        normalized = (pixels.reshape(features.shape).astype(mean.dtype) - mean) * inverse
        cotangent = _out_of_place(cotangent, features.shape, form).astype(mean.dtype)
        return normalized, _activated(normalized * scale + bias, cotangent, form)

    # Both passes read the features and the cotangent. Without the barriers XLA would write to memory what a pass has in
    # common with the other or with the forward pass, in float32 or as a mask, instead of computing it again.
    pixels = features
    if features.ndim == 6:  # as a list of pixels, because XLA would first write blocks in the order of the image
        pixels = features.reshape(features.shape[0], -1, features.shape[-1])
    inputs = lax.optimization_barrier((pixels, cotangents[0]))
    normalized, cotangent = read(*inputs)
    total = jnp.sum(cotangent, form.axes, keepdims=True)
    correlation = jnp.sum(cotangent * normalized, form.axes, keepdims=True)
    inputs, total, correlation = lax.optimization_barrier((inputs, total, correlation))
    normalized, cotangent = read(*inputs)
    # Only unmasked examples contribute to the statistics, although all are normalized with them.
    takes_part = 1 if example_mask is None else example_mask.astype(mean.dtype)
    count = values_per_statistic(features, example_mask, form.axes)
    gradient = cotangent - takes_part * ((total + normalized * correlation) / count)
    gradient = (scale * inverse * gradient).astype(features.dtype)
    return gradient, summed_to(correlation, scale), summed_to(total, bias), None


normalize.defvjp(_forward, _backward)


def _activated(normalized: Array, values: Array, form: Form) -> Array:
    """Multiplies values by the slope of the activation at ``normalized``.

    The arithmetic stands for a comparison, whose result XLA would write to memory.
    """
    if form.slope == 1:
        return values
    return values * (form.slope + (1 - form.slope) * jnp.sign(jnp.maximum(normalized, 0)))


def _without_blocks(statistic: Array) -> Array:
    """Returns a statistic of blocks with the axes that it has for images."""
    return statistic.reshape(statistic.shape[0], 1, 1, statistic.shape[-1])


def _in_place(features: Array, form: Form) -> Array:
    """Puts the pixels of blocks in their places in the image, and pads it; a single look-up if there is padding."""
    if not form.padding:
        return from_blocks(features) if features.ndim == 6 else features
    blocks = features.ndim == 6
    rows, columns = (
        np.pad(np.arange((1 + blocks) * size), form.padding, mode="reflect") for size in features.shape[1:3]
    )
    rows = rows[:, None]
    if not blocks:
        return features[:, rows, columns]
    # One position per pixel: with an index per axis of the blocks, XLA would first write the features in another order.
    positions = ((rows // 2) * features.shape[2] + columns // 2) * 4 + rows % 2 * 2 + columns % 2
    return features.reshape(features.shape[0], -1, features.shape[-1])[:, positions]


def _out_of_place(cotangent: Array, shape: tuple[int, ...], form: Form) -> Array:
    """Returns the gradient of ``_in_place`` with respect to values of the given shape."""
    if form.padding:
        cotangent = fold_borders(cotangent, form.padding)
    return to_blocks(cotangent) if len(shape) == 6 else cotangent


def from_blocks(
    blocks: Float[Array, "batch height width 2 2 channels"],
) -> Float[Array, "batch 2*height 2*width channels"]:
    """Puts the pixels of blocks of 2x2 pixels in their places in the image."""
    batch, height, width, _, _, channels = blocks.shape
    return blocks.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, channels)


def to_blocks(
    images: Float[Array, "batch height width channels"],
) -> Float[Array, "batch height/2 width/2 2 2 channels"]:
    """Divides images into blocks of 2x2 pixels."""
    batch, height, width, channels = images.shape
    return images.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)


def values_per_statistic(
    features: Array, example_mask: Bool[Array, "batch 1 1 1"] | None, axes: tuple[int, ...]
) -> int | Int[Array, ""]:
    """Returns the number of values in a mean over ``axes``."""
    examples = features.shape[0] if example_mask is None else jnp.sum(example_mask)
    return math.prod(features.shape[axis] for axis in axes if axis > 0) * (examples if 0 in axes else 1)


def summed_to(gradient: Array, parameter: Array) -> Array:
    """Sums a gradient over the axes along which the parameter was broadcast."""
    axes = tuple(axis for axis in range(gradient.ndim) if parameter.ndim <= gradient.ndim - 1 - axis)
    return jnp.sum(gradient, axis=axes).reshape(parameter.shape).astype(parameter.dtype)
