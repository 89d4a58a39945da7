from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimeramix_jax import mixing

# Side of the masks and cells per side: the published sizes (64, 96 and 32 pixels), sides that the cells do not divide,
# and as many cells as places.
SIZES = [(16, 4), (24, 4), (8, 4), (10, 4), (13, 3), (5, 2), (6, 6)]


@partial(jax.jit, static_argnums=(1, 2, 3))
def draw(key, batch_size, side, mix_size):
    return mixing.grid_masks(key, batch_size, side, mix_size)


def masks(batch_size, side, mix_size, seed=0):
    return np.asarray(draw(jax.random.key(seed), batch_size, side, mix_size))


def windows_of(grid, side):
    """Every window that may be cut out of a grid, stretched by nearest neighbour: offsets to array."""
    cells, pad = len(grid), side // len(grid)
    nearest = [int(place / (side + pad) * cells + 1e-9) for place in range(side + pad)]
    stretched = grid[np.ix_(nearest, nearest)]
    return {(y, x): stretched[y : y + side, x : x + side] for y in range(pad) for x in range(pad)}


@pytest.mark.parametrize(("side", "mix_size"), SIZES)
def test_grid_masks_are_zeros_and_ones_of_the_asked_shape(side, mix_size):
    drawn = masks(6, side, mix_size)
    assert drawn.shape == (6, side, side, 1)
    assert drawn.dtype == np.float32
    assert set(np.unique(drawn)) == {0, 1}


@pytest.mark.parametrize(("side", "mix_size"), SIZES)
def test_grid_masks_are_windows_of_stretched_coin_grids_at_one_offset_for_the_batch(side, mix_size):
    for seed in range(4):
        key = jax.random.key(seed)
        grids = np.asarray(jax.random.bernoulli(jax.random.split(key)[0], 0.5, (5, mix_size, mix_size)))
        drawn = masks(5, side, mix_size, seed)[..., 0]
        fitting = [
            {offsets for offsets, window in windows_of(grid, side).items() if np.array_equal(window, mask)}
            for grid, mask in zip(grids, drawn, strict=True)
        ]
        assert set.intersection(*fitting), f"no common offset: {fitting}"


def test_offsets_of_the_window_cover_their_whole_range_in_both_directions():
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


def test_each_image_has_its_own_grid():
    drawn = masks(16, 16, 4)
    assert len({mask.tobytes() for mask in drawn}) == 16


def test_half_of_the_places_take_each_image():
    assert abs(masks(2000, 8, 4).mean() - 0.5) < 0.02


@pytest.mark.parametrize(("side", "mix_size"), SIZES)
def test_a_row_or_column_changes_at_most_once_per_cell(side, mix_size):
    drawn = masks(50, side, mix_size)[..., 0]
    for axis in (1, 2):
        assert np.max(np.sum(np.diff(drawn, axis=axis) != 0, axis=axis)) <= mix_size - 1


def test_two_keys_give_different_masks_and_one_key_the_same():
    np.testing.assert_array_equal(masks(4, 16, 4), masks(4, 16, 4))
    assert np.any(masks(4, 16, 4) != masks(4, 16, 4, seed=1))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_blend_takes_a_where_the_mask_is_one_and_b_where_it_is_zero(dtype):
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.normal(size=(2, 4, 4, 3)), dtype) for _ in range(2))
    ones = jnp.ones((2, 4, 4, 1))
    mask = jnp.asarray(rng.integers(0, 2, (2, 4, 4, 1)), jnp.float32)
    for weights, expected in ((ones, a), (0 * ones, b), (mask, jnp.where(mask == 1, a, b))):
        mixed = mixing.blend(a, b, weights)
        assert mixed.dtype == dtype
        np.testing.assert_array_equal(mixed, expected)


def test_blend_interpolates_linearly_between():
    a, b = jnp.full((1, 2, 2, 1), 8.0), jnp.full((1, 2, 2, 1), -4.0)
    np.testing.assert_allclose(mixing.blend(a, b, jnp.full((1, 2, 2, 1), 0.25)), -1)
