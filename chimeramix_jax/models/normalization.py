"""Instance and batch normalization with PyTorch's conventions and a hand-written gradient that both share."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float

from chimeramix_jax.models import fused_norm
from chimeramix_jax.models.fused_norm import Form, from_blocks, summed_to, values_per_statistic
from chimeramix_jax.models.padding import reflect_pad
from chimeramix_jax.runtime import backend


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def normalize(
    features: Float[Array, "batch height width channels"],
    scale: Float[Array, "..."],
    bias: Float[Array, "..."],
    example_mask: Bool[Array, "batch 1 1 1"] | None,
    axes: tuple[int, ...],
    epsilon: float,
) -> tuple[Float[Array, "batch height width channels"], Float[Array, "..."], Float[Array, "..."]]:
    """Normalizes features to mean 0 and variance 1 over ``axes``, scales and shifts them; also returns the statistics.

    Returns the features, their mean and their variance. The statistics are computed in float32 or wider, over the
    examples where ``example_mask`` is True, and keep the axes with length 1. No gradient flows through the returned
    statistics. The gradient of the features is written by hand because it needs only two sums over them, which are also
    the gradients of scale and bias; automatic differentiation needs more. With n values per statistic, normalized
    features y and cotangent c it is ``scale / deviation * (c - (sum(c) + y * sum(c * y)) / n)`` (Ioffe and Szegedy,
    2015, section 3).
    """
    return _normalize_forward(features, scale, bias, example_mask, axes, epsilon)[0]


def _normalize_forward(features, scale, bias, example_mask, axes, epsilon):
    wide = features.astype(jnp.promote_types(features.dtype, jnp.float32))
    count = values_per_statistic(features, example_mask, axes)
    mean = sum_over(wide, axes, example_mask) / count
    variance = sum_over(jnp.square(wide - mean), axes, example_mask) / count
    normalized = (wide - mean) * (scale * jax.lax.rsqrt(variance + epsilon)) + bias
    return (normalized.astype(features.dtype), mean, variance), (features, scale, bias, example_mask, mean, variance)


def _normalize_backward(axes, epsilon, residuals, cotangents):
    features, scale, bias, example_mask, mean, variance = residuals
    cotangent = cotangents[0].astype(mean.dtype)
    inverse = jax.lax.rsqrt(variance + epsilon)
    normalized = (features.astype(mean.dtype) - mean) * inverse
    total = sum_over(cotangent, axes)
    correlation = sum_over(cotangent * normalized, axes)
    # Only unmasked examples contribute to the statistics, although all are normalized with them.
    takes_part = jnp.ones((1,) * 4, mean.dtype) if example_mask is None else example_mask.astype(mean.dtype)
    count = values_per_statistic(features, example_mask, axes)
    gradient = cotangent - takes_part / count * (total + normalized * correlation)
    gradient = (scale * inverse * gradient).astype(features.dtype)
    return gradient, summed_to(correlation, scale), summed_to(total, bias), None


def sum_over(
    values: Float[Array, "batch height width channels"],
    axes: tuple[int, ...],
    example_mask: Bool[Array, "batch 1 1 1"] | None = None,
) -> Float[Array, "..."]:
    """Sums over the pixels, or over pixels and examples, where ``example_mask`` is True; keeps the axes.

    On CPU a sum over pixels and examples is a matrix product with ones: XLA:CPU would compute so few sums on a single
    core, one number at a time.
    """
    if 0 not in axes or not backend.uses_cpu_lowering():
        return jnp.sum(values, axis=axes, keepdims=True, where=example_mask)
    counted = jnp.ones((1,) * 4, values.dtype) if example_mask is None else example_mask.astype(values.dtype)
    counted = jnp.broadcast_to(counted[..., 0], values.shape[:3])
    return (counted.reshape(1, -1) @ values.reshape(-1, values.shape[3])).reshape(1, 1, 1, -1)


normalize.defvjp(_normalize_forward, _normalize_backward)


def instance_norm(
    features: Float[Array, "batch height width ... channels"],
    *,
    slope: float = 1.0,
    padding: int = 0,
    epsilon: float = 1e-5,
) -> Float[Array, "batch out_height out_width channels"]:
    """Normalizes every channel of every image to mean 0 and variance 1, without scale and shift.

    Negative values are then multiplied by ``slope`` (0 is ReLU), and the result is padded by reflection by ``padding``
    pixels. Features with six axes are blocks of 2x2 pixels (``fused_norm.from_blocks``).
    """
    one, zero = jnp.ones((), jnp.float32), jnp.zeros((), jnp.float32)
    if not backend.uses_cpu_lowering():
        form = Form(tuple(range(1, features.ndim - 1)), epsilon, slope, padding)
        return fused_norm.normalize(features, one, zero, None, form)[0]
    features = from_blocks(features) if features.ndim == 6 else features
    normalized = _activated(normalize(features, one, zero, None, (1, 2), epsilon)[0], slope)
    return reflect_pad(normalized, padding) if padding else normalized


def _activated(values: Float[Array, "..."], slope: float) -> Float[Array, "..."]:
    """Multiplies negative values by ``slope``."""
    if slope == 0:
        return nnx.relu(values)
    return values if slope == 1 else nnx.leaky_relu(values, slope)


class BatchNorm(nnx.Module):
    """Batch normalization as in PyTorch: the running variance is unbiased, where Flax keeps the biased variance."""

    def __init__(self, channels: int, *, momentum: float = 0.1, epsilon: float = 1e-5, affine: bool = True):
        """Creates the layer in training mode.

        ``momentum`` is the weight of the new batch in the running statistics. Without ``affine``, the scale is always 1
        and the bias 0.
        """
        self.scale = nnx.Param(jnp.ones(channels)) if affine else None
        self.bias = nnx.Param(jnp.zeros(channels)) if affine else None
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.variance = nnx.BatchStat(jnp.ones(channels))
        self.momentum = momentum
        self.epsilon = epsilon
        self.use_running_average = False

    def __call__(
        self,
        features: Float[Array, "batch height width channels"],
        example_mask: Bool[Array, "batch"] | None = None,
        *,
        relu: bool = False,
    ) -> Float[Array, "batch height width channels"]:
        """Normalizes per channel, applies ReLU if asked; in training mode also updates the running statistics.

        Examples where ``example_mask`` is False pad an incomplete batch and do not count in the statistics.
        """
        slope = 0.0 if relu else 1.0
        if self.use_running_average:
            wide = features.astype(jnp.promote_types(features.dtype, jnp.float32))
            scale, bias = self.scale_and_bias()
            factor = scale * jax.lax.rsqrt(self.variance[...] + self.epsilon)
            return _activated(((wide - self.mean[...]) * factor + bias).astype(features.dtype), slope)
        where = None if example_mask is None else example_mask[:, None, None, None]
        (scale, bias), axes = self.scale_and_bias(), (0, 1, 2)
        if backend.uses_cpu_lowering():
            normalized, mean, variance = normalize(features, scale, bias, where, axes, self.epsilon)
            normalized = _activated(normalized, slope)
        else:
            form = Form(axes, self.epsilon, slope)
            normalized, mean, variance = fused_norm.normalize(features, scale, bias, where, form)
        examples = features.shape[0] if example_mask is None else jnp.sum(example_mask)
        self._update_running(mean.ravel(), variance.ravel(), examples * features.shape[1] * features.shape[2])
        return normalized

    def scale_and_bias(self) -> tuple[Float[Array, "channels"], Float[Array, "channels"]]:
        """Returns what normalized features are multiplied by, and what is added to them."""
        if self.scale is None or self.bias is None:
            return jnp.ones_like(self.mean[...]), jnp.zeros_like(self.mean[...])
        return self.scale[...], self.bias[...]

    def _update_running(self, mean, variance, count) -> None:
        unbiased = variance * (count / jnp.maximum(count - 1, 1))
        for statistic, current in ((self.mean, mean), (self.variance, unbiased)):
            updated = (1 - self.momentum) * statistic[...] + self.momentum * jax.lax.stop_gradient(current)
            statistic[...] = updated.astype(statistic[...].dtype)
