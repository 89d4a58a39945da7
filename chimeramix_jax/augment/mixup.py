"""Mixup (Zhang et al., 2018): blends the images and losses of a batch with those of other images of any class."""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixup:
    """The blend of a batch: every example has weight ``share`` and its partner has weight ``1 - share``."""

    share: Float[Array, "*seeds"]
    partners: Int[Array, "*seeds batch"]

    def unless(self, mixed: Bool[Array, ""]) -> "Mixup":
        """Returns this blend, or, if ``mixed`` is True, a blend that leaves images and losses unchanged."""
        return Mixup(jnp.where(mixed, 1.0, self.share), self.partners)

    def blend(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height width 3"]:
        """Blends each image with its partner, pixel by pixel."""
        share = self.share.astype(images.dtype)
        return share * images + (1 - share) * images[self.partners]

    def cross_entropy(
        self,
        logits: Float[Array, "batch classes"],
        labels: Int[Array, "batch"],
        entropy: Callable[..., Float[Array, "batch"]] = optax.softmax_cross_entropy_with_integer_labels,
    ) -> Float[Array, "batch"]:
        """Returns the cross entropies of the logits with both images' labels, weighted like the images.

        ``entropy`` is a function of logits and labels.
        """
        own, other = (entropy(logits, chosen) for chosen in (labels, labels[self.partners]))
        return self.share * own + (1 - self.share) * other


def draw_mixup(key: PRNGKeyArray, batch_size: int, example_mask: Bool[Array, "batch_size"] | None = None) -> Mixup:
    """Draws a share for the batch from Beta(1, 1), which is uniform over [0, 1], and a permutation as partners.

    Examples where ``example_mask`` is False only pad the batch. They are permuted among themselves, and so are the
    other examples, so no image is blended with padding.
    """
    share_key, partner_key = jax.random.split(key)
    partners = jax.random.permutation(partner_key, batch_size)
    if example_mask is not None:
        # Stable sorts move the unmasked examples to the front: once in their own order, once in the shuffled order.
        places = jnp.argsort(~example_mask, stable=True)
        shuffled = partners[jnp.argsort(~example_mask[partners], stable=True)]
        partners = jnp.zeros_like(partners).at[places].set(shuffled)
    return Mixup(jax.random.uniform(share_key), partners)
