"""What mixup and CutMix share: every image of a batch is combined with a partner of any class, and so is its loss."""

import abc
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


@dataclass(frozen=True)
class Blend(abc.ABC):
    """The combination of a batch: every example counts with ``share`` and its partner with ``1 - share``."""

    share: Float[Array, "*seeds"]
    partners: Int[Array, "*seeds batch"]

    @abc.abstractmethod
    def unless(self, unchanged: Bool[Array, ""]) -> "Blend":
        """Returns this blend, or, if ``unchanged`` is True, a blend that leaves images and losses as they are."""

    @abc.abstractmethod
    def blend(self, images: Float[Array, "batch height width 3"]) -> Float[Array, "batch height width 3"]:
        """Combines each image with its partner."""

    def losses(
        self,
        logits: Float[Array, "batch classes"],
        labels: Int[Array, "batch"],
        loss: Callable[..., Float[Array, "batch"]] = optax.softmax_cross_entropy_with_integer_labels,
    ) -> Float[Array, "batch"]:
        """Returns the losses of the logits with both images' labels, weighted by their shares.

        ``loss`` is a function of logits and labels that returns the loss of every image.
        """
        own, other = (loss(logits, chosen) for chosen in (labels, labels[self.partners]))
        return self.share * own + (1 - self.share) * other


def draw_partners(
    key: PRNGKeyArray, batch_size: int, example_mask: Bool[Array, "batch_size"] | None = None
) -> Int[Array, "batch_size"]:
    """Draws a permutation of a batch.

    Examples where ``example_mask`` is False only pad the batch. They are permuted among themselves, and so are the
    other examples, so no image has padding as its partner.
    """
    partners = jax.random.permutation(key, batch_size)
    if example_mask is None:
        return partners
    # Stable sorts move the unmasked examples to the front: once in their own order, once in the shuffled order.
    places = jnp.argsort(~example_mask, stable=True)
    shuffled = partners[jnp.argsort(~example_mask[partners], stable=True)]
    return jnp.zeros_like(partners).at[places].set(shuffled)
