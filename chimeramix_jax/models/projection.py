"""The projection from a classifier's features to the vectors that contrastive pretraining compares."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from chimeramix_jax.models.heads import unit_vectors
from chimeramix_jax.models.layers import uniform_fan_in


class ProjectionHead(nnx.Module):
    """Two linear layers with a ReLU between them, then a scaling to length 1 (Chen et al., ICML 2020, section 2.1)."""

    def __init__(self, channels: int, outputs: int, *, rngs: nnx.Rngs):
        """Creates the layers: kernels as in PyTorch, biases of 0, a hidden layer as wide as the input."""
        init = uniform_fan_in(channels)
        self.hidden = nnx.Linear(channels, channels, kernel_init=init, rngs=rngs)
        self.output = nnx.Linear(channels, outputs, kernel_init=init, rngs=rngs)

    def __call__(self, features: Float[Array, "batch channels"]) -> Float[Array, "batch outputs"]:
        """Returns vectors of length 1."""
        return unit_vectors(self.output(jax.nn.relu(self.hidden(features))))
