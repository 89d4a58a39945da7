"""Draws mixed images, balanced over the classes and determined by a seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt8

from chimeramix_jax.augment.geometry import to_pixels
from chimeramix_jax.data.sampling import ResidentData
from chimeramix_jax.mixing.mixer import Mixer, Parameters
from chimeramix_jax.runtime import stopping

# Fixed, whatever the count: masks are drawn for a whole batch, and the first images must not depend on the count.
BATCH_SIZE = 100


@dataclass(frozen=True)
class Mix:
    """A mixed image, and what it was mixed from."""

    image: UInt8[np.ndarray, "side side 3"]
    label: int
    sources: tuple[int, ...]  # positions of the source images among the training images; one may occur twice
    # For each position of the mask, the index of the source that the mix shows there.
    owners: UInt8[np.ndarray, "mask_side mask_side"]


def draw(mixer: Mixer, parameters: Parameters, data: ResidentData, count: int, seed: int) -> Iterator[Mix]:
    """Yields ``count`` mixes, cycling through the classes, and within a class through its images as first sources.

    The first mixes of a seed do not depend on the count. Raises Stopped if the program was asked to stop.
    """
    key, labels = jax.random.key(seed), np.asarray(data.labels)
    program = jax.jit(partial(_mixed, mixer))
    first_sources = _in_turn(labels, count, seed)

    def start(batch: int):
        chosen = first_sources[batch * BATCH_SIZE : (batch + 1) * BATCH_SIZE]
        padded = np.pad(chosen, (0, BATCH_SIZE - len(chosen)))
        return chosen, program(jax.random.fold_in(key, batch), data, padded, parameters)

    batches = -(-count // BATCH_SIZE)
    upcoming = start(0)
    for batch in range(batches):
        chosen, results = upcoming
        if batch + 1 < batches:
            upcoming = start(batch + 1)  # computed while the files of this batch are written
        stopping.raise_if_asked()
        images, sources, owners = map(np.asarray, results)
        for place, position in enumerate(chosen):
            yield Mix(images[place], int(labels[position]), tuple(sources[:, place].tolist()), owners[place])


def _in_turn(labels: Int[np.ndarray, "examples"], count: int, seed: int) -> Int[np.ndarray, "count"]:
    """Returns positions of images: one of each class, then another of each class, in random order within a class."""
    random = np.random.default_rng(seed)
    members = [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    rounds = range(-(-count // len(members)))
    return np.array([positions[number % len(positions)] for number in rounds for positions in members][:count])


def _mixed(
    mixer: Mixer, key: PRNGKeyArray, data: ResidentData, indices: Int[Array, "batch"], parameters: Parameters
) -> tuple[UInt8[Array, "batch side side 3"], Int[Array, "images batch"], UInt8[Array, "batch mask_side mask_side"]]:
    mixes = mixer.mix(key, data, indices, parameters)
    pixels = to_pixels(mixes.images)
    return pixels, mixes.sources, jnp.argmax(mixes.partition, axis=0)[..., 0].astype(jnp.uint8)
