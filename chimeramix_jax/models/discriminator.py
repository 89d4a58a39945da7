"""The discriminator: an unconditional PatchGAN that judges overlapping patches of an image."""

import itertools

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from chimeramix_jax.models.layers import convolution_layer
from chimeramix_jax.models.normalization import instance_norm


class Discriminator(nnx.Module):
    """Four convolutions 4x4 with stride 2, then one to a map of scores."""

    def __init__(self, channels: int = 64, *, dtype: jnp.dtype | None = None, rngs: nnx.Rngs):
        """Creates the discriminator with ``channels`` (ndf) after the first convolution, doubling up to the fourth."""
        widths = [3, *(channels * 2**level for level in range(4))]
        self.downsampling = nnx.List(
            convolution_layer(before, after, 4, stride=2, padding=1, normed=place > 0, dtype=dtype, rngs=rngs)
            for place, (before, after) in enumerate(itertools.pairwise(widths))
        )
        self.to_score = convolution_layer(widths[-1], 1, 4, padding=1, dtype=dtype, rngs=rngs)

    def __call__(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height/16 width/16 1"]:
        """Scores in (0, 1) of images in [-1, 1], 1 meaning real; height and width at least 32."""
        features = nnx.leaky_relu(self.downsampling[0](images), 0.2)
        for layer in self.downsampling[1:]:
            features = nnx.leaky_relu(instance_norm(layer(features)), 0.2)
        features = jnp.pad(features, ((0, 0), (1, 0), (1, 0), (0, 0)))
        return nnx.sigmoid(self.to_score(features))
