"""The losses that the classifier can minimise: with smoothed labels and weights of the classes, if they are set."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from chimeramix_jax.extensions import lookup, registry


def cross_entropies(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, "batch"],
    *,
    smoothing: float = 0.0,
    class_weights: Float[Array, "classes"] | None = None,
) -> Float[Array, "batch"]:
    """Returns the cross entropy of every image, in nats.

    Args:
        logits: the network's.
        labels: the images' classes, from 0.
        smoothing: the share of every label that is spread evenly over all classes, its own included.
        class_weights: multiply the cross entropies of a class's images; None: all count alike.
    """
    if smoothing:
        smooth = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[1], dtype=logits.dtype), smoothing)
        entropies = optax.softmax_cross_entropy(logits, smooth)
    else:
        entropies = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return entropies if class_weights is None else entropies * class_weights[labels].astype(jnp.float32)


def own_losses(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, "batch"],
    *,
    of: Any,
    smoothing: float = 0.0,
    class_weights: Float[Array, "classes"] | None = None,
) -> Float[Array, "batch"]:
    """Returns the values of an own loss (``of``) of every image, for labels that are not smoothed."""
    assert not smoothing, "config/checking.py refuses smoothed labels"
    losses = of(logits, labels)
    return losses if class_weights is None else losses * class_weights[labels].astype(jnp.float32)


# By the value of ``classifier.loss``.
LOSSES: Mapping[str, Callable[..., Float[Array, "batch"]]] = {"cross_entropy": cross_entropies}


def loss_of(name: str, code: str = "") -> Callable[..., Float[Array, "batch"]]:
    """Returns the loss called ``name``, a function like ``cross_entropies``; ``code`` is that of an own loss."""
    return partial(own_losses, of=lookup.find(registry.LOSS, name, code)) if code else LOSSES[name]
