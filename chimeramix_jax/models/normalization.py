"""Instance and batch normalization with PyTorch's conventions and a hand-written gradient that both share."""

import math
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

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
    count = _values_per_statistic(features, example_mask, axes)
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
    count = _values_per_statistic(features, example_mask, axes)
    gradient = cotangent - takes_part / count * (total + normalized * correlation)
    gradient = (scale * inverse * gradient).astype(features.dtype)
    return gradient, _summed_to(correlation, scale), _summed_to(total, bias), None


def _values_per_statistic(
    features: Float[Array, "batch height width channels"],
    example_mask: Bool[Array, "batch 1 1 1"] | None,
    axes: tuple[int, ...],
) -> int | Int[Array, ""]:
    """Returns the number of values in a mean over ``axes``."""
    examples = features.shape[0] if example_mask is None else jnp.sum(example_mask)
    return math.prod(features.shape[axis] for axis in axes if axis > 0) * (examples if 0 in axes else 1)


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


def _summed_to(gradient: Array, parameter: Array) -> Array:
    """Sums a gradient over the axes along which the parameter was broadcast."""
    axes = tuple(axis for axis in range(gradient.ndim) if parameter.ndim <= gradient.ndim - 1 - axis)
    return jnp.sum(gradient, axis=axes).reshape(parameter.shape).astype(parameter.dtype)


normalize.defvjp(_normalize_forward, _normalize_backward)


def instance_norm(
    features: Float[Array, "batch height width channels"], epsilon: float = 1e-5
) -> Float[Array, "batch height width channels"]:
    """Normalizes every channel of every image to mean 0 and variance 1, without scale and shift."""
    one, zero = jnp.ones((), jnp.float32), jnp.zeros((), jnp.float32)
    return normalize(features, one, zero, None, (1, 2), epsilon)[0]


class BatchNorm(nnx.Module):
    """Batch normalization as in PyTorch: the running variance is unbiased, where Flax keeps the biased variance."""

    def __init__(self, channels: int, *, momentum: float = 0.1, epsilon: float = 1e-5):
        """Creates the layer in training mode; ``momentum`` is the weight of the new batch in the running statistics."""
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))
        self.mean = nnx.BatchStat(jnp.zeros(channels))
        self.variance = nnx.BatchStat(jnp.ones(channels))
        self.momentum = momentum
        self.epsilon = epsilon
        self.use_running_average = False

    def __call__(
        self,
        features: Float[Array, "batch height width channels"],
        example_mask: Bool[Array, "batch"] | None = None,
    ) -> Float[Array, "batch height width channels"]:
        """Normalizes per channel; in training mode also updates the running statistics.

        Examples where ``example_mask`` is False pad an incomplete batch and do not count in the statistics.
        """
        if self.use_running_average:
            wide = features.astype(jnp.promote_types(features.dtype, jnp.float32))
            factor = self.scale[...] * jax.lax.rsqrt(self.variance[...] + self.epsilon)
            return ((wide - self.mean[...]) * factor + self.bias[...]).astype(features.dtype)
        where = None if example_mask is None else example_mask[:, None, None, None]
        normalized, mean, variance = normalize(
            features, self.scale[...], self.bias[...], where, (0, 1, 2), self.epsilon
        )
        examples = features.shape[0] if example_mask is None else jnp.sum(example_mask)
        self._update_running(mean.ravel(), variance.ravel(), examples * features.shape[1] * features.shape[2])
        return normalized

    def _update_running(self, mean, variance, count) -> None:
        unbiased = variance * (count / jnp.maximum(count - 1, 1))
        for statistic, current in ((self.mean, mean), (self.variance, unbiased)):
            updated = (1 - self.momentum) * statistic[...] + self.momentum * jax.lax.stop_gradient(current)
            statistic[...] = updated.astype(statistic[...].dtype)
