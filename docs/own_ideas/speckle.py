"""A custom augmentation: multiplies every pixel by a random factor, as the grain of radar and ultrasound images does.

chimeramix --config=docs/own_ideas/speckle.py
"""

import jax
import jax.numpy as jnp

from chimeramix_jax import extensions

STRENGTH = 0.1  # standard deviation of the factors, whose mean is 1


@extensions.augmentation("speckle")
def speckle(key, images):
    """Returns images in [-1, 1], of shape (batch, side, side, 3), whose three channels get the same factors."""
    brightness = (images + 1) / 2
    factors = 1 + STRENGTH * jax.random.normal(key, (*images.shape[:3], 1))
    return 2 * jnp.clip(brightness * factors, 0, 1) - 1


extensions.experiment("speckle", {"augment.own": "speckle", "mixing.mask": "none", "compare_with_baseline": False})
