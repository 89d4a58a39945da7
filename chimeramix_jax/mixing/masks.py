"""Random masks, by which features (or pixels) of images are mixed.

A mask is 1 where the mix of a pair takes the first image *a*, and 0 where it takes the second image *b*. A partition
generalises this to any number of images: it has a mask for each, and exactly one of them is 1 at every position. The
mask of a pair is the first of its partition.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer, PRNGKeyArray
from ml_collections import ConfigDict

from chimeramix_jax.config.rules import PUBLISHED, SHARES
from chimeramix_jax.errors import not_one_of
from chimeramix_jax.extensions import lookup, registry


@dataclass(frozen=True)
class MaskRule:
    """How the masks of a run are drawn.

    Attributes:
        kind: "grid", "segmentation", or the name of a custom mask.
        side: positions per side of a mask.
        mix_size: cells per side of a grid.
        segment_min_size: pixels below which a segment is joined to another.
        shares: how cells or segments are dealt to the images: "published", or one of ``draw_shares``.
        own: the function of a custom mask (``extensions.mask``); None: the mask is one of the program's.
    """

    kind: str
    side: int
    mix_size: int
    segment_min_size: int
    shares: str = PUBLISHED
    own: Any = None

    @classmethod
    def of(cls, settings: ConfigDict, side: int) -> "MaskRule":
        """Returns the rule set in ``config.mixing``, for masks of the given side."""
        code = settings.mask_code
        own = lookup.find(registry.MASK, settings.mask, code) if code else None
        return cls(settings.mask, side, settings.mix_size, settings.segmentation_min_size, settings.shares, own)

    def partitions(
        self,
        key: PRNGKeyArray,
        batch_size: int,
        segments: Integer[Array, "batch_size height width"] | None,
        segment_labels: int = 0,
        images: int = 2,
    ) -> Float[Array, "images batch_size side side 1"]:
        """Draws which image each position of every mix is taken from.

        Args:
            key: the source of the random numbers.
            batch_size: number of mixes.
            segments: label maps of the last images' views, which masks of segments need.
            segment_labels: larger than every label in ``segments``.
            images: number of images per mix.
        """
        shares = None
        if self.shares != PUBLISHED:
            key, share_key = jax.random.split(key)
            shares = draw_shares(share_key, self.shares, batch_size, images)
        if self.own is not None:
            return own_partitions(self.own, key, batch_size, self.side, images)
        match self.kind:
            case "grid":
                return grid_partitions(key, batch_size, self.side, self.mix_size, images, shares)
            case "segmentation":
                assert segments is not None, "masks of segments need label maps"
                minimum = self.segment_min_size
                return segment_partitions(key, segments, self.side, segment_labels, minimum, images, shares)
        raise NotImplementedError(f"mixing.mask {self.kind!r} has no case in MaskRule.partitions")


def own_partitions(
    draw: Any, key: PRNGKeyArray, batch_size: int, side: int, images: int
) -> Float[Array, "images batch_size side side 1"]:
    """Draws partitions by a custom rule, which returns owners of positions or weights; see ``extensions.mask``."""
    drawn = draw(key, batch_size, side, images)
    return _one_hot(drawn, images) if jnp.issubdtype(drawn.dtype, jnp.integer) else drawn


def draw_shares(key: PRNGKeyArray, kind: str, batch_size: int, images: int) -> Float[Array, "batch_size images"]:
    """Draws the probabilities with which a cell or segment of each mix is dealt to each of its images.

    ``kind`` is "equal", "dirichlet" (uniform over all shares that sum to 1), or "stick_breaking": the first image gets
    a uniform part of the whole, the second one a uniform part of the rest, and so on; the last gets what is left.
    The published HydraMix deals the segments of a mix to several images; its rule is not public, so these are our own.
    """
    if kind == "equal":
        return jnp.full((batch_size, images), 1 / images)
    if kind == "dirichlet":
        return jax.random.dirichlet(key, jnp.ones(images), (batch_size,))
    if kind == "stick_breaking":
        breaks = jax.random.uniform(key, (batch_size, images)).at[:, -1].set(1.0)
        left = jnp.cumprod(1 - breaks, axis=1)
        return breaks * jnp.concatenate([jnp.ones((batch_size, 1)), left[:, :-1]], axis=1)
    raise not_one_of("mixing.shares", kind, SHARES)


def _dealt(
    key: PRNGKeyArray, shares: Float[Array, "batch images"], pieces: tuple[int, ...]
) -> Int[Array, "batch *pieces"]:
    """Deals each piece of every mix to one of the images, independently, with the probabilities of the mix's shares."""
    draws = jax.random.uniform(key, (len(shares), *pieces, 1))
    ends = jnp.cumsum(shares, axis=1)[:, :-1]
    return jnp.sum(draws >= ends.reshape(len(shares), *(1 for _ in pieces), -1), axis=-1)


def grid_masks(
    key: PRNGKeyArray, batch_size: int, side: int, mix_size: int = 4
) -> Float[Array, "batch_size side side 1"]:
    """Draws random grids of zeros and ones as the released program does.

    Each mix gets its own ``mix_size`` x ``mix_size`` grid of fair coins. The grids are enlarged (nearest neighbour) to
    ``side + pad``, where ``pad = side // mix_size``, and cropped to ``side`` at an offset drawn from 0..pad-1 in each
    direction. All grids of a batch have the same offset.
    """
    return grid_partitions(key, batch_size, side, mix_size)[0]


def grid_partitions(
    key: PRNGKeyArray,
    batch_size: int,
    side: int,
    mix_size: int = 4,
    images: int = 2,
    shares: Float[Array, "batch_size images"] | None = None,
) -> Float[Array, "images batch_size side side 1"]:
    """Draws grids as ``grid_masks`` does, with each cell dealt to an image by ``shares``; None: equal probabilities."""
    pad = side // mix_size
    cell_key, offset_key = jax.random.split(key)
    if shares is None:
        # For two images these are fair coins, equal to those that jax.random.bernoulli would draw.
        cells = (images * jax.random.uniform(cell_key, (batch_size, mix_size, mix_size))).astype(jnp.int32)
    else:
        cells = _dealt(cell_key, shares, (mix_size, mix_size))
    rows, columns = jax.random.randint(offset_key, (2, 1), 0, pad) + jnp.arange(side)
    # Nearest neighbour, rounding down: pixel p of the enlarged grid shows cell floor(p * mix_size / (side + pad)).
    cell_rows, cell_columns = rows * mix_size // (side + pad), columns * mix_size // (side + pad)
    return _one_hot(cells[:, cell_rows][:, :, cell_columns], images)


def segment_masks(
    key: PRNGKeyArray, segments: Integer[Array, "batch height width"], side: int, max_segments: int, min_size: int = 1
) -> Float[Array, "batch side side 1"]:
    """Draws masks of whole segments of each pair's image b as the released program does.

    The k segments of b are numbered 0..k-1 in the order in which a scan of the view, row by row, meets them. A lower
    bound l is drawn from 0..max(1, k-1)-1 and an upper bound u from l+1..max(l+2, k)-1. The mask is 1 on the segments
    l <= s < u, where a replaces b. So at least the last segment of b stays, unless b has only one: then a replaces all.

    Args:
        key: the source of both bounds.
        segments: label maps of b's views, in 0..max_segments-1. Labels may be missing, as they are after a crop.
        side: positions per side of the mask, resized by nearest neighbour, rounding down (PyTorch's ``nearest``).
        max_segments: one more than the largest label of all images.
        min_size: the smallest segment, in pixels. A crop can leave less of a segment than the segmentation itself would
            have kept; such a remnant gets the number of the segment met before it.
    """
    return segment_partitions(key, segments, side, max_segments, min_size)[0]


def segment_partitions(
    key: PRNGKeyArray,
    segments: Integer[Array, "batch height width"],
    side: int,
    max_segments: int,
    min_size: int = 1,
    images: int = 2,
    shares: Float[Array, "batch images"] | None = None,
) -> Float[Array, "images batch side side 1"]:
    """Assigns whole segments of the last image to all images; for two images see ``segment_masks``.

    With ``shares``, each segment is dealt to an image independently, with that image's share as the probability.

    Without them, the rule for more than two images is our own: ``images`` increasing bounds are drawn one after the
    other, each uniformly from the numbers above the previous bound that leave room for the later ones. The segments
    between two bounds go to one image, those between the first two bounds to the first image, and so on. Segments below
    the first bound and from the last bound on stay with the last image, to which they belong. If that has at least
    ``images`` segments, every image gets one or more; if it has fewer, some images get none. Earlier images get more:
    about 1/4, 1/8, ... of the segments, and the last image more than half.
    """
    height, width = segments.shape[1:]
    numbers, counts = _numbered(segments, max_segments, min_size)
    rows, columns = jnp.arange(side) * height // side, jnp.arange(side) * width // side
    mixes = jnp.arange(len(numbers))[:, None, None]
    resized = numbers[mixes, segments[:, rows][:, :, columns]]
    if shares is not None:
        return _one_hot(_dealt(key, shares, (max_segments,))[mixes, resized], images)
    bounds = _rising_bounds(key, counts, images)
    bounds_passed = jnp.sum(resized >= bounds[:, :, None, None], axis=0)
    return _one_hot((bounds_passed - 1) % images, images)  # the last image if no bound is passed, or if all are


def _numbered(
    segments: Integer[Array, "batch height width"], max_segments: int, min_size: int
) -> tuple[Int[Array, "batch max_segments"], Int[Array, "batch"]]:
    """Returns each label's number in the order of a scan row by row, and how many numbers there are (at least 1).

    scikit-image numbers the segments of a whole image in the same order.
    """
    labels = segments.reshape(len(segments), -1).astype(jnp.int32)
    places = jnp.arange(labels.shape[1])
    first_places = jax.vmap(lambda row: jax.ops.segment_min(places, row, max_segments))(labels)
    sizes = jax.vmap(lambda row: jax.ops.segment_sum(jnp.ones_like(row), row, max_segments))(labels)
    scan_order = jnp.argsort(first_places, axis=1)
    counted = jnp.take_along_axis(sizes >= max(min_size, 1), scan_order, axis=1)
    numbers = jnp.maximum(jnp.cumsum(counted, axis=1) - 1, 0)
    by_label = jnp.take_along_axis(numbers, jnp.argsort(scan_order, axis=1), axis=1)
    return by_label, numbers[:, -1] + 1


def _rising_bounds(key: PRNGKeyArray, counts: Int[Array, "batch"], number: int) -> Int[Array, "number batch"]:
    """Draws increasing bounds, all below ``counts`` if these are large enough."""
    bounds: list[Array] = []
    lowest = jnp.zeros_like(counts)
    for later, bound_key in zip(reversed(range(number)), jax.random.split(key, number), strict=True):
        bounds.append(jax.random.randint(bound_key, counts.shape, lowest, jnp.maximum(lowest + 1, counts - later)))
        lowest = bounds[-1] + 1
    return jnp.stack(bounds)


def _one_hot(owners: Int[Array, "batch height width"], images: int) -> Float[Array, "images batch height width 1"]:
    return (owners == jnp.arange(images)[:, None, None, None])[..., None].astype(jnp.float32)
