"""How photos that are not square become squares, from real files to the arrays of a run."""

import hashlib
import os

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.config.rules import FITS
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.fitting import GREY, place_of, squared

RED, GREEN, BLUE, GREY_PIXEL = (250, 0, 0), (0, 250, 0), (0, 0, 250), (GREY, GREY, GREY)


def photo(width=120, height=40):
    """A green photo whose longer side begins red and ends blue; the central square is green only."""
    long = np.full((40, 120, 3), GREEN, np.uint8)
    long[:, :30], long[:, 90:] = RED, BLUE
    image = Image.fromarray(long if width > height else long.transpose(1, 0, 2))
    assert image.size == (width, height)
    return image


@pytest.fixture
def config(dataset_config, tmp_path):
    """Settings for a folder of wide photos, two of each class for training and one for testing."""
    for split, count in (("train", 2), ("test", 1)):
        for name in ("cat", "dog"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                photo().save(folder / f"{number}.png")
    dataset_config.update({"name": "image_folder", "directory": str(tmp_path / "photos"), "image_side": 24})
    return dataset_config


def test_a_crop_shows_the_central_square_only():
    for size in ((120, 40), (40, 120)):
        assert np.all(np.asarray(squared(photo(*size), 20, "crop")) == GREEN)


def test_padding_shows_the_whole_photo_in_its_proportions_between_grey_bars():
    pixels = np.asarray(squared(photo(), 24, "pad"))
    assert np.all(pixels[:8] == GREY) and np.all(pixels[16:] == GREY)
    assert np.all(pixels[8:16, :5] == RED) and np.all(pixels[8:16, 7:17] == GREEN) and np.all(pixels[8:16, 19:] == BLUE)
    tall = np.asarray(squared(photo(40, 120), 24, "pad"))
    np.testing.assert_array_equal(tall, pixels.transpose(1, 0, 2))


def test_stretching_shows_the_whole_photo_in_the_whole_square():
    pixels = np.asarray(squared(photo(), 24, "stretch"))
    assert np.all(pixels[:, :5] == RED) and np.all(pixels[:, 7:17] == GREEN) and np.all(pixels[:, 19:] == BLUE)


@pytest.mark.parametrize("side", [20, 30, 77])
def test_a_square_photo_is_the_same_for_all(side):
    square = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8))
    first, *others = (np.asarray(squared(square, side, fit)) for fit in FITS)
    for other in others:
        np.testing.assert_array_equal(first, other)


@pytest.mark.parametrize(
    ("size", "place"),
    [
        ((300, 200), (0, 5, 32, 26)),  # 21.33 rows, of which 21 are shown, above 6 grey ones
        ((200, 300), (5, 0, 26, 32)),
        ((64, 63), (0, 0, 32, 32)),  # 31.5 rows are rounded up
        ((5000, 2), (0, 15, 32, 16)),  # at least one row
        ((1, 1), (0, 0, 32, 32)),
    ],
)
def test_a_padded_photo_lies_in_the_middle_of_its_square(size, place):
    assert place_of(size, 32, "pad") == place
    assert squared(Image.new("RGB", size), 32, "pad").size == (32, 32)
    assert place_of(size, 32, "crop") == place_of(size, 32, "stretch") == (0, 0, 32, 32)


def test_training_and_test_photos_are_prepared_for_each_fit_apart(config, tmp_path):
    seen = {}
    for fit in (*FITS, "crop"):
        config.fit = fit
        dataset = load_few_shot(config, None, seed=0)
        assert dataset.fit == fit
        for part in (dataset.train, dataset.held_out):
            for pixels in part.images:
                np.testing.assert_array_equal(pixels, np.asarray(squared(photo(), 24, fit)))
        seen[fit] = dataset
    assert len({dataset.train.images.tobytes() for dataset in seen.values()}) == 3
    assert seen["pad"].identity == seen["crop"].identity  # the photos are the same; the setting says how they are shown
    prepared = sorted(path.name for path in (tmp_path / "prepared").glob("*/*"))
    fingerprint = prepared[0].removeprefix("side_24_")
    assert prepared == [f"side_24_{fingerprint}{end}" for end in ("", "_pad", "_stretch")]


def test_arrays_are_fitted_like_files(dataset_config, tmp_path):
    images = np.stack([np.asarray(photo())] * 4)
    labels = np.array([0, 0, 1, 1])
    np.savez(tmp_path / "photos.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    changes = {"name": "image_folder", "directory": str(tmp_path / "photos.npz"), "image_side": 24, "fit": "pad"}
    dataset_config.update(changes)
    for pixels in load_few_shot(dataset_config, None, seed=0).train.images:
        np.testing.assert_array_equal(pixels, np.asarray(squared(photo(), 24, "pad")))


def test_cropped_data_are_those_of_earlier_versions_bit_for_bit(dataset_config, tmp_path):
    """The expected values are from the last version without ``dataset.fit``."""
    places = np.arange(40 * 56 * 3).reshape(40, 56, 3)
    for split, count in (("train", 3), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = (places * places * (7 + label) + 31 * places * number + count) % 251
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
                os.utime(folder / f"{number}.png", (10**9, 10**9))
    dataset_config.update({"name": "image_folder", "directory": str(tmp_path / "photos"), "image_side": 16})
    dataset = load_few_shot(dataset_config, None, seed=0)
    digest = hashlib.sha256(dataset.train.images.tobytes() + dataset.held_out.images.tobytes()).hexdigest()
    assert digest == "de8d250911728b5313b1776166116671ed53818a3aa23071689fb4d58619a23a"
    assert dataset.identity.digests() == {
        "train": "5a56209f317b495211546d8313d2023ced2cdea3a84eb89280a46f07115a3342",
        "held_out": "1c66d9481a9d6d73367a50f84ca17f495b119c14ab0df2e5f6424276fed13116",
    }
