"""The loss of contrastive pretraining: two views of an image should be nearer to each other than to other images."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def contrastive_loss(
    first: Float[Array, "batch outputs"],
    second: Float[Array, "batch outputs"],
    images: Int[Array, "batch"],
    temperature: float,
    example_mask: Bool[Array, "batch"] | None = None,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Returns the normalized temperature-scaled cross entropy of a batch, and how often it finds the other view.

    Chen et al., ICML 2020, equation 1. For every view, the cross entropy is that of the image's other view among the
    other view and all views of other images, whose logits are the cosines over the temperature. The source has every
    image once in a batch. Here a batch may show an image several times; pairs of its other views are left out.

    Args:
        first: vectors of length 1 for one view of every image.
        second: the same for another view.
        images: numbers of the images, equal for the same image and for copies of it.
        temperature: divides the cosines.
        example_mask: False for images that do not count; None: all count.

    Returns:
        The mean loss in nats, and the share of views whose nearest view is their image's other one.
    """
    count = len(first)
    vectors, owners = jnp.concatenate([first, second]), jnp.concatenate([images, images])
    partners = (jnp.arange(2 * count) + count) % (2 * count)
    others, counts = owners[:, None] != owners, None
    if example_mask is not None:
        counts = jnp.concatenate([example_mask, example_mask])
        others &= counts
    is_partner = jnp.arange(2 * count) == partners[:, None]
    cosines = jnp.matmul(vectors, vectors.T, precision=jax.lax.Precision.HIGHEST)
    logits = jnp.where(others | is_partner, cosines / temperature, -jnp.inf)
    losses = jax.nn.logsumexp(logits, axis=1) - jnp.take_along_axis(logits, partners[:, None], axis=1)[:, 0]
    found = jnp.argmax(logits, axis=1) == partners
    return jnp.mean(losses, where=counts), jnp.mean(found, where=counts)
