"""Heat maps lie over the places of a photo that they are about, however it was fitted into the network's square."""

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.config.rules import FITS
from chimeramix_jax.data.fitting import squared
from chimeramix_jax.data.photo_views import PhotoView

SIDE, CELLS, LARGEST = 64, 16, 240


def centre(weights):
    """The mean place of the pixels, as x and y in shares of the width and the height."""
    rows, columns = np.indices(weights.shape)
    shape = weights.shape[1], weights.shape[0]
    return [
        np.sum((places + 0.5) * weights) / weights.sum() / n for places, n in zip((columns, rows), shape, strict=True)
    ]


def colour(picture):
    """How orange each pixel is."""
    pixels = np.asarray(picture).astype(float)
    return np.maximum(pixels[..., 0] - pixels[..., 2], 0)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("size", [(600, 200), (200, 600), (302, 300), (30, 22)])
def test_a_map_that_is_hot_where_the_network_sees_a_spot_is_hot_at_the_spot_in_the_picture(size, fit):
    width, height = size
    photo = np.zeros((height, width, 3), np.uint8)
    short = min(size)
    left, top = (width - short) // 2 + short // 4, (height - short) // 2 + short // 5  # within the central square
    photo[top : top + short // 4, left : left + short // 4] = 255
    photo = Image.fromarray(photo)
    seen = np.maximum(np.asarray(squared(photo, SIDE, fit)).astype(int) - 128, 0)[..., 0]
    heat = seen.reshape(CELLS, SIDE // CELLS, CELLS, SIDE // CELLS).mean(axis=(1, 3)).astype(np.float32)
    view = PhotoView.of_photo(photo, LARGEST, SIDE, fit)
    spot, hot = centre(np.asarray(view.picture).astype(float)[..., 0]), centre(colour(view.overlaid(heat)))
    proportions = 1 if fit == "crop" else width / height
    assert view.picture.width / view.picture.height == pytest.approx(proportions, rel=0.01)
    cell = [1 / CELLS / (right - left) for left, right in zip(view.place[:2], view.place[2:], strict=True)]
    assert np.all(np.abs(np.subtract(spot, hot)) < 0.3 * np.array(cell))


def test_a_map_that_is_hot_only_beside_a_padded_photo_leaves_its_picture_grey():
    heat = np.zeros((CELLS, CELLS), np.float32)
    heat[:3] = heat[-3:] = 1
    for fit, least in (("pad", 0), ("stretch", 100)):
        view = PhotoView.of_photo(Image.new("RGB", (600, 200)), LARGEST, SIDE, fit)
        assert colour(view.overlaid(heat)).max() >= least
        assert (fit == "pad") == (colour(view.overlaid(heat)).max() == 0)


def test_the_picture_of_a_wide_photo_shows_both_of_its_ends_unless_it_is_cropped():
    pixels = np.zeros((100, 400, 3), np.uint8)
    pixels[:, :100, 0] = pixels[:, 300:, 2] = 250
    for fit in FITS:
        picture = np.asarray(PhotoView.of_photo(Image.fromarray(pixels), LARGEST, SIDE, fit).picture)
        assert picture.shape == ((200, 200, 3) if fit == "crop" else (60, 240, 3))
        assert (picture[:, 5, 0].min() > 200 and picture[:, -5, 2].min() > 200) == (fit != "crop")


def test_the_networks_own_square_stands_in_for_a_lost_photo():
    view = PhotoView.of_square(Image.new("RGB", (8, 8)), LARGEST)
    assert view.picture.size == (240, 240) and view.place == (0, 0, 1, 1)
