"""A few-shot subset in device memory, and the draws from it: the order of an epoch and partners of the same class."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray, UInt, UInt8

LABELS_ROUNDED_TO = 32  # the segments of small photographs: nearly every subset of a data set has the same number then


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class ResidentData:
    """Labelled images in device memory; where seeds share a call, each array has a further first axis for them."""

    images: UInt8[Array, "*seeds examples side side 3"]
    labels: Int[Array, "*seeds examples"]
    members: Int[Array, "*seeds classes largest_class"]  # the positions of each class's images, padded with zeros
    member_counts: Int[Array, "*seeds classes"]  # the number of images of each class
    # The label maps of the images, which may include a reflected margin; None if the masks need none.
    segments: UInt[Array, "*seeds examples canvas canvas"] | None = None
    # More than any label in the maps, so that one is left for pixels from beyond an image. It is part of the
    # compiled program, and rounded up so that seeds whose maps differ can still share a call.
    segment_labels: int = field(default=0, metadata={"static": True})


def to_device(
    images: UInt8[np.ndarray, "examples side side 3"],
    labels: Int[np.ndarray, "examples"],
    num_classes: int,
    segments: UInt[np.ndarray, "examples canvas canvas"] | None = None,
) -> ResidentData:
    """Copies labelled images, and their label maps if there are any, to the default device."""
    counts = np.bincount(labels, minlength=num_classes)
    members = np.zeros((num_classes, counts.max()), np.int32)
    for label in range(num_classes):
        members[label, : counts[label]] = np.flatnonzero(labels == label)
    return ResidentData(
        jnp.asarray(images),
        jnp.asarray(labels, jnp.int32),
        jnp.asarray(members),
        jnp.asarray(counts, jnp.int32),
        None if segments is None else jnp.asarray(segments),
        0 if segments is None else -(-(int(segments.max()) + 2) // LABELS_ROUNDED_TO) * LABELS_ROUNDED_TO,
    )


@dataclass(frozen=True)
class EpochPlan:
    """An epoch shows each of ``examples`` images ``repeats`` times, in batches of ``batch_size``."""

    examples: int
    repeats: int
    batch_size: int

    @property
    def steps(self) -> int:
        """The number of batches in an epoch, including an incomplete last batch."""
        return -(-self.examples * self.repeats // self.batch_size)

    def order(self, key: PRNGKeyArray) -> tuple[Int[Array, "steps batch_size"], Bool[Array, "steps batch_size"] | None]:
        """Returns the positions of a shuffled epoch's images, and a mask of the examples that count.

        An incomplete last batch is padded with image 0, where the mask is False. The mask is None if all batches are
        complete.
        """
        shown = self.examples * self.repeats
        order = jax.random.permutation(key, shown) % self.examples
        missing = self.steps * self.batch_size - shown
        batches = jnp.pad(order, (0, missing)).reshape(self.steps, self.batch_size)
        return batches, (jnp.arange(batches.size) < shown).reshape(batches.shape) if missing else None


def repeats_per_epoch(num_dataset_repeats_base: int, images_per_class: int | None) -> int:
    """Returns how often an epoch shows each image, so that its length hardly depends on the subset's size.

    This is the published rule. With ``images_per_class`` None, the whole data set, images are not repeated.
    """
    return 1 if images_per_class is None else max(num_dataset_repeats_base // images_per_class, 1)


def nearest_repeats(num_dataset_repeats_base: int, images_per_class: float) -> int:
    """Returns how often an epoch shows each image, to show a mean of about ``num_dataset_repeats_base`` of each class.

    Folders have classes of any size, ``images_per_class`` on average. The published rule, which rounds down, would make
    epochs up to half as long, for example with 51 to 99 images per class and a base of 100.
    """
    return max(int(num_dataset_repeats_base / images_per_class + 0.5), 1)


def class_weights(data: ResidentData) -> Float[Array, "classes"]:
    """Returns the mean number of images of a class over each class's own; their mean over the images is 1.

    Classes without images are left out, and have the weight 0.
    """
    counts = data.member_counts.astype(jnp.float32)
    mean = len(data.labels) / jnp.sum(counts > 0)
    return jnp.where(counts > 0, mean / jnp.maximum(counts, 1), 0)


def balanced_draws(key: PRNGKeyArray, data: ResidentData, count: int) -> Int[Array, "count"]:
    """Draws the positions of ``count`` images, each uniformly from a class with images that is drawn uniformly."""
    class_key, member_key = jax.random.split(key)
    empty = data.member_counts == 0
    with_images_first = jnp.argsort(empty, stable=True)
    classes = with_images_first[jax.random.randint(class_key, (count,), 0, jnp.sum(~empty))]
    return data.members[classes, jax.random.randint(member_key, (count,), 0, data.member_counts[classes])]


def same_class_partners(key: PRNGKeyArray, data: ResidentData, indices: Int[Array, "batch"]) -> Int[Array, "batch"]:
    """Draws a partner for each image, uniformly from its class, including the image itself."""
    labels = data.labels[indices]
    return data.members[labels, jax.random.randint(key, indices.shape, 0, data.member_counts[labels])]
