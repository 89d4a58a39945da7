"""A few-shot set on the device, and what is drawn from it: epochs' orders and same-class partners."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray, UInt8


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ResidentData:
    """A labelled set in the device's memory.

    ``members[c]`` lists the positions of class c's images, filled up with zeros after the first ``member_counts[c]``.
    """

    images: UInt8[Array, "examples side side 3"]
    labels: Int[Array, "examples"]
    members: Int[Array, "classes largest_class"]
    member_counts: Int[Array, "classes"]


def to_device(
    images: UInt8[np.ndarray, "examples side side 3"], labels: Int[np.ndarray, "examples"], num_classes: int
) -> ResidentData:
    """Puts a labelled set on the default device."""
    counts = np.bincount(labels, minlength=num_classes)
    members = np.zeros((num_classes, counts.max()), np.int32)
    for label in range(num_classes):
        members[label, : counts[label]] = np.flatnonzero(labels == label)
    return ResidentData(
        jnp.asarray(images), jnp.asarray(labels, jnp.int32), jnp.asarray(members), jnp.asarray(counts, jnp.int32)
    )


@dataclass(frozen=True)
class EpochPlan:
    """An epoch: every one of ``examples`` images ``repeats`` times, in batches of ``batch_size``."""

    examples: int
    repeats: int
    batch_size: int

    @property
    def steps(self) -> int:
        """Batches in an epoch, an incomplete last one included."""
        return -(-self.examples * self.repeats // self.batch_size)

    def order(self, key: PRNGKeyArray) -> tuple[Int[Array, "steps batch_size"], Bool[Array, "steps batch_size"] | None]:
        """A shuffled epoch's images by position, and which places of its batches count.

        An incomplete last batch is filled up with image 0, and the mask is False there. The mask is None where all
        batches are complete.
        """
        shown = self.examples * self.repeats
        order = jax.random.permutation(key, shown) % self.examples
        missing = self.steps * self.batch_size - shown
        batches = jnp.pad(order, (0, missing)).reshape(self.steps, self.batch_size)
        return batches, (jnp.arange(batches.size) < shown).reshape(batches.shape) if missing else None


def repeats_per_epoch(num_dataset_repeats_base: int, images_per_class: int | None) -> int:
    """How often an epoch shows each image, so that its size hardly depends on the subset's (the published rule).

    ``images_per_class`` None (the whole data set) is not repeated.
    """
    return 1 if images_per_class is None else max(num_dataset_repeats_base // images_per_class, 1)


def same_class_partners(key: PRNGKeyArray, data: ResidentData, indices: Int[Array, "batch"]) -> Int[Array, "batch"]:
    """For each image a partner drawn uniformly from its class, itself included."""
    labels = data.labels[indices]
    return data.members[labels, jax.random.randint(key, indices.shape, 0, data.member_counts[labels])]
