"""Mixup (Zhang et al., 2018): blends the images and losses of a batch with those of other images of any class."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from chimeramix_jax.augment.blend import Blend, draw_partners


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Mixup(Blend):
    """The blend of a batch: every example has weight ``share`` and its partner has weight ``1 - share``."""

    def unless(self, unchanged: Bool[Array, ""]) -> "Mixup":
        """Returns this blend, or, if ``unchanged`` is True, a blend that leaves images and losses as they are."""
        return Mixup(jnp.where(unchanged, 1.0, self.share), self.partners)

    def blend(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height width 3"]:
        """Blends each image with its partner, pixel by pixel."""
        share = self.share.astype(images.dtype)
        return share * images + (1 - share) * images[self.partners]


def draw_mixup(key: PRNGKeyArray, batch_size: int, example_mask: Bool[Array, "batch_size"] | None = None) -> Mixup:
    """Draws a share for the batch from Beta(1, 1), which is uniform over [0, 1], and a permutation as partners.

    See ``draw_partners`` for ``example_mask``.
    """
    share_key, partner_key = jax.random.split(key)
    partners = draw_partners(partner_key, batch_size, example_mask)
    return Mixup(jax.random.uniform(share_key), partners)
