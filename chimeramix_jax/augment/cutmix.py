"""CutMix (Yun et al., ICCV 2019, arXiv 1905.04899): pastes a rectangle of another image of any class.

As in the authors' program, a batch has one rectangle and one permutation, and only a part of the batches are changed.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from chimeramix_jax.augment.blend import Blend, draw_partners


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class CutMix(Blend):
    """The rectangle of a batch: pixels where ``pasted`` is True are the partner's; ``share`` is that of the others."""

    pasted: Bool[Array, "*seeds side side"]

    def unless(self, unchanged: Bool[Array, ""]) -> "CutMix":
        """Returns this blend, or, if ``unchanged`` is True, a blend that leaves images and losses as they are."""
        return CutMix(jnp.where(unchanged, 1.0, self.share), self.partners, self.pasted & ~unchanged)

    def blend(self, images: Float[Array, "batch side side 3"]) -> Float[Array, "batch side side 3"]:
        """Pastes the rectangle of each image's partner."""
        return jnp.where(self.pasted[:, :, None], images[self.partners], images)


def draw_cutmix(
    key: PRNGKeyArray,
    batch_size: int,
    side: int,
    probability: float,
    example_mask: Bool[Array, "batch_size"] | None = None,
) -> CutMix:
    """Draws the rectangle of a batch and a permutation as partners.

    The rectangle has the images' proportions, an area of 1 - Beta(1, 1), which is uniform over [0, 1], and its centre
    anywhere in the image. What is beyond the image is cut off, and the share is that of the pixels that remain.

    Args:
        key: the source of random numbers.
        batch_size: examples in the batch.
        side: pixels per side of the images.
        probability: of changing the batch at all; 0.5 in the source's experiments on CIFAR.
        example_mask: see ``draw_partners``.
    """
    happens_key, area_key, centre_key, partner_key = jax.random.split(key, 4)
    length = jnp.floor(side * jnp.sqrt(jax.random.uniform(area_key))).astype(jnp.int32)
    rows, columns = (_covered(centre, length, side) for centre in jax.random.randint(centre_key, (2,), 0, side))
    pasted = rows[:, None] & columns[None, :]
    share = 1 - jnp.mean(pasted, dtype=jnp.float32)
    drawn = CutMix(share, draw_partners(partner_key, batch_size, example_mask), pasted)
    return drawn.unless(~jax.random.bernoulli(happens_key, probability))


def _covered(centre: Int[Array, ""], length: Int[Array, ""], side: int) -> Bool[Array, "pixels"]:
    """Returns which pixels of a side the rectangle covers: half of its length on each side of its centre."""
    places = jnp.arange(side)
    return (places >= centre - length // 2) & (places < centre + length // 2)
