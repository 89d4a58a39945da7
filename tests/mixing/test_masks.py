from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from chimeramix_jax.mixing.blending import blend, blend_many
from chimeramix_jax.mixing.masks import (
    MaskRule,
    draw_shares,
    grid_masks,
    grid_partitions,
    segment_masks,
    segment_partitions,
)

# Side of the masks and cells per side: the published sizes (64, 96 and 32 pixels), sides that are no multiple of the
# cells, and as many cells as positions.
SIZES = [(16, 4), (24, 4), (8, 4), (10, 4), (13, 3), (5, 2), (6, 6)]


@partial(jax.jit, static_argnums=(1, 2, 3))
def draw(key, batch_size, side, mix_size):
    return grid_masks(key, batch_size, side, mix_size)


def masks(batch_size, side, mix_size, seed=0):
    return np.asarray(draw(jax.random.key(seed), batch_size, side, mix_size))


def windows_of(grid, side):
    """Every crop of a grid enlarged by nearest neighbour: a dictionary from offsets to arrays."""
    cells, pad = len(grid), side // len(grid)
    nearest = [int(place / (side + pad) * cells + 1e-9) for place in range(side + pad)]
    stretched = grid[np.ix_(nearest, nearest)]
    return {(y, x): stretched[y : y + side, x : x + side] for y in range(pad) for x in range(pad)}


@pytest.mark.parametrize(("side", "mix_size"), SIZES)
def test_grid_masks_are_zeros_and_ones_of_the_requested_shape(side, mix_size):
    drawn = masks(6, side, mix_size)
    assert drawn.shape == (6, side, side, 1)
    assert drawn.dtype == np.float32
    assert set(np.unique(drawn)) == {0, 1}


@pytest.mark.parametrize(("side", "mix_size"), SIZES)
def test_grid_masks_are_crops_of_enlarged_coin_grids_at_one_offset_for_the_batch(side, mix_size):
    for seed in range(4):
        key = jax.random.key(seed)
        grids = np.asarray(jax.random.bernoulli(jax.random.split(key)[0], 0.5, (5, mix_size, mix_size)))
        drawn = masks(5, side, mix_size, seed)[..., 0]
        fitting = [
            {offsets for offsets, window in windows_of(grid, side).items() if np.array_equal(window, mask)}
            for grid, mask in zip(grids, drawn, strict=True)
        ]
        assert set.intersection(*fitting), f"no common offset: {fitting}"


def test_crop_offsets_cover_their_whole_range_in_both_directions():
    side, mix_size = 16, 4
    seen = set()
    for seed in range(80):
        grids = np.asarray(
            jax.random.bernoulli(jax.random.split(jax.random.key(seed))[0], 0.5, (8, mix_size, mix_size))
        )
        drawn = masks(8, side, mix_size, seed)[..., 0]
        fitting = [
            {offsets for offsets, window in windows_of(grid, side).items() if np.array_equal(window, mask)}
            for grid, mask in zip(grids, drawn, strict=True)
        ]
        seen |= set.intersection(*fitting)
    assert seen == {(y, x) for y in range(4) for x in range(4)}


@pytest.mark.parametrize("side", [16, 64])  # of features, and of pixels in direct mixing
def test_all_crop_offsets_are_equally_likely_in_both_directions(side):
    pad, draws = side // 4, 800

    def offsets(key):
        """Finds the offset from the end of the first cell, where some grid of a batch almost certainly changes."""
        drawn = grid_masks(key, 6, side, 4)[..., 0]
        ends = [jnp.argmax(jnp.any(jnp.diff(drawn, axis=axis) != 0, axis=(0, 3 - axis))) + 1 for axis in (1, 2)]
        return (side + pad) // 4 - jnp.stack(ends)

    found = np.asarray(jax.jit(jax.vmap(offsets))(jax.random.split(jax.random.key(0), draws)))
    counts = np.histogram2d(*found.T, bins=[np.arange(pad + 1)] * 2)[0]
    assert counts.sum() == draws
    for offset_counts in (counts.sum(axis=0), counts.sum(axis=1)):
        assert scipy.stats.chisquare(offset_counts).pvalue > 1e-3
    assert scipy.stats.chi2_contingency(counts).pvalue > 1e-3  # rows and columns are drawn independently


def test_each_image_has_its_own_grid():
    drawn = masks(16, 16, 4)
    assert len({mask.tobytes() for mask in drawn}) == 16


def test_each_image_gets_half_of_the_positions():
    assert abs(masks(2000, 8, 4).mean() - 0.5) < 0.02


def test_every_position_goes_to_each_image_half_of_the_time():
    draws = 4000
    counts = masks(draws, 16, 4).sum(axis=0)
    assert np.all(np.abs(counts - draws / 2) < 5 * np.sqrt(draws / 4))


def test_mask_areas_are_distributed_as_those_of_enlarged_coin_grids():
    side, rng = 16, np.random.default_rng(0)
    windows = [windows_of(rng.integers(0, 2, (4, 4)), side) for _ in range(300)]
    expected = [window.mean() for grid_windows in windows for window in grid_windows.values()]
    areas = np.concatenate([masks(50, side, 4, seed).mean(axis=(1, 2, 3)) for seed in range(20)])
    # The windows of a grid are not independent, so the bound assumes only as many samples as there are grids.
    assert scipy.stats.ks_2samp(areas, expected).statistic < 1.95 * np.sqrt(1 / 1000 + 1 / 300)
    np.testing.assert_allclose(np.std(areas), np.std(expected), rtol=0.15)


@pytest.mark.parametrize(("side", "mix_size"), SIZES)
def test_a_row_or_column_changes_at_most_once_per_cell(side, mix_size):
    drawn = masks(50, side, mix_size)[..., 0]
    for axis in (1, 2):
        assert np.max(np.sum(np.diff(drawn, axis=axis) != 0, axis=axis)) <= mix_size - 1


def test_different_keys_give_different_masks_and_equal_keys_equal_masks():
    np.testing.assert_array_equal(masks(4, 16, 4), masks(4, 16, 4))
    assert np.any(masks(4, 16, 4) != masks(4, 16, 4, seed=1))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_blend_takes_a_where_the_mask_is_one_and_b_where_it_is_zero(dtype):
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.normal(size=(2, 4, 4, 3)), dtype) for _ in range(2))
    ones = jnp.ones((2, 4, 4, 1))
    mask = jnp.asarray(rng.integers(0, 2, (2, 4, 4, 1)), jnp.float32)
    for weights, expected in ((ones, a), (0 * ones, b), (mask, jnp.where(mask == 1, a, b))):
        mixed = blend(a, b, weights)
        assert mixed.dtype == dtype
        np.testing.assert_array_equal(mixed, expected)


def test_blend_interpolates_linearly():
    a, b = jnp.full((1, 2, 2, 1), 8.0), jnp.full((1, 2, 2, 1), -4.0)
    np.testing.assert_allclose(blend(a, b, jnp.full((1, 2, 2, 1), 0.25)), -1)


@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def draw_partitions(key, batch_size, side, mix_size, images):
    return grid_partitions(key, batch_size, side, mix_size, images)


@partial(jax.jit, static_argnums=(2, 3, 4))
def assign_segments(key, segments, side, max_segments, images):
    return segment_partitions(key, segments, side, max_segments, images=images)


@pytest.mark.parametrize(("side", "mix_size"), [(16, 4), (13, 3)])
def test_partitions_for_two_images_are_the_masks_of_pairs_and_their_complements(side, mix_size):
    key = jax.random.key(3)
    segments = np.random.default_rng(0).integers(0, 9, (6, 2 * side, 2 * side))
    for mask, partition in (
        (masks(6, side, mix_size, seed=3), draw_partitions(key, 6, side, mix_size, 2)),
        (draw_segment_masks(key, segments, side, 9), assign_segments(key, segments, side, 9, 2)),
    ):
        np.testing.assert_array_equal(partition, np.stack([mask, 1 - mask]))


@pytest.mark.parametrize("images", [1, 3, 5])
def test_partitions_assign_every_position_to_exactly_one_image(images):
    key = jax.random.key(0)
    segments = np.random.default_rng(0).integers(0, 30, (7, 16, 16), dtype=np.uint8)
    for partition in (draw_partitions(key, 7, 12, 4, images), assign_segments(key, segments, 12, 30, images)):
        assert partition.shape == (images, 7, 12, 12, 1)
        assert partition.dtype == np.float32
        assert set(np.unique(partition)) <= {0, 1}
        np.testing.assert_array_equal(np.sum(partition, axis=0), 1)


@pytest.mark.parametrize("images", [3, 4])
def test_grid_cells_go_to_each_image_equally_often(images):
    shares = np.mean(draw_partitions(jax.random.key(0), 2000, 8, 4, images), axis=(1, 2, 3, 4))
    np.testing.assert_allclose(shares, 1 / images, atol=0.02)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_blend_many_takes_each_position_from_its_image_and_equals_blend_for_two(dtype):
    features = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 8, 8, 5)), dtype)
    partition = draw_partitions(jax.random.key(0), 4, 8, 4, 3)
    owners = np.argmax(partition, axis=0)
    mixed = blend_many(features, partition)
    assert mixed.dtype == dtype
    np.testing.assert_array_equal(mixed, np.take_along_axis(np.asarray(features), owners[None], axis=0)[0])
    pair = draw_partitions(jax.random.key(1), 4, 8, 4, 2)
    np.testing.assert_array_equal(blend_many(features[:2], pair), blend(features[0], features[1], pair[0]))


@partial(jax.jit, static_argnums=(2, 3, 4))
def draw_segment_masks(key, segments, side, max_segments, min_size=1):
    return segment_masks(key, segments, side, max_segments, min_size)


def possible_masks(segments, side):
    """Every mask that the published rule allows, as bytes, with its probability."""
    scan_order = list(dict.fromkeys(segments.ravel().tolist()))
    k = len(scan_order)
    numbers = np.vectorize(scan_order.index)(segments)
    places = [int(place * len(segments) / side) for place in range(side)]
    shown = numbers[np.ix_(places, places)]
    masks = {}
    lower_bounds = range(max(1, k - 1))
    for lower in lower_bounds:
        upper_bounds = range(lower + 1, max(lower + 2, k))
        for upper in upper_bounds:
            mask = ((lower <= shown) & (shown < upper)).astype(np.float32).tobytes()
            masks[mask] = masks.get(mask, 0) + 1 / len(lower_bounds) / len(upper_bounds)
    return masks


def patches(labels, side):
    """A label map of square patches, row by row."""
    cells = int(len(labels) ** 0.5)
    return np.kron(np.reshape(labels, (cells, cells)), np.ones((side // cells, side // cells))).astype(np.uint8)


# Four connected segments in order; labels as after a crop, out of order and with gaps; three, two and one segment.
LABELS = [[0, 1, 2, 3], [9, 4, 4, 7], [2, 0, 1, 2], [5, 5, 8, 8], [6, 6, 6, 6]]


@pytest.mark.parametrize("labels", LABELS)
def test_segment_masks_follow_the_published_rule_with_its_probabilities(labels):
    segments = patches(labels, 8)
    drawn = np.asarray(draw_segment_masks(jax.random.key(0), np.asarray([segments] * 3000), 4, 10))
    expected = possible_masks(segments, 4)
    found = dict.fromkeys(expected, 0)
    for mask in drawn:
        found[mask.tobytes()] += 1 / len(drawn)
    for mask, probability in expected.items():
        assert abs(found[mask] - probability) < 0.04  # more than 4 standard deviations


def test_an_image_with_a_single_segment_is_replaced_by_the_other_image():
    segments = np.full((3000, 8, 8), 3, np.uint8)
    assert np.all(draw_segment_masks(jax.random.key(0), segments, 4, 10) == 1)


def test_each_mix_of_a_batch_has_its_own_segments_and_bounds():
    segments = np.stack([patches(labels, 8) for labels in LABELS] * 600)
    drawn = np.asarray(draw_segment_masks(jax.random.key(0), segments, 4, 10))
    for position, labels in enumerate(LABELS):
        found = {mask.tobytes() for mask in drawn[position :: len(LABELS)]}
        assert found == set(possible_masks(patches(labels, 8), 4))


@pytest.mark.parametrize(("from_side", "side"), [(32, 16), (96, 24), (7, 3), (8, 16)])
def test_segment_masks_are_resized_by_nearest_neighbour_rounding_down(from_side, side):
    segments = np.random.default_rng(0).integers(0, 5, (20, from_side, from_side))
    drawn = np.asarray(draw_segment_masks(jax.random.key(0), jnp.asarray(segments), side, 5))
    for mask, labels in zip(drawn, segments, strict=True):
        assert mask.tobytes() in possible_masks(labels, side)


def test_masks_depend_on_where_segments_lie_and_not_on_their_labels():
    segments = np.random.default_rng(0).integers(0, 40, (8, 16, 16))
    renamed = np.random.default_rng(1).permutation(40)[segments]
    np.testing.assert_array_equal(
        draw_segment_masks(jax.random.key(0), jnp.asarray(segments), 8, 40),
        draw_segment_masks(jax.random.key(0), jnp.asarray(renamed), 8, 40),
    )


def test_remnants_below_the_smallest_size_get_the_number_of_the_segment_before():
    segments, joined = patches([0, 1, 2, 3], 16), patches([0, 1, 2, 3], 16)
    segments[3, 2:5], segments[0, 0], segments[-1, -2:] = 4, 5, 6
    joined[3, 2:5], joined[-1, -2:] = 1, 3  # the corner is met first and joins the first segment, 0
    key, many = jax.random.key(0), 200
    np.testing.assert_array_equal(
        draw_segment_masks(key, jnp.asarray([segments] * many), 16, 7, 4),
        draw_segment_masks(key, jnp.asarray([joined] * many), 16, 7),
    )
    few = draw_segment_masks(key, jnp.asarray([segments]), 16, 7, 1000)
    assert np.all(few == 1)  # none is large enough, so all count as one


def test_several_images_get_whole_segments_in_order_and_at_least_one_if_there_are_enough():
    images, segments = 4, np.arange(64).reshape(8, 8) // 8
    drawn = np.asarray(assign_segments(jax.random.key(0), np.asarray([segments] * 500), 8, 8, images))
    owners = drawn.argmax(axis=0)[:, :, 0, 0]
    assert np.all(drawn.argmax(axis=0)[..., 0] == owners[:, :, None])  # whole segments
    for row in owners:
        assert set(row) == set(range(images))
        first = int(np.flatnonzero(row == 0)[0])
        assert np.all(row[:first] == images - 1)
        assert np.all(np.diff(row[first:]) >= 0)
    assert len({row.tobytes() for row in owners}) > 30


@pytest.mark.parametrize(
    ("kind", "means", "deviations"),
    [
        ("equal", (1 / 3, 1 / 3, 1 / 3), (0, 0, 0)),
        # Dirichlet(1, 1, 1): each share has the distribution Beta(1, 2), with variance 1/18.
        ("dirichlet", (1 / 3, 1 / 3, 1 / 3), (18**-0.5, 18**-0.5, 18**-0.5)),
        # A uniform part u of the stick, u' of the rest, and what is left: the two last have equal distributions.
        ("stick_breaking", (1 / 2, 1 / 4, 1 / 4), (12**-0.5, (1 / 9 - 1 / 16) ** 0.5, (1 / 9 - 1 / 16) ** 0.5)),
    ],
)
def test_shares_have_the_distribution_that_their_name_says(kind, means, deviations):
    shares = np.asarray(draw_shares(jax.random.key(0), kind, 20_000, 3))
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(shares.mean(axis=0), means, atol=0.01)
    np.testing.assert_allclose(shares.std(axis=0), deviations, atol=0.01)


@pytest.mark.parametrize("kind", ["equal", "dirichlet", "stick_breaking"])
def test_cells_and_segments_are_dealt_by_the_shares(kind):
    mixes, images = 3000, 3
    labels = np.broadcast_to(np.arange(64).reshape(8, 8).repeat(2, 0).repeat(2, 1), (mixes, 16, 16))
    # 64 segments are dealt independently. Of a grid of 8 x 8 cells, its first row and column fill two rows and columns
    # of the mask and its last ones are cropped, which deviates as fewer cells would.
    cases = (("grid", None, 64**2 / (2**2 + 6) ** 2), ("segmentation", jnp.asarray(labels, jnp.uint8), 64))
    for mask, segments, pieces in cases:
        rule = MaskRule(mask, 8, 8, 1, kind)
        partition = np.asarray(rule.partitions(jax.random.key(1), mixes, segments, 64, images))
        np.testing.assert_array_equal(partition.sum(axis=0), 1)
        kept = partition.mean(axis=(2, 3, 4)).T
        expected = np.asarray(draw_shares(jax.random.split(jax.random.key(1))[1], kind, mixes, images))
        errors = (kept - expected) / np.sqrt(expected * (1 - expected) / pieces + 1e-4)
        assert abs(errors.mean()) < 0.05 and 0.8 < errors.std() < 1.1
