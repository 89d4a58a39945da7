"""The heart of the method: features (or pixels) of several images, blended place by place as a mask says."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from chimeramix_jax.models.generator import Generator


def blend(
    features_a: Float[Array, "batch height width channels"],
    features_b: Float[Array, "batch height width channels"],
    mask: Float[Array, "batch height width 1"],
) -> Float[Array, "batch height width channels"]:
    """Takes a where ``mask`` is 1 and b where it is 0; values between blend linearly."""
    mask = mask.astype(features_a.dtype)
    return mask * features_a + (1 - mask) * features_b


def blend_many(
    features: Float[Array, "images batch height width channels"],
    partition: Float[Array, "images batch height width 1"],
) -> Float[Array, "batch height width channels"]:
    """Takes from each image the places that the partition gives to it; ``blend`` for any number of images."""
    return jnp.sum(partition.astype(features.dtype) * features, axis=0)


def mixed_images(
    generator: Generator,
    images_a: Float[Array, "batch height width 3"],
    images_b: Float[Array, "batch height width 3"],
    mask: Float[Array, "batch height/4 width/4 1"],
) -> Float[Array, "batch height width 3"]:
    """Decodes a blend of two images' features: where ``mask`` is 1 it has the features of a, where it is 0 those of b.

    Images are in [-1, 1]; an all-ones mask reconstructs a, an all-zeros mask b.
    """
    features_a, features_b = jnp.split(generator.encode(jnp.concatenate([images_a, images_b])), 2)
    return generator.decode(blend(features_a, features_b, mask))
