"""Mixup (Zhang et al., 2018): images and losses of a batch blended with those of other images, of any class."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixup:
    """How a batch is blended: every example keeps ``share`` and takes ``1 - share`` from its partner."""

    share: Float[Array, ""]
    partners: Int[Array, "batch"]

    def unless(self, mixed: Bool[Array, ""]) -> "Mixup":
        """The same, or where ``mixed`` is True one that leaves images and losses as they are."""
        return Mixup(jnp.where(mixed, 1.0, self.share), self.partners)

    def blend(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height width 3"]:
        """Each image with its partner, pixel by pixel."""
        share = self.share.astype(images.dtype)
        return share * images + (1 - share) * images[self.partners]

    def cross_entropy(
        self, logits: Float[Array, "batch classes"], labels: Int[Array, "batch"]
    ) -> Float[Array, "batch"]:
        """The cross entropies of the blended images' logits with both images' labels, weighted as the images are."""
        own, other = (
            optax.softmax_cross_entropy_with_integer_labels(logits, chosen)
            for chosen in (labels, labels[self.partners])
        )
        return self.share * own + (1 - self.share) * other


def draw_mixup(key: PRNGKeyArray, batch_size: int, example_mask: Bool[Array, "batch_size"] | None = None) -> Mixup:
    """One share for the batch, from Beta(1, 1) (which is uniform over [0, 1]), and a permutation as the partners.

    Examples where ``example_mask`` is False only fill up the batch: the counted ones are permuted among themselves, and
    the others among themselves, so that no image takes a part from an example that does not count.
    """
    share_key, partner_key = jax.random.split(key)
    partners = jax.random.permutation(partner_key, batch_size)
    if example_mask is not None:
        # A stable sort moves the counted to the front and keeps their order: as it is, and as it was shuffled.
        places = jnp.argsort(~example_mask, stable=True)
        shuffled = partners[jnp.argsort(~example_mask[partners], stable=True)]
        partners = jnp.zeros_like(partners).at[places].set(shuffled)
    return Mixup(jax.random.uniform(share_key), partners)
