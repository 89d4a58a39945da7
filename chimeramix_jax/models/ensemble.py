"""Several networks as one classifier, whose probabilities are the means of theirs."""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from chimeramix_jax.models.layers import SwitchableModule
from chimeramix_jax.models.pooled import PooledClassifier

Network = PooledClassifier  # a single one


class Ensemble(SwitchableModule):
    """An ensemble of networks that were trained on the same images with different random numbers.

    B. Lakshminarayanan, A. Pritzel and C. Blundell, *Simple and scalable predictive uncertainty estimation using deep
    ensembles*, NIPS 2017.
    """

    def __init__(self, members: Sequence[Network]):
        """Joins networks with the same classes."""
        self.members = nnx.List(members)

    def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch num_classes"]:
        """Returns logits of the averaged probabilities for images in [-1, 1]."""
        return averaged_logits([member(images) for member in self.members])


def members_of(classifier: Network | Ensemble) -> list[Network]:
    """Returns the networks of a classifier; a single network is its own only member."""
    return list(classifier.members) if isinstance(classifier, Ensemble) else [classifier]


def averaged_logits(logits: Sequence[Float[Array, "batch classes"]]) -> Float[Array, "batch classes"]:
    """Returns logits whose probabilities are the means of those of several logits; a single one stays as it is."""
    if len(logits) == 1:
        return logits[0]
    return functools.reduce(jnp.logaddexp, map(jax.nn.log_softmax, logits)) - math.log(len(logits))
