"""Masks, and mixing images' features (or pixels) by them.

A mask is 1 where a pair's first image *a* is kept and 0 where its second one *b* is. A partition says the same of any
number of images: a mask for each, of which exactly one is 1 at every place. A pair's mask is the first of its
partition's.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict


@dataclass(frozen=True)
class MaskRule:
    """How the masks of a run are drawn: ``kind`` is "grid" or "segmentation", ``side`` the masks' pixels per side."""

    kind: str
    side: int
    mix_size: int
    segment_min_size: int

    @classmethod
    def of(cls, settings: ConfigDict, side: int) -> "MaskRule":
        """The rule that ``config.mixing`` asks for."""
        return cls(settings.mask, side, settings.mix_size, settings.segmentation_min_size)

    def partitions(
        self,
        key: PRNGKeyArray,
        batch_size: int,
        segments: Int[Array, "batch_size height width"] | None,
        segment_labels: int = 0,
        images: int = 2,
    ) -> Float[Array, "images batch_size side side 1"]:
        """Draws which of a class's images is shown where.

        Args:
            key: for everything that is drawn.
            batch_size: mixes to make.
            segments: of the last image's view; None for a grid.
            segment_labels: more than any label in them.
            images: mixed into one.
        """
        if segments is None:
            return grid_partitions(key, batch_size, self.side, self.mix_size, images)
        return segment_partitions(key, segments, self.side, segment_labels, self.segment_min_size, images)


def grid_masks(
    key: PRNGKeyArray, batch_size: int, side: int, mix_size: int = 4
) -> Float[Array, "batch_size side side 1"]:
    """Random grids of zeros and ones, as the published program draws them.

    Each image gets its own ``mix_size`` x ``mix_size`` grid of fair coins. The grids are stretched (nearest
    neighbour) to ``side + pad`` with ``pad = side // mix_size``, and a window of ``side`` is cut out at an offset drawn
    from 0..pad-1 in each direction, the same for the whole batch.
    """
    return grid_partitions(key, batch_size, side, mix_size)[0]


def grid_partitions(
    key: PRNGKeyArray, batch_size: int, side: int, mix_size: int = 4, images: int = 2
) -> Float[Array, "images batch_size side side 1"]:
    """Random grids whose cells fall to each of the images with the same probability; else as ``grid_masks``."""
    pad = side // mix_size
    cell_key, offset_key = jax.random.split(key)
    # For two images these are fair coins, and the same as jax.random.bernoulli would draw.
    cells = (images * jax.random.uniform(cell_key, (batch_size, mix_size, mix_size))).astype(jnp.int32)
    rows, columns = jax.random.randint(offset_key, (2, 1), 0, pad) + jnp.arange(side)
    # Nearest neighbour, rounding down: pixel p of the stretched grid shows cell floor(p * mix_size / (side + pad)).
    cell_rows, cell_columns = rows * mix_size // (side + pad), columns * mix_size // (side + pad)
    return _one_hot(cells[:, cell_rows][:, :, cell_columns], images)


def segment_masks(
    key: PRNGKeyArray, segments: Int[Array, "batch height width"], side: int, max_segments: int, min_size: int = 1
) -> Float[Array, "batch side side 1"]:
    """Masks of whole segments of each pair's image b, as the published program draws them.

    With b's k segments numbered 0..k-1 as a row by row reading of the view meets them, a lower bound l is drawn from
    0..max(1, k-1)-1 and an upper bound u from l+1..max(l+2, k)-1. The mask is 1 on the segments l <= s < u: there a
    takes b's place. So b keeps at least its last segment, unless it has only one: then the mask keeps a.

    Args:
        key: for both bounds.
        segments: labels of b's view, in 0..max_segments-1. They may have gaps, as those of a crop have.
        side: of the mask, which is resized by nearest neighbour, rounding down (PyTorch's ``nearest``).
        max_segments: one more than the largest label of all images.
        min_size: pixels from which on a segment counts. A crop can leave less of one than the segmentation itself
            would have let stand; such a rest shares the number of the segment that is met before it.
    """
    return segment_partitions(key, segments, side, max_segments, min_size)[0]


def segment_partitions(
    key: PRNGKeyArray,
    segments: Int[Array, "batch height width"],
    side: int,
    max_segments: int,
    min_size: int = 1,
    images: int = 2,
) -> Float[Array, "images batch side side 1"]:
    """Deals whole segments of the last image out to all images; for two images see ``segment_masks``.

    For more, ours: ``images`` rising bounds are drawn one after the other, each uniformly from what is left above the
    one before it and below the room that the later ones need. Between two bounds the segments go to one image, the
    first image first; below the first bound and from the last one on they stay with the last image, whose segments they
    are. Where it has at least ``images`` segments every image gets one or more; where it has fewer, not all get any.
    Earlier images get more: about 1/4, 1/8, ... of the segments, and the last one more than half.
    """
    height, width = segments.shape[1:]
    numbers, counts = _numbered(segments, max_segments, min_size)
    bounds = _rising_bounds(key, counts, images)
    rows, columns = jnp.arange(side) * height // side, jnp.arange(side) * width // side
    shown = numbers[jnp.arange(len(numbers))[:, None, None], segments[:, rows][:, :, columns]]
    bounds_passed = jnp.sum(shown >= bounds[:, :, None, None], axis=0)
    return _one_hot((bounds_passed - 1) % images, images)  # none passed and all passed: the last image


def _numbered(
    segments: Int[Array, "batch height width"], max_segments: int, min_size: int
) -> tuple[Int[Array, "batch max_segments"], Int[Array, "batch"]]:
    """For each label its number in the order of a row by row reading, and how many numbers there are (at least 1).

    scikit-image numbers the segments of a whole image in the same order.
    """
    labels = segments.reshape(len(segments), -1).astype(jnp.int32)
    places = jnp.arange(labels.shape[1])
    first_places = jax.vmap(lambda one: jax.ops.segment_min(places, one, max_segments))(labels)
    sizes = jax.vmap(lambda one: jax.ops.segment_sum(jnp.ones_like(one), one, max_segments))(labels)
    reading_order = jnp.argsort(first_places, axis=1)
    counted = jnp.take_along_axis(sizes >= max(min_size, 1), reading_order, axis=1)
    numbers = jnp.maximum(jnp.cumsum(counted, axis=1) - 1, 0)
    by_label = jnp.take_along_axis(numbers, jnp.argsort(reading_order, axis=1), axis=1)
    return by_label, numbers[:, -1] + 1


def _rising_bounds(key: PRNGKeyArray, counts: Int[Array, "batch"], number: int) -> Int[Array, "number batch"]:
    """Bounds below ``counts`` (where these are large enough), each above the one before it."""
    bounds: list[Array] = []
    lowest = jnp.zeros_like(counts)
    for later, bound_key in zip(reversed(range(number)), jax.random.split(key, number), strict=True):
        bounds.append(jax.random.randint(bound_key, counts.shape, lowest, jnp.maximum(lowest + 1, counts - later)))
        lowest = bounds[-1] + 1
    return jnp.stack(bounds)


def _one_hot(owners: Int[Array, "batch height width"], images: int) -> Float[Array, "images batch height width 1"]:
    return (owners == jnp.arange(images)[:, None, None, None])[..., None].astype(jnp.float32)
