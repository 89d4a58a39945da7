from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimeramix_jax.augment import erasing

SIDE = 16
COUNT = 2000  # images per call: copies of a few

cutout = jax.jit(erasing.cutout, static_argnames="side")
random_erasing = jax.jit(erasing.random_erasing, static_argnames=("area", "aspect"))
certain_erasing = partial(random_erasing, probability=1.0)


@pytest.fixture(scope="module")
def photos():
    """Photographs in [-1, 1], 16 x 16, many copies of each; no value is 0."""
    with np.load(Path(__file__).parents[1] / "fixtures" / "segments.npz") as arrays:
        pixels = arrays["images_32"][:, ::2, ::2]
    return jnp.asarray(np.tile(pixels, (COUNT // len(pixels), 1, 1, 1)) / 127.5 - 1, jnp.float32)


def rectangles(before, after):
    """Returns top, bottom, left and right (ends excluded) of the changed rectangle in each image, or zeros."""
    changed = np.any(np.asarray(before != after), axis=-1)
    rows, columns = changed.any(axis=2), changed.any(axis=1)
    tops, lefts = rows.argmax(axis=1), columns.argmax(axis=1)
    bounds = np.stack([tops, tops + rows.sum(axis=1), lefts, lefts + columns.sum(axis=1)], axis=1)
    for change, (top, bottom, left, right) in zip(changed, bounds, strict=True):
        assert change[top:bottom, left:right].all()
        assert change.sum() == (bottom - top) * (right - left)
    return bounds


def assert_even(values, lowest, highest):
    """Asserts that all integers of the range occur about equally often."""
    found, counts = np.unique(values, return_counts=True)
    assert found.tolist() == list(range(lowest, highest + 1))
    expected = len(values) / len(found)
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


# --------------------------------------------------------------------------------------------------------------- Cutout


@pytest.mark.parametrize(("side", "reach"), [(6, 3), (5, 2), (8, 4)])
def test_cutout_zeroes_a_square_around_a_uniform_centre_and_clips_it_at_the_border(photos, side, reach):
    erased = cutout(jax.random.key(0), photos, side)
    found = rectangles(photos, erased)
    assert np.all(np.asarray(erased)[np.asarray(erased != photos)] == 0)
    for starts, stops in (found[:, :2].T, found[:, 2:].T):
        centres = np.where(starts > 0, starts + reach, stops - reach)
        np.testing.assert_array_equal(starts, np.maximum(centres - reach, 0))
        np.testing.assert_array_equal(stops, np.minimum(centres + reach, SIDE))
        assert_even(centres, 0, SIDE - 1)


def test_cutout_draws_row_and_column_for_each_image_independently(photos):
    found = rectangles(photos, cutout(jax.random.key(1), photos, 4))
    assert abs(np.corrcoef(found[:, 0], found[:, 2])[0, 1]) < 0.12
    assert abs(np.corrcoef(found[1:, 0], found[:-1, 0])[0, 1]) < 0.12
    assert len(np.unique(found, axis=0)) > 0.95 * SIDE**2


def test_a_square_of_more_than_twice_the_side_erases_the_whole_image(photos):
    assert np.all(np.asarray(cutout(jax.random.key(0), photos, 2 * SIDE + 2)) == 0)


def test_cutout_of_images_that_are_not_square_reaches_every_pixel(photos):
    wide = photos[:, :8]
    found = rectangles(wide, cutout(jax.random.key(0), wide, 2))
    assert (found[:, 1].max(), found[:, 3].max()) == (8, SIDE)


# ------------------------------------------------------------------------------------------------------- random erasing


@pytest.mark.parametrize(
    ("share", "ratio", "height", "width"), [(0.25, 1.0, 8, 8), (0.14, 4.0, 12, 3), (0.14, 0.25, 3, 12), (0.02, 1, 2, 2)]
)
def test_area_and_aspect_determine_the_rectangle_and_its_position_is_uniform(photos, share, ratio, height, width):
    erased = certain_erasing(jax.random.key(0), photos, area=(share, share), aspect=(ratio, ratio))
    found = rectangles(photos, erased)
    np.testing.assert_array_equal(found[:, 1] - found[:, 0], height)
    np.testing.assert_array_equal(found[:, 3] - found[:, 2], width)
    assert_even(found[:, 0], 0, SIDE - height)
    assert_even(found[:, 2], 0, SIDE - width)
    assert abs(np.corrcoef(found[:, 0], found[:, 2])[0, 1]) < 0.12


def test_the_aspect_itself_is_uniform_and_not_its_logarithm(photos):
    found = rectangles(photos, certain_erasing(jax.random.key(0), photos, area=(0.1, 0.1), aspect=(0.25, 4.0)))
    heights, widths = found[:, 1] - found[:, 0], found[:, 3] - found[:, 2]
    # The area is 25.6 pixels: the height is at least 8 for aspects above 7.5**2 / 25.6, the width below its inverse.
    ratio = 7.5**2 / 25.6
    assert abs(np.mean(heights >= 8) - (4 - ratio) / 3.75) < 0.055
    assert abs(np.mean(widths >= 8) - (1 / ratio - 0.25) / 3.75) < 0.055


def sizes_by_definition(count, shares=(0.02, 0.4), ratios=(0.3, 1 / 0.3), seed=0):
    """Draws heights and widths one by one, following the description of the method."""
    rng, sizes = np.random.default_rng(seed), []
    for _ in range(count):
        for _ in range(10):
            area, ratio = SIDE**2 * rng.uniform(*shares), rng.uniform(*ratios)
            height, width = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
            if height < SIDE and width < SIDE:
                sizes.append((height, width))
                break
    return np.array(sizes)


def test_sizes_are_distributed_as_in_the_description(photos):
    found = rectangles(photos, certain_erasing(jax.random.key(0), photos))
    sizes = np.stack([found[:, 1] - found[:, 0], found[:, 3] - found[:, 2]], axis=1)
    expected = sizes_by_definition(20_000)
    for statistic in (lambda s: s[:, 0], lambda s: s[:, 1], lambda s: s[:, 0] * s[:, 1], lambda s: s[:, 0] / s[:, 1]):
        levels = np.unique(statistic(expected))
        shares = [
            np.searchsorted(np.sort(statistic(drawn)), levels, side="right") / len(drawn) for drawn in (sizes, expected)
        ]
        assert np.max(np.abs(shares[0] - shares[1])) < 0.045  # Kolmogorov-Smirnov, one in a thousand


def test_a_hundred_rectangles_are_tried_before_an_image_is_left_unchanged(photos):
    small = jnp.tile(photos[:, ::2, ::2], (4, 1, 1, 1))
    erased = certain_erasing(jax.random.key(0), small, area=(0.875, 1.2), aspect=(1.0, 1.0))
    # A rectangle fits if round(8 * sqrt(share)) < 8, so up to a share of 0.879: one in eighty fits.
    unchanged = (1 - ((7.5 / 8) ** 2 - 0.875) / 0.325) ** 100
    found = np.mean(np.all(np.asarray(erased == small), axis=(1, 2, 3)))
    assert abs(found - unchanged) < 3.9 * np.sqrt(unchanged * (1 - unchanged) / len(small))


def test_images_into_which_no_rectangle_fits_are_unchanged(photos):
    erased = certain_erasing(jax.random.key(0), photos, area=(0.3, 0.4), aspect=(4.0, 5.0))
    np.testing.assert_array_equal(erased, photos)


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_changed_images_is_the_probability(photos, probability):
    erased = random_erasing(jax.random.key(0), photos, probability)
    changed = rectangles(photos, erased)[:, 1] > 0
    assert abs(np.mean(changed) - probability) <= 4.5 * np.sqrt(probability * (1 - probability) / COUNT)


def test_rectangles_are_filled_with_independent_noise_between_minus_one_and_one(photos):
    erased = certain_erasing(jax.random.key(0), photos, area=(0.25, 0.25), aspect=(1.0, 1.0))
    noise = np.asarray(erased)[np.any(np.asarray(erased != photos), axis=-1)]
    assert noise.shape == (COUNT * 64, 3)
    histogram, _ = np.histogram(noise, bins=20, range=(-1, 1))
    assert histogram.sum() == noise.size
    assert np.all(np.abs(histogram - noise.size / 20) < 5 * np.sqrt(noise.size / 20))
    pixels = noise.reshape(COUNT, 64, 3)
    pairs = [(noise[:, 0], noise[:, 1]), (noise[:, 1], noise[:, 2])]
    pairs += [(pixels[1:], pixels[:-1]), (pixels[:, 1:], pixels[:, :-1])]
    assert all(abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.02 for first, second in pairs)


# ----------------------------------------------------------------------------------------------------------------- both


BOTH = pytest.mark.parametrize("erase", [partial(cutout, side=6), certain_erasing], ids=["cutout", "random erasing"])


@BOTH
def test_equal_keys_erase_equally_and_different_keys_differently(photos, erase):
    first, again, other = (erase(jax.random.key(seed), photos) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(rectangles(photos, first) != rectangles(photos, other))


@BOTH
def test_the_rectangle_does_not_depend_on_the_content_of_the_images(photos, erase):
    shown, inverted = photos, -photos
    found = [rectangles(images, erase(jax.random.key(0), images)) for images in (shown, inverted)]
    np.testing.assert_array_equal(*found)


@BOTH
def test_the_dtype_of_the_images_is_kept(photos, erase):
    assert jax.eval_shape(erase, jax.random.key(0), photos.astype(jnp.bfloat16)).dtype == jnp.bfloat16
