from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from chimeramix_jax.augment import geometry


@partial(jax.jit, static_argnums=0)
def draw(views, key, images, indices):
    return views(key, images, indices)


def random_images(count, side, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def placements(view, image, padding):
    """Returns all positions in the image that show this view: (rows down, columns right, mirrored)."""
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode="reflect") / 127.5 - 1
    crops = np.moveaxis(sliding_window_view(padded, image.shape[:2], axis=(0, 1)), 2, -1)
    return {
        (int(row) - padding, int(column) - padding, mirrored)
        for mirrored, seen in ((False, view), (True, view[:, ::-1]))
        for row, column in np.argwhere(np.abs(crops - seen).max(axis=(2, 3, 4)) < 1e-5)
    }


def placements_of_views(padding, horizontal_flip, count, side=6):
    images = random_images(4, side)
    indices = np.arange(count) % 4
    views = np.asarray(draw(geometry.RandomViews(padding, horizontal_flip), jax.random.key(0), images, indices))
    assert views.shape == (count, side, side, 3)
    return [placements(view, images[index], padding) for view, index in zip(views, indices, strict=True)]


def test_normalize_maps_grey_levels_linearly_to_minus_one_to_one():
    levels = jnp.arange(256, dtype=jnp.uint8)
    normed = geometry.normalize(jnp.tile(levels[:, None, None, None], (1, 1, 1, 3)))
    assert normed.dtype == jnp.float32
    assert np.all(normed == normed[..., :1])
    normed = normed[:, 0, 0, 0]
    np.testing.assert_allclose(normed, (np.arange(256) / 255 - 0.5) / 0.5, atol=1e-6)
    assert (normed[0], normed[255]) == (-1, 1)


def test_without_padding_and_flip_a_view_is_the_image_itself():
    images, indices = random_images(5, 8), np.array([3, 0, 3, 4])
    views = draw(geometry.RandomViews(0, False), jax.random.key(0), images, indices)
    np.testing.assert_allclose(views, images[indices] / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(("padding", "horizontal_flip"), [(1, False), (2, True), (3, True), (0, True), (5, False)])
def test_every_view_is_a_crop_of_the_reflected_image_mirrored_only_on_request(padding, horizontal_flip):
    found = placements_of_views(padding, horizontal_flip, 40)
    assert all(found), "a view is no crop of its image"
    # A crop from the reflected border alone looks like a mirrored crop.
    upright = [any(not mirrored for _, _, mirrored in places) for places in found]
    assert all(upright) != horizontal_flip


def test_shifts_cover_the_whole_range_evenly_in_both_directions_and_half_of_the_views_are_mirrored():
    found = [place for (place,) in placements_of_views(2, True, 1000)]
    rows, columns, mirrored = zip(*found, strict=True)
    for shifts in (rows, columns):
        values, counts = np.unique(shifts, return_counts=True)
        assert values.tolist() == [-2, -1, 0, 1, 2]
        assert np.all(np.abs(counts - 200) < 60)  # 4.7 standard deviations
    assert abs(np.mean(mirrored) - 0.5) < 0.075
    assert len(set(found)) == 50
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.15


def test_different_keys_give_different_views_and_equal_keys_the_same():
    images, views = random_images(4, 8), geometry.RandomViews(2, True)
    first, again, other = (draw(views, jax.random.key(seed), images, np.arange(4)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)


@pytest.mark.parametrize(("padding", "horizontal_flip"), [(0, False), (0, True), (3, False), (3, True)])
def test_a_key_always_draws_the_same_views_so_old_runs_can_be_resumed(padding, horizontal_flip):
    images, key = random_images(4, 8), jax.random.key(5)
    indices = np.arange(40) % 4
    shift_key, flip_key = jax.random.split(key)
    shifts = np.asarray(jax.random.randint(shift_key, (2, 40, 1), -padding, padding + 1))[..., 0].T
    flips = np.asarray(jax.random.bernoulli(flip_key, 0.5, (40, 1)))[:, 0] & horizontal_flip
    views = draw(geometry.RandomViews(padding, horizontal_flip), key, images, indices)
    levels = np.rint((np.asarray(views) + 1) * 127.5)
    for level, index, (down, right), flip in zip(levels, indices, shifts, flips, strict=True):
        padded = np.pad(images[index], ((padding, padding), (padding, padding), (0, 0)), mode="reflect")
        crop = padded[padding + down :, padding + right :][:8, :8]
        np.testing.assert_array_equal(level, crop[:, ::-1] if flip else crop)


@pytest.mark.parametrize(("padding", "horizontal_flip"), [(0, False), (0, True), (3, False), (3, True), (7, True)])
def test_views_of_a_label_map_and_its_image_show_the_same_place(padding, horizontal_flip):
    images, indices = random_images(5, 8), np.arange(60) % 5
    margins = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    canvases = np.pad(images, margins, mode="reflect")[..., 0]
    views = geometry.RandomViews(padding, horizontal_flip)

    @jax.jit
    def both(key):
        drawn, chosen = views.draw(key, len(indices)), jnp.asarray(indices)
        return views.images(drawn, jnp.asarray(images), chosen), views.labels(drawn, jnp.asarray(canvases), chosen)

    seen, labels = both(jax.random.key(3))
    assert labels.dtype == canvases.dtype
    np.testing.assert_array_equal(labels, np.rint((np.asarray(seen[..., 0]) + 1) * 127.5))
    np.testing.assert_array_equal(seen, draw(views, jax.random.key(3), images, indices))


@pytest.mark.parametrize(
    ("side", "fraction", "padding"), [(32, 0.125, 4), (64, 0.125, 8), (96, 0.125, 12), (64, 0.0, 0), (28, 0.125, 3)]
)
def test_the_padding_is_the_configured_share_of_the_side(side, fraction, padding):
    settings = ConfigDict({"crop_padding_fraction": fraction, "horizontal_flip": True})
    assert geometry.RandomViews.of(settings, side) == geometry.RandomViews(padding, True)


def bilinear(image, side):
    """Resizes by the definition, pixel by pixel, mapping corners to corners."""
    height, width = image.shape[:2]
    resized = np.empty((side, side, image.shape[2]))
    for row in range(side):
        for column in range(side):
            y, x = (place * (n - 1) / max(side - 1, 1) for place, n in ((row, height), (column, width)))
            top, left = min(int(y), height - 2), min(int(x), width - 2)
            down, right = y - top, x - left
            upper = (1 - right) * image[top, left] + right * image[top, left + 1]
            lower = (1 - right) * image[top + 1, left] + right * image[top + 1, left + 1]
            resized[row, column] = (1 - down) * upper + down * lower
    return resized


@pytest.mark.parametrize(
    ("height", "width", "side"), [(4, 4, 8), (8, 8, 4), (5, 5, 7), (6, 6, 5), (5, 8, 6), (3, 3, 1)]
)
def test_resizing_maps_corners_to_corners_and_interpolates_linearly(height, width, side):
    images = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    resized = geometry.resize_align_corners(jnp.asarray(images), side)
    assert resized.dtype == jnp.float32
    np.testing.assert_allclose(resized, [bilinear(image, side) for image in images], atol=1e-5)


def test_resizing_multiplies_in_full_float32_even_on_accelerators():
    images = jax.ShapeDtypeStruct((2, 8, 8, 3), jnp.float32)
    program = str(jax.make_jaxpr(partial(geometry.resize_align_corners, side=5))(images))
    assert program.count("dot_general") == 2
    assert program.count("precision=(Precision.HIGHEST, Precision.HIGHEST)") == 2


def test_resizing_to_the_same_side_returns_the_images_themselves():
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 6, 6, 3)), jnp.float32)
    assert geometry.resize_align_corners(images, 6) is images


@pytest.mark.parametrize(("side", "smaller"), [(32, 16), (32, 24), (16, 12), (20, 8)])
def test_antialiased_resizing_equals_pillows_bilinear_resizing_without_rounding(side, smaller):
    images = np.random.default_rng(0).uniform(-1, 1, (2, side, side, 3)).astype(np.float32)
    size = (smaller, smaller)
    expected = [
        [np.asarray(Image.fromarray(channel).resize(size, Image.Resampling.BILINEAR)) for channel in image]
        for image in images.transpose(0, 3, 1, 2)
    ]
    resized = geometry.resize_antialiased(jnp.asarray(images), smaller)
    np.testing.assert_allclose(resized, np.transpose(expected, (0, 2, 3, 1)), atol=5e-6)
    same = jnp.asarray(images)
    assert geometry.resize_antialiased(same, side) is same


def test_antialiased_resizing_to_half_is_a_weighted_mean_of_four_pixels_along_each_side():
    row = np.arange(8, dtype=np.float32) ** 2
    images = np.tile(row[None, None, :, None], (1, 8, 1, 3))
    weights = np.array([1, 3, 3, 1]) / 8  # the triangle of twice the width, at distances 1.5, 0.5, 0.5 and 1.5
    resized = geometry.resize_antialiased(jnp.asarray(images), 4)
    np.testing.assert_allclose(resized[0, 0, 1:3, 0], [weights @ row[1:5], weights @ row[3:7]], rtol=1e-6)


def test_antialiased_resizing_is_computed_in_float32_on_any_backend():
    images = jnp.zeros((1, 16, 16, 3), jnp.float32)
    program = jax.make_jaxpr(partial(geometry.resize_antialiased, side=8))(images)
    assert "HIGHEST" in str(program) and program.out_avals[0].dtype == jnp.float32
