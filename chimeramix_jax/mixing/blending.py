"""The core of the method: blends features (or pixels) of several images, position by position, by a mask."""

import jax.numpy as jnp
import numpy as np
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
    return mixed_from_many(generator, *as_many(images_a, images_b, mask))


def as_many(
    images_a: Float[Array | np.ndarray, "batch height width 3"],
    images_b: Float[Array | np.ndarray, "batch height width 3"],
    mask: Float[Array | np.ndarray, "batch mask_height mask_width 1"],
) -> tuple[Float[Array, "2 batch height width 3"], Float[Array, "2 batch mask_height mask_width 1"]]:
    """Returns the images and the masks of pairs as those of a mix of any number of images."""
    return jnp.stack([images_a, images_b]), jnp.stack([mask, 1 - mask])


def mixed_from_many(
    generator: Generator,
    images: Float[Array, "images batch height width 3"],
    partition: Float[Array, "images batch height/4 width/4 1"],
) -> Float[Array, "batch height width 3"]:
    """Decodes a blend of several images' features: ``mixed_images`` for any number of images, in [-1, 1]."""
    return generator.decode(blend_many(encoded(generator, images), partition))


def encoded(
    generator: Generator, images: Float[Array, "images batch height width 3"]
) -> Float[Array, "images batch height/4 width/4 features"]:
    """Encodes all source images of a batch of mixes at once; they are in [-1, 1]."""
    features = generator.encode(jnp.concatenate(images))
    return features.reshape(*images.shape[:2], *features.shape[1:])
