"""The discriminator: an unconditional PatchGAN that scores overlapping patches of an image."""

import itertools

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from chimeramix_jax.models.layers import convolution_layer
from chimeramix_jax.models.normalization import instance_norm


class Discriminator(nnx.Module):
    """Four 4x4 convolutions with stride 2, followed by a 4x4 convolution to a map of scores."""

    def __init__(self, channels: int = 64, *, dtype: DTypeLike | None = None, rngs: nnx.Rngs):
        """Creates the discriminator; ``channels`` (ndf) come from the first convolution and double up to the fourth."""
        widths = [3, *(channels * 2**level for level in range(4))]
        self.downsampling = nnx.List(
            convolution_layer(before, after, 4, stride=2, padding=1, normed=place > 0, dtype=dtype, rngs=rngs)
            for place, (before, after) in enumerate(itertools.pairwise(widths))
        )
        self.to_score = convolution_layer(widths[-1], 1, 4, padding=1, dtype=dtype, rngs=rngs)

    def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height//16 width//16 1"]:
        """Scores images in [-1, 1] from 0 (generated) to 1 (real); height and width must be at least 32."""
        features = nnx.leaky_relu(self.downsampling[0](images), 0.2)
        for layer in self.downsampling[1:]:
            features = instance_norm(layer(features), slope=0.2)
        features = jnp.pad(features, ((0, 0), (1, 0), (1, 0), (0, 0)))
        return nnx.sigmoid(self.to_score(features))
