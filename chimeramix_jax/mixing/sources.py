"""The images that mixes are made of: a batch, and partners of the same classes, all augmented independently."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer, Key

from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data import sampling


class Sources(NamedTuple):
    """What the mixes of a batch are made of; first of all the images of the batch itself.

    Attributes:
        positions: among the training images.
        views: augmented, in [-1, 1].
        segments: those of the last views, if masks follow segments; else None.
    """

    positions: Int[Array, "images batch"]
    views: Float[Array, "images batch side side 3"]
    segments: Integer[Array, "batch side side"] | None


def draw(
    partner_keys: Key[Array, "partners"],
    view_keys: Key[Array, "images"],
    augmentation: Augmentation,
    data: sampling.ResidentData,
    indices: Int[Array, "batch"],
) -> Sources:
    """Draws partners and views of the images at ``indices``.

    Args:
        partner_keys: the sources of the partners' random numbers; there is one partner less than images in a mix.
        view_keys: those of the views.
        augmentation: of every image.
        data: the training images.
        indices: positions of the batch's images among them.
    """
    positions = [indices, *(sampling.same_class_partners(key, data, indices) for key in partner_keys)]
    views = [augmentation(key, data, source) for key, source in zip(view_keys, positions, strict=True)]
    return Sources(jnp.stack(positions), jnp.stack([view.images for view in views]), views[-1].segments)
