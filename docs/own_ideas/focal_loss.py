"""A custom loss: focal loss (Lin et al., ICCV 2017, arXiv 1708.02002, equation 4), which plays down easy images.

chimeramix --config=docs/own_ideas/focal_loss.py
"""

import jax
import jax.numpy as jnp

from chimeramix_jax import extensions

FOCUS = 2.0  # gamma of the source; with 0 it is cross entropy


@extensions.loss("focal")
def focal_loss(logits, labels):
    """Returns the loss of every image: its cross entropy times (1 - p) ** FOCUS, where p is its class's probability."""
    log_probabilities = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]
    return -((1 - jnp.exp(log_probabilities)) ** FOCUS) * log_probabilities


extensions.experiment("focal", {"classifier.loss": "focal", "mixing.mask": "none", "compare_with_baseline": False})
