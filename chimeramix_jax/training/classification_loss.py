"""The losses that the classifier can minimise, with smoothed labels and weights of the classes, if they are set.

A loss is a function of logits and labels. A label that is shared by several classes, by smoothing or by mixup and
CutMix, has the mean of the losses of these classes, weighted by their shares.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from chimeramix_jax.extensions import lookup, registry
from chimeramix_jax.models.heads import unit_vectors


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
    return _weighted(entropies, labels, class_weights)


def cosine_losses(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, "batch"],
    *,
    smoothing: float = 0.0,
    class_weights: Float[Array, "classes"] | None = None,
) -> Float[Array, "batch"]:
    """Returns 1 minus the cosine of the angle between every image's logits and the one-hot vector of its class.

    Barz and Denzler, *Deep learning on small datasets without pre-training using cosine loss*, WACV 2020. The length of
    the logits has no influence. The values are from 0 to 2; the arguments are those of ``cross_entropies``.
    """
    cosines = unit_vectors(logits)
    expected = jnp.take_along_axis(cosines, labels[:, None], axis=1)[:, 0]
    if smoothing:
        expected = (1 - smoothing) * expected + smoothing * jnp.mean(cosines, axis=1)
    losses = 1 - expected
    return _weighted(losses, labels, class_weights)


def own_losses(
    logits: Float[Array, "batch classes"],
    labels: Int[Array, "batch"],
    *,
    of: Any,
    smoothing: float = 0.0,
    class_weights: Float[Array, "classes"] | None = None,
) -> Float[Array, "batch"]:
    """Returns the values of a custom loss (``of``) of every image, for labels that are not smoothed."""
    assert not smoothing, "config/checking.py refuses smoothed labels"
    losses = of(logits, labels)
    return _weighted(losses, labels, class_weights)


def _weighted(
    losses: Float[Array, "batch"], labels: Int[Array, "batch"], class_weights: Float[Array, "classes"] | None
) -> Float[Array, "batch"]:
    """Returns the losses, each multiplied by the weight of its image's class; without weights, as they are."""
    return losses if class_weights is None else losses * class_weights[labels].astype(jnp.float32)


# By the value of ``classifier.loss``.
LOSSES: Mapping[str, Callable[..., Float[Array, "batch"]]] = {
    "cross_entropy": cross_entropies,
    "cosine": cosine_losses,
}


def loss_of(name: str, code: str = "") -> Callable[..., Float[Array, "batch"]]:
    """Returns the loss called ``name``, a function like ``cross_entropies``; ``code`` is that of a custom loss."""
    return partial(own_losses, of=lookup.find(registry.LOSS, name, code)) if code else LOSSES[name]
