"""A custom mask: horizontal stripes, which two images of a class share in turn.

chimeramix --config=docs/own_ideas/stripes.py
"""

import jax
import jax.numpy as jnp

from chimeramix_jax import extensions


@extensions.mask("stripes")
def stripes(key, batch_size, side, images):
    """Returns which of the images each position is taken from, as integers of shape (batch_size, side, side).

    Every mix has stripes of its own width, from a single row to half of the side, which begin at a random row.
    """
    width_key, start_key = jax.random.split(key)
    widths = jax.random.randint(width_key, (batch_size, 1), 1, side // 2 + 1)
    starts = jax.random.randint(start_key, (batch_size, 1), 0, side)
    owners = (jnp.arange(side) + starts) // widths % images
    return jnp.broadcast_to(owners[:, :, None], (batch_size, side, side))


extensions.experiment("stripes", {"mixing.mask": "stripes"})
