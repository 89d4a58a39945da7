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


def repeats_per_epoch(num_dataset_repeats_base: int, images_per_class: int | None) -> int:
    """How often an epoch shows each image, so that its size hardly depends on the subset's.

    ``images_per_class`` None (the whole data set) is not repeated.
    """
    return 1 if images_per_class is None else max(num_dataset_repeats_base // images_per_class, 1)


def epoch_order(
    key: PRNGKeyArray, examples: int, repeats: int, batch_size: int
) -> tuple[Int[Array, "steps batch_size"], Bool[Array, "steps batch_size"] | None]:
    """A shuffled epoch in batches, and which places of the batches count.

    The last batch may be incomplete: it is filled up with example 0, and the mask is False there. The mask is None
    where all batches are complete.
    """
    order = jax.random.permutation(key, examples * repeats) % examples
    missing = -order.shape[0] % batch_size
    if not missing:
        return order.reshape(-1, batch_size), None
    counts = jnp.arange(order.shape[0] + missing) < order.shape[0]
    return jnp.pad(order, (0, missing)).reshape(-1, batch_size), counts.reshape(-1, batch_size)


def same_class_partners(key: PRNGKeyArray, data: ResidentData, indices: Int[Array, "batch"]) -> Int[Array, "batch"]:
    """For each image a partner drawn uniformly from its class, itself included."""
    labels = data.labels[indices]
    return data.members[labels, jax.random.randint(key, indices.shape, 0, data.member_counts[labels])]
