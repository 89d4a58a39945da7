"""What a network answers, computed by a single program whatever the number of images."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from chimeramix_jax.augment.geometry import normalize

BATCH = 64  # so that networks that differ in nothing but their weights share a program


@nnx.jit
def _outputs(network, images):
    return network(images)


def logits_of(network, pixels):
    """Returns the logits of uint8 images of any number; unjitted, every operation would be compiled by itself."""
    rows = []
    for first in range(0, len(pixels), BATCH):
        batch = np.asarray(pixels[first : first + BATCH])
        padded = np.pad(batch, ((0, BATCH - len(batch)), *((0, 0),) * 3))
        rows.append(np.asarray(_outputs(network, normalize(jnp.asarray(padded))))[: len(batch)])
    return np.concatenate(rows)
