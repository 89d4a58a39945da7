"""Drawing mixed images: as many of every class, the same ones for the same seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray, UInt8

from chimeramix_jax.data.sampling import ResidentData
from chimeramix_jax.mixing.mixer import Mixer, Parameters
from chimeramix_jax.runtime import stopping

BATCH_SIZE = 100  # always: masks of a batch are drawn together, and the first images are to be the same of any number


@dataclass(frozen=True)
class Mix:
    """A mixed image, and what it was mixed from.

    Attributes:
        image: the pixels.
        label: its class.
        sources: positions of the images in the mix among the training images; the same one twice is possible.
        owners: which of the sources is shown where, by its place among them.
    """

    image: UInt8[np.ndarray, "side side 3"]
    label: int
    sources: tuple[int, ...]
    owners: UInt8[np.ndarray, "mask_side mask_side"]


def draw(mixer: Mixer, parameters: Parameters, data: ResidentData, count: int, seed: int) -> Iterator[Mix]:
    """Yields ``count`` mixes, the classes in turn, and of each class its images in turn, as the first of a mix.

    The first mixes of a seed are the same whatever the count.

    Raises:
        Stopped: the program was asked to stop.
    """
    key, labels = jax.random.key(seed), np.asarray(data.labels)
    program = jax.jit(partial(_mixed, mixer))
    first = _in_turn(labels, count, seed)

    def start(batch: int):
        chosen = first[batch * BATCH_SIZE : (batch + 1) * BATCH_SIZE]
        padded = np.pad(chosen, (0, BATCH_SIZE - len(chosen)))
        return chosen, program(jax.random.fold_in(key, batch), data, padded, parameters)

    batches = -(-count // BATCH_SIZE)
    following = start(0)
    for batch in range(batches):
        chosen, results = following
        if batch + 1 < batches:
            following = start(batch + 1)  # is computed while this one's files are written
        stopping.raise_if_asked()
        images, sources, owners = map(np.asarray, results)
        for place, position in enumerate(chosen):
            yield Mix(images[place], int(labels[position]), tuple(sources[:, place].tolist()), owners[place])


def _in_turn(labels: Int[np.ndarray, "examples"], count: int, seed: int) -> Int[np.ndarray, "count"]:
    """Positions of images: one of each class, then the next of each class, the order within a class being random."""
    random = np.random.default_rng(seed)
    members = [random.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
    rounds = range(-(-count // len(members)))
    return np.array([of_class[number % len(of_class)] for number in rounds for of_class in members][:count])


def _mixed(
    mixer: Mixer, key: PRNGKeyArray, data: ResidentData, indices: Int[Array, "batch"], parameters: Parameters
) -> tuple[UInt8[Array, "batch side side 3"], Int[Array, "images batch"], UInt8[Array, "batch mask_side mask_side"]]:
    mixes = mixer.mix(key, data, indices, parameters)
    pixels = jnp.round((jnp.clip(mixes.images, -1, 1) + 1) * 127.5).astype(jnp.uint8)
    return pixels, mixes.sources, jnp.argmax(mixes.partition, axis=0)[..., 0].astype(jnp.uint8)
