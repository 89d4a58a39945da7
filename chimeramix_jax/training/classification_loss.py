"""The cross entropy that the classifier minimises: with smoothed labels and weights of the classes, if they are set."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


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
