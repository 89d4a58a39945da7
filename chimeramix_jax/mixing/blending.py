"""The core of the method: blends features (or pixels) of several images, position by position, by a mask."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from chimeramix_jax.models.generator import Generator


def blend(
    features_a: Float[Array, "batch height width channels"],
    features_b: Float[Array, "batch height width channels"],
    mask: Float[Array, "batch height width 1"],
) -> Float[Array, "batch height width channels"]:
    """Takes a where ``mask`` is 1 and b where it is 0, and interpolates linearly in between."""
    mask = mask.astype(features_a.dtype)
    return mask * features_a + (1 - mask) * features_b


def blend_many(
    features: Float[Array, "images batch height width channels"],
    partition: Float[Array, "images batch height width 1"],
) -> Float[Array, "batch height width channels"]:
    """Takes from each image the positions that the partition assigns to it: ``blend`` for any number of images."""
    return jnp.sum(partition.astype(features.dtype) * features, axis=0)


def mixed_images(
    generator: Generator,
    images_a: Float[Array, "batch height width 3"],
    images_b: Float[Array, "batch height width 3"],
    mask: Float[Array, "batch height/4 width/4 1"],
) -> Float[Array, "batch height width 3"]:
    """Decodes a blend of two images' features, which are those of a where ``mask`` is 1 and those of b where it is 0.

    Images are in [-1, 1]. A mask of ones reconstructs a, a mask of zeros b.
    """
    features_a, features_b = jnp.split(generator.encode(jnp.concatenate([images_a, images_b])), 2)
    return generator.decode(blend(features_a, features_b, mask))
