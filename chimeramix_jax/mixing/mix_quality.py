"""Measures mixes of a generator: whether they can be recognised as their class, and how new they are."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt8

from chimeramix_jax.augment.geometry import resize_align_corners, to_pixels
from chimeramix_jax.data import sampling
from chimeramix_jax.mixing.mixer import Mixer, Parameters

MIXES = 400
_BATCH_SIZE = 50
_ROUNDING = 1e-4  # distances up to this are those of equal images

Logits = Callable[[UInt8[np.ndarray, "mixes side side 3"]], Float[np.ndarray, "mixes classes"]]


@dataclass(frozen=True)
class MixQuality:
    """What a sample of mixes is like. Those of views of one image, or of equal images, are left out.

    Attributes:
        examples: the number of mixes.
        recognized: share of them that the classifier assigns to their class, in [0, 1].
        distance: from a mix to the nearest image that it was mixed from, divided by the distance of two images of a
            class that are mixed. 0 is a copy. Distances are root mean squared differences of pixels, averaged.
    """

    examples: int
    recognized: float
    distance: float


def measure(
    mixer: Mixer,
    parameters: Parameters,
    data: sampling.ResidentData,
    key: PRNGKeyArray,
    logits_of: Logits,
    side: int,
) -> MixQuality | None:
    """Mixes training images, each about equally often, and measures the mixes.

    Args:
        mixer: mixes the images; its augmentation is part of what is measured.
        parameters: those of its networks.
        data: the training images.
        key: the source of partners, views and masks.
        logits_of: the logits of a classifier that was not trained on mixes, given images in 0..255.
        side: pixels per side of its images.

    Returns:
        The quality of ``MIXES`` mixes, less those of a single image or of equal ones; None if there are no others.
    """
    order_key, mix_key = jax.random.split(key)
    order = np.resize(jax.random.permutation(order_key, len(data.labels)), MIXES)
    parts = [
        _mixed(mixer, jax.random.fold_in(mix_key, batch), data, jnp.asarray(indices), parameters, side)
        for batch, indices in enumerate(order.reshape(-1, _BATCH_SIZE))
    ]
    images, nearest, apart, distinct = (np.concatenate(values) for values in zip(*parts, strict=True))
    if not distinct.any():
        return None
    predicted = logits_of(images[distinct]).argmax(axis=-1)
    recognized = float(np.mean(predicted == np.asarray(data.labels)[order[distinct]]))
    return MixQuality(int(distinct.sum()), recognized, float(nearest[distinct].mean() / apart[distinct].mean()))


@partial(jax.jit, static_argnames=("mixer", "side"))
def _mixed(
    mixer: Mixer,
    key: PRNGKeyArray,
    data: sampling.ResidentData,
    indices: Int[Array, "batch"],
    parameters: Parameters,
    side: int,
) -> tuple[UInt8[Array, "batch side side 3"], Float[Array, "batch"], Float[Array, "batch"], Bool[Array, "batch"]]:
    """Returns mixes, their distance to the nearest view, that of the first two views, and whether images differ."""
    mixes = mixer.mix(key, data, indices, parameters)
    pixels = to_pixels(resize_align_corners(mixes.images, side))
    nearest = jnp.min(jax.vmap(partial(_distance, mixes.images))(mixes.views), axis=0)
    apart = _distance(mixes.views[0], mixes.views[1])
    return pixels, nearest, apart, jnp.any(mixes.sources != mixes.sources[0], axis=0) & (apart > _ROUNDING)


def _distance(
    first: Float[Array, "batch side side 3"], second: Float[Array, "batch side side 3"]
) -> Float[Array, "batch"]:
    return jnp.sqrt(jnp.mean(jnp.square(first - second), axis=(1, 2, 3)))
