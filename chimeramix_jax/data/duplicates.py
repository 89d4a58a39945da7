"""Finds images that occur more than once, exactly or nearly, and says where."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from chimeramix_jax.data.identity import HELD_OUT, TRAIN
from chimeramix_jax.data.originals import Original
from chimeramix_jax.data.perceptual_hash import near_pairs

LARGE_GROUP, LARGE_SHARE = 10, 0.25  # a group of near duplicates with so many images, and this share of all, is a scene
MOST_COMPARED = 30_000  # with more images, near duplicates are searched for the training images only


@dataclass(frozen=True)
class Copy:
    """One of several copies of an image."""

    original: Original
    split: str  # ``TRAIN``, ``HELD_OUT`` or ``UNUSED`` of data/identity.py
    fold: int | None = None  # of a training image, from 0; None: it is in none


@dataclass(frozen=True)
class Group:
    """Images that are copies of one another."""

    copies: tuple[Copy, ...]

    @property
    def between_classes(self) -> bool:
        """Whether the copies are of different classes, so that at least one label must be wrong."""
        return len({copy.original.label for copy in self.copies}) > 1

    @property
    def across_the_split(self) -> bool:
        """Whether a classifier is evaluated on a copy of an image that it was trained on."""
        return {TRAIN, HELD_OUT} <= {copy.split for copy in self.copies}

    @property
    def across_folds(self) -> bool:
        """Whether a fold's classifier predicts a copy of an image that it was trained on."""
        return len({copy.fold for copy in self.copies if copy.fold is not None}) > 1


def exact_groups(copies: Iterable[Copy]) -> list[Group]:
    """Returns the groups of images with the same pixels, in the order of their first images."""
    by_digest = defaultdict(list)
    for copy in copies:
        by_digest[copy.original.digest].append(copy)
    return [Group(tuple(same)) for same in by_digest.values() if len(same) > 1]


def near_groups(copies: Sequence[Copy]) -> list[Group]:
    """Returns the groups of images that look alike, but do not all have the same pixels.

    Two images belong to one group if their hashes are near, or if there is a chain of such images between them. The
    training images must come first: if there are more than ``MOST_COMPARED`` images, only they are compared with all.
    """
    by_digest = defaultdict(list)
    for copy in copies:
        by_digest[copy.original.digest].append(copy)
    distinct = list(by_digest.values())  # in the order of the first copies
    hashes = [same[0].original.perceptual_hash for same in distinct]
    train = sum(same[0].split == TRAIN for same in distinct)
    pairs = near_pairs(hashes, first=train if len(distinct) > MOST_COMPARED else None)
    component_of = components(len(distinct), pairs)
    is_alone = np.bincount(component_of, minlength=len(distinct)) == 1
    groups: defaultdict[int, list[Copy]] = defaultdict(list)
    for position, component in enumerate(component_of.tolist()):
        if not is_alone[component]:
            groups[component] += distinct[position]
    return [Group(tuple(group)) for group in groups.values()]


def near_any(hashes: Sequence[str], others: Sequence[str]) -> Bool[np.ndarray, "hashes"]:
    """Returns for each perceptual hash whether one of ``others`` is near it; chains of near images do not count."""
    found = np.zeros(len(hashes), bool)
    for pairs in near_pairs([*hashes, *others], first=len(hashes)):
        found[pairs[pairs[:, 1] >= len(hashes), 0]] = True
    return found


def components(count: int, pairs: Iterable[Int64[np.ndarray, "_ 2"]]) -> Int64[np.ndarray, "count"]:
    """Returns the number of the component that each of ``count`` images is in, if the images of a pair are joined.

    Each array of pairs is merged before the next is made, so that memory does not grow with the number of pairs.
    """
    component_of = np.arange(count)
    for array in pairs:
        ends = component_of[array]
        ends = ends[ends[:, 0] != ends[:, 1]]
        if len(ends):
            graph = coo_array((np.ones(len(ends)), ends.T), shape=(count, count))
            component_of = connected_components(graph, directed=False)[1].astype(np.int64)[component_of]
    return component_of
