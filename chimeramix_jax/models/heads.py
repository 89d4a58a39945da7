"""The last layer of a classifier: turns an image's features into logits.

For a single image, every head can be written as an affine function of the features (``contributions``). For heads that
are not linear, its factors depend on the image as a whole. Class activation maps need this form.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

CERTAIN = 0.99  # probability of a class, at temperature 1, for outputs that are exactly its one-hot vector
SHORTEST = 1e-12  # shorter vectors do not become unit vectors, so that nothing is divided by 0


def unit_vectors(vectors: Float[Array, "*batch length"]) -> Float[Array, "*batch length"]:
    """Divides vectors by their Euclidean norms; those shorter than 1e-12 are divided by that."""
    squared = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(squared, SHORTEST**2))


class CosineHead(nnx.Linear):
    """A linear layer whose outputs are scaled to a common length: the head for the cosine loss.

    Barz and Denzler, *Deep learning on small datasets without pre-training using cosine loss*, WACV 2020. The loss sees
    only the direction of the outputs, so their length means nothing. Divided by it, they are the cosines of the angles
    to the classes' one-hot vectors. The source takes the largest and has no probabilities. Here the logits are the
    cosines times a constant, at which outputs equal to a class's one-hot vector have the probability ``CERTAIN``. A
    run's temperature replaces that convention by what fits images that were not trained on.
    """

    @property
    def scale(self) -> float:
        """The length of the logits."""
        return math.log(CERTAIN / (1 - CERTAIN) * max(self.out_features - 1, 1))

    def outputs(self, features: Float[Array, "batch channels"]) -> Float[Array, "batch num_classes"]:
        """Returns the outputs before they are scaled."""
        return super().__call__(features)

    def __call__(
        self, inputs: Float[Array, "batch channels"], out_sharding: Any = None
    ) -> Float[Array, "batch num_classes"]:
        """Returns the logits of features; ``out_sharding`` is that of Flax's layer."""
        return self.scale * unit_vectors(super().__call__(inputs, out_sharding))


class TvmfHead(nnx.Module):
    """The t-vMF similarity of features and class weights, times a learned scale; there are no biases.

    Kobayashi, *T-vMF similarity for regularizing intra-class feature distribution*, CVPR 2021. Of the cosine c of the
    angle between features and a class's weights, the similarity is (1 + c) / (1 + kappa (1 - c)) - 1, from -1 to 1. It
    falls fast beside the class's own direction if ``kappa`` is large; with 0 it is the cosine. The scale is
    1 + softplus of a parameter that begins at 0.
    """

    def __init__(self, channels: int, num_classes: int, kappa: float, *, kernel_init: nnx.Initializer, rngs: nnx.Rngs):
        """Creates the head; the kernel's axes are (channels, num_classes)."""
        self.kernel = nnx.Param(kernel_init(rngs.params(), (channels, num_classes)))
        self.scale = nnx.Param(jnp.zeros(1))
        self.kappa = kappa

    def __call__(self, features: Float[Array, "batch channels"]) -> Float[Array, "batch num_classes"]:
        """Returns the logits."""
        cosines = unit_vectors(features) @ unit_vectors(self.kernel[...].T).T
        return self.factor() * ((1 + cosines) / (1 + self.kappa * (1 - cosines)) - 1)

    def factor(self) -> Float[Array, "1"]:
        """Returns the scale, which is above 1."""
        return 1 + jax.nn.softplus(self.scale[...])


Head = nnx.Linear | CosineHead | TvmfHead


@dataclass(frozen=True)
class HeadKind:
    """Which head a classifier has: "linear", "cosine" or "tvmf"; only the last one has a ``kappa``."""

    name: str = "linear"
    kappa: float = 16.0

    def build(
        self,
        channels: int,
        num_classes: int,
        *,
        kernel_init: nnx.Initializer,
        bias_init: nnx.Initializer | None = None,
        rngs: nnx.Rngs,
    ) -> Head:
        """Returns a newly initialized head; its biases, if it has any, are 0 without ``bias_init``."""
        if self.name == "tvmf":
            return TvmfHead(channels, num_classes, self.kappa, kernel_init=kernel_init, rngs=rngs)
        bias_init = bias_init or nnx.initializers.zeros_init()
        layer = CosineHead if self.name == "cosine" else nnx.Linear
        return layer(channels, num_classes, kernel_init=kernel_init, bias_init=bias_init, rngs=rngs)


LINEAR = HeadKind()


def contributions(
    head: Head, features: Float[Array, "batch channels"], classes: Int[Array, "batch"]
) -> tuple[Float[Array, "channels batch"], Float[Array, "batch"]]:
    """Returns weights and biases of an affine function for each image that equals its logit of a class.

    Args:
        head: of the classifier.
        features: of the images.
        classes: one for each image.

    Returns:
        The weight of every channel, and the bias. A linear head's do not depend on the features. A cosine head's are
        divided by the length of the image's outputs. A t-vMF head's are the secant of its similarity, between the
        image's cosine and a cosine of 0, times the class's direction, divided by the length of the features.
    """
    if isinstance(head, TvmfHead):
        return _tvmf_contributions(head, features, classes)
    assert head.bias is not None
    weights, biases = head.kernel[...][:, classes], head.bias[...][classes]
    if isinstance(head, CosineHead):
        outputs = head.outputs(features)
        factors = head.scale * jax.lax.rsqrt(jnp.maximum(jnp.sum(jnp.square(outputs), axis=1), SHORTEST**2))
        return weights * factors, biases * factors
    return weights, biases


def _tvmf_contributions(
    head: TvmfHead, features: Float[Array, "batch channels"], classes: Int[Array, "batch"]
) -> tuple[Float[Array, "channels batch"], Float[Array, "batch"]]:
    """Returns those of a t-vMF head.

    With f(c) = (1 + c) / (1 + kappa (1 - c)) - 1, the slope of the secant (f(c) - f(0)) / c is
    (1 + 2 kappa) / ((1 + kappa) (1 + kappa (1 - c))), which is finite also at 0.
    """
    directions, kappa = unit_vectors(head.kernel[...].T)[classes], head.kappa
    cosines = jnp.sum(unit_vectors(features) * directions, axis=1)
    slopes = (1 + 2 * kappa) / ((1 + kappa) * (1 + kappa * (1 - cosines)))
    lengths = jnp.sqrt(jnp.maximum(jnp.sum(jnp.square(features), axis=1), SHORTEST**2))
    at_zero = head.factor() * (1 / (1 + kappa) - 1)
    return (directions.T * (head.factor() * slopes / lengths)), jnp.broadcast_to(at_zero, cosines.shape)
