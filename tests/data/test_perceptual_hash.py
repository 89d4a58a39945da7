import io
import time

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from chimeramix_jax.data.perceptual_hash import NEAR, near_pairs, perceptual_hash
from tests.data.own_images import write_images


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Thirty different pictures."""
    paths = write_images(tmp_path_factory.mktemp("photos"), 30, size=(120, 90))
    return [Image.open(path).convert("RGB") for path in paths]


def pairs(hashes, **options):
    return {(first, second) for found in near_pairs(hashes, **options) for first, second in found.tolist()}


def recompressed(image):
    content = io.BytesIO()
    image.save(content, "jpeg", quality=50)
    return Image.open(content).convert("RGB")


def smaller(image):
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR)


def brighter(image):
    return ImageEnhance.Brightness(image).enhance(1.15)


def much_larger(image):
    return image.resize((2000, 1500), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("edit", [recompressed, smaller, brighter, much_larger])
def test_an_edited_copy_is_near_its_original_and_nothing_else(photos, edit):
    hashes = [perceptual_hash(image) for image in photos] + [perceptual_hash(edit(image)) for image in photos[:5]]
    assert all(len(text) == 32 for text in hashes)
    assert pairs(hashes) == {(number, 30 + number) for number in range(5)}


def test_images_of_almost_one_colour_have_no_hash_and_no_pair():
    black, white = (perceptual_hash(Image.new("RGB", (40, 40), grey)) for grey in ("black", "white"))
    noise = Image.fromarray(np.random.default_rng(0).integers(100, 104, (40, 40, 3), dtype=np.uint8))
    assert black == white == perceptual_hash(noise) == ""
    assert pairs([black, white, ""]) == pairs([]) == set()


def random_hashes(count):
    rng = np.random.default_rng(0)
    return [rng.bytes(16).hex() for _ in range(count)]


def flipped(text, bits):
    """Changes the first bits of a hash."""
    return f"{int(text, 16) ^ (2**bits - 1):032x}"


def test_pairs_are_near_up_to_the_bound_and_empty_hashes_do_not_shift_the_others():
    hashes = random_hashes(600)
    hashes[7] = hashes[300] = ""
    hashes[590] = flipped(hashes[2], NEAR)
    hashes[591] = flipped(hashes[3], NEAR + 1)
    hashes[592] = hashes[400]
    assert pairs(hashes) == {(2, 590), (400, 592)}
    assert pairs(hashes, first=300) == {(2, 590)}
    assert pairs(hashes, most=NEAR + 1) == {(2, 590), (3, 591), (400, 592)}


def test_ten_thousand_images_are_compared_in_seconds():
    hashes = random_hashes(10_000)
    hashes[9_999] = hashes[1]
    start = time.process_time()
    assert pairs(hashes) == {(1, 9_999)}
    assert time.process_time() - start < 10


def test_no_array_of_pairs_is_large_even_if_all_images_are_alike():
    sizes = [len(found) for found in near_pairs(["ab" * 16] * 3_000)]
    assert sum(sizes) == 3_000 * 2_999 / 2 and max(sizes) <= 1_000_000
