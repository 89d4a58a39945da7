"""Random decisions that follow from an image's content, so that they stay the same when other images come or go."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

NUMBERS = 2**64  # how many numbers there are


def number_of(text: str) -> int:
    """Returns a number from 0 to below ``NUMBERS`` that never changes for a text, such as a seed and a digest."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def classes_of_images(images: Sequence[str], labels: Int[np.ndarray, "examples"]) -> dict[str, set[int]]:
    """Returns the classes of every distinct image; copies of an image may have several.

    Args:
        images: the name of each image, the same for images that are not to be separated.
        labels: the class of each image.
    """
    classes: defaultdict[str, set[int]] = defaultdict(set)
    for image, label in zip(images, labels.tolist(), strict=True):
        classes[image].add(label)
    return classes
