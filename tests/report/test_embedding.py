import base64
import io

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.report import embedding


def picture(uri: str) -> Image.Image:
    kind, content = uri.removeprefix("data:image/").split(";base64,")
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.format.lower() == kind
    return image


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_small_image_is_embedded_without_loss():
    pixels = noise(32, 32)
    assert np.array_equal(np.asarray(picture(embedding.image_uri(pixels))), pixels)


def test_a_large_image_is_scaled_down_and_keeps_its_proportions():
    assert picture(embedding.image_uri(noise(300, 600))).size == (112, 56)


@pytest.mark.parametrize(("side", "kind"), [(32, "PNG"), (512, "WEBP")])
def test_a_file_is_embedded_unchanged_unless_it_is_large(tmp_path, side, kind):
    Image.fromarray(noise(side, side)).save(tmp_path / "picture.png")
    image = picture(embedding.file_uri(tmp_path / "picture.png"))
    assert (image.format, image.size) == (kind, (side, side))


@pytest.mark.parametrize("factor", [1, 3, 12])
def test_an_enlarged_tile_is_embedded_at_its_own_size(factor):
    pixels = noise(8, 8)
    enlarged = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    assert np.array_equal(np.asarray(picture(embedding.tile_uri(enlarged))), pixels)


@pytest.mark.parametrize(("enlarged", "kind"), [(28, "PNG"), (1, "WEBP")])
def test_a_picture_keeps_its_size_and_is_a_png_only_where_that_is_smaller(enlarged, kind):
    pixels = noise(224 // enlarged, 224 // enlarged).repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    image = picture(embedding.picture_uri(Image.fromarray(pixels)))
    assert (image.format, image.size) == (kind, (224, 224))
