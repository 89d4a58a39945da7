"""Which images a division must not separate: copies of an image, images of a group, and near duplicates.

A classifier that was trained on one of them recognises the others too easily, so an accuracy measured on them would be
too high. The divisions (``holdout``, ``folds``) keep together what has the same name; here, images get these names.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

import numpy as np
from jaxtyping import Int, Int64

from chimeramix_jax.data.duplicates import LARGE_GROUP, LARGE_SHARE, MOST_COMPARED, components
from chimeramix_jax.data.originals import Original
from chimeramix_jax.data.perceptual_hash import near_pairs


def names_of_units(
    images: Sequence[Original], labels: Int[np.ndarray, "images"], *, near: bool, least: int
) -> list[str]:
    """Returns a name for each image, the same for images that belong together.

    The name of an image that belongs to no other is its digest; that of a unit is the first of its groups or, without
    any, the first of its digests. So it does not depend on the order of the images.

    Near duplicates are kept together as far as that leaves something to divide. They are not where a class would
    consist of fewer than ``least`` units, nor where so many images look alike that they are hardly copies.

    Args:
        images: a user's own images.
        labels: their classes.
        near: whether near duplicates belong together, too; not looked for among more than ``MOST_COMPARED`` images.
        least: how many units a class needs: 2 to hold out a part, or the number of folds.
    """
    firm = components(len(images), _same(images))
    units = firm
    if near and len(images) <= MOST_COMPARED:
        near_ones = near_pairs([image.perceptual_hash for image in images])  # far too many to keep, if all look alike
        joined = components(len(images), chain(_same(images), near_ones))
        units = _without_large_ones(joined, firm)
        units = _without_those_of_small_classes(units, firm, labels, least)
    return _names(images, units)


def _same(images: Sequence[Original]) -> Iterator[Int64[np.ndarray, "pairs 2"]]:
    """Yields pairs of positions of images with the same digest, and with the same group."""
    for texts in ([image.digest for image in images], [image.group for image in images]):
        places = defaultdict(list)
        for position, text in enumerate(texts):
            if text:
                places[text].append(position)
        pairs = [pair for same in places.values() for pair in pairwise(same)]
        if pairs:
            yield np.array(pairs, np.int64)


def _without_large_ones(
    units: Int64[np.ndarray, "images"], firm: Int64[np.ndarray, "images"]
) -> Int64[np.ndarray, "images"]:
    """Divides units again that look like different photos of one scene, by their size."""
    sizes = np.bincount(units, minlength=len(units))[units]
    return _replaced(units, firm, sizes >= max(LARGE_GROUP, LARGE_SHARE * len(units)))


def _without_those_of_small_classes(
    units: Int64[np.ndarray, "images"],
    firm: Int64[np.ndarray, "images"],
    labels: Int[np.ndarray, "images"],
    least: int,
) -> Int64[np.ndarray, "images"]:
    """Divides units again that have images of a class with fewer units than it needs."""
    while True:
        small = [label for label in np.unique(labels) if len(set(units[labels == label].tolist())) < least]
        of_small = np.isin(units, units[np.isin(labels, small)])
        joined = of_small & (np.bincount(units)[units] > np.bincount(firm)[firm])
        if not joined.any():
            return units
        units = _replaced(units, firm, joined)


def _replaced(
    units: Int64[np.ndarray, "images"], firm: Int64[np.ndarray, "images"], where: np.ndarray
) -> Int64[np.ndarray, "images"]:
    """Returns the units with those of ``firm`` in some places, numbered so that no two are confused."""
    return np.where(where, firm + units.max(initial=0) + 1, units)


def _names(images: Sequence[Original], units: Int64[np.ndarray, "images"]) -> list[str]:
    digests, groups = defaultdict(set), defaultdict(set)
    for image, unit in zip(images, units.tolist(), strict=True):
        digests[unit].add(image.digest)
        groups[unit].update({image.group} - {""})
    names = {unit: f"group {min(groups[unit])}" if groups[unit] else min(digests[unit]) for unit in digests}
    return [names[unit] for unit in units.tolist()]
