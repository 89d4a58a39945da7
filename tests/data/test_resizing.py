import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.data.resizing import resize


def test_images_of_the_requested_side_are_returned_unchanged(random_images):
    images = random_images(3, 8)
    assert resize(images, 8) is images


@pytest.mark.parametrize(("height", "width", "side"), [(8, 8, 16), (32, 32, 12), (10, 14, 8), (8, 5, 8)])
def test_resizing_equals_pillows_bilinear_resize(height, width, side):
    images = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    resized = resize(images, side)
    assert resized.dtype == np.uint8
    assert resized.shape == (3, side, side, 3)
    for image, ours in zip(images, resized, strict=True):
        np.testing.assert_array_equal(ours, np.asarray(Image.fromarray(image).resize((side, side), Image.BILINEAR)))


def test_shrinking_averages_the_pixels_that_it_removes():
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 255
    shrunk = resize(stripes, 8).astype(int)
    assert np.all(np.abs(shrunk[:, :, 1:-1] - 127) < 12)
