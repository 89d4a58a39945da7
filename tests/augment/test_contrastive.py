import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimeramix_jax.augment import contrastive
from chimeramix_jax.augment.contrastive import contrastive_views, shifted_hues

COUNT, SIDE = 2000, 12


@pytest.fixture(scope="module")
def image():
    """An image with three different flat stripes from left to right, brighter than 0 and darker than 255."""
    stripes = np.repeat(np.array([[60, 120, 80], [90, 100, 140], [150, 60, 100]], np.uint8), 4, axis=0)
    return stripes[None].repeat(SIDE, 0)


@pytest.fixture(scope="module")
def views(image):
    """Many views of the image, in [0, 1]."""
    return drawn(jax.random.key(0), jnp.broadcast_to(jnp.asarray(image), (COUNT, SIDE, SIDE, 3)))


def drawn(key, images, mirror=True):
    """Views of images, in [0, 1]."""
    return (np.asarray(jax.jit(contrastive_views, static_argnames="mirror")(key, images, mirror=mirror)) + 1) / 2


@pytest.mark.parametrize("shift", [0.0, 0.1, -0.1, 1 / 3])
def test_hues_are_shifted_as_pythons_colorsys_shifts_them(shift):
    pixels = np.random.default_rng(0).random((50, 3))
    pixels[:3] = [0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.5]  # without a hue
    expected = []
    for pixel in pixels:
        hue, saturation, value = colorsys.rgb_to_hsv(*pixel)
        expected.append(colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value))
    shifted = shifted_hues(jnp.asarray(pixels, jnp.float32).reshape(1, 5, 10, 3), jnp.full((1, 1, 1, 1), shift))
    np.testing.assert_allclose(np.asarray(shifted).reshape(-1, 3), expected, atol=1e-5)


def test_a_fifth_of_the_views_is_grey_and_a_fifth_of_the_others_keeps_its_colours():
    flat = jnp.broadcast_to(jnp.array([60, 120, 80], jnp.uint8), (COUNT, SIDE, SIDE, 3))
    colours = drawn(jax.random.key(2), flat)[:, 0, 0]
    grey = np.ptp(colours, axis=-1) < 1e-6
    kept = np.all(np.abs(colours[~grey] - np.array([60, 120, 80]) / 255) < 1e-5, axis=-1)
    assert abs(grey.mean() - contrastive.GREY_PROBABILITY) < 0.03
    assert abs(kept.mean() - (1 - contrastive.COLOUR_PROBABILITY)) < 0.03


def test_crops_show_between_a_twelfth_and_all_of_the_image():
    positions = np.tile(np.linspace(0, 255, 64).round().astype(np.uint8)[None, :, None], (64, 1, 3))
    both = np.stack([positions, positions.transpose(1, 0, 2)])  # brightness tells the column, then the row
    key = jax.random.key(1)
    images = jnp.asarray(np.repeat(both, 500, axis=0), jnp.float32) / 255
    shown = np.asarray(contrastive._random_resized_crops(key, images))
    columns, rows = shown[:500, :, :, 0], shown[500:, :, :, 0]
    widths, heights = np.ptp(columns, axis=(1, 2)), np.ptp(rows, axis=(1, 2))
    for lengths in (widths, heights):  # the side of the smallest crop, at the most extreme aspect, is a quarter
        assert 0.2 < lengths.min() < 0.35 and 0.95 < lengths.max() <= 1


def test_views_are_drawn_anew_for_every_image_and_in_range(views):
    assert views.min() >= 0 and views.max() <= 1
    assert len(np.unique(views.reshape(COUNT, -1).round(4), axis=0)) > 0.95 * COUNT  # some show one stripe in grey
    mirrored = views[:, :, 0].sum() - views[:, :, -1].sum()
    assert abs(mirrored) / views.sum() < 0.01  # half of the views are mirrored


def test_images_that_may_not_be_mirrored_are_not():
    ramp = jnp.broadcast_to(jnp.linspace(40, 200, SIDE).astype(jnp.uint8)[:, None], (COUNT, SIDE, SIDE, 3))
    rising = [np.mean(np.ptp(views[:, 0, :, 0], axis=1) == views[:, 0, -1, 0] - views[:, 0, 0, 0])
              for views in (drawn(jax.random.key(3), ramp, mirror) for mirror in (True, False))]  # fmt: skip
    assert 0.4 < rising[0] < 0.6 and rising[1] == 1
