import numpy as np
import pytest
from flax import nnx

from chimeramix_jax.augment.geometry import RandomViews
from chimeramix_jax.config import load
from chimeramix_jax.data.sampling import to_device
from chimeramix_jax.mixing.pictures import MASKS, PAIRS, MixingPictures
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.reporting import pictures

SIDE = 32


@pytest.fixture
def config():
    return load("configs/digits.py")


def data(classes: int, per_class: int, segmented: bool = False):
    """Images of random pixels, with two segments each: the left and the right half."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(classes), per_class)
    segments = np.tile(np.repeat([0, 1], SIDE // 2).astype(np.uint8), (len(labels), SIDE, 1)) if segmented else None
    return to_device(rng.integers(0, 256, (len(labels), SIDE, SIDE, 3), dtype=np.uint8), labels, classes, segments)


def names(classes: int) -> tuple[str, ...]:
    return tuple(str(label) for label in range(classes))


def mixing_pictures(config, data, classes: int) -> MixingPictures:
    return MixingPictures(config, data, RandomViews.of(config.augment, SIDE), names(classes))


@pytest.mark.parametrize("segmented", [False, True], ids=["grid", "segments"])
@pytest.mark.parametrize("generated", [False, True], ids=["pixels", "features"])
def test_both_sheets_are_drawn_for_every_kind_of_mixing(config, segmented, generated):
    config.mixing.mask = "segmentation" if segmented else "grid"
    config.mixing.of = "features" if generated else "pixels"
    generator = Generator(4, 1, 0, rngs=nnx.Rngs(0)) if generated else None
    sheets = mixing_pictures(config, data(3, 2, segmented), 3).draw(generator)
    assert set(sheets) == {PAIRS, MASKS}
    assert sheets[PAIRS].width < sheets[MASKS].width  # 3 pairs; 10 masks
    shades = np.asarray(sheets[MASKS]).reshape(-1, 3)
    for colour in (pictures.COLOUR_A, pictures.COLOUR_B):
        assert np.sum(np.all(shades == np.array(colour), axis=1)) >= pictures.TILE_SIDE**2


def test_only_the_first_of_many_classes_are_drawn(config):
    config.mixing.of = "pixels"
    drawn = mixing_pictures(config, data(12, 2), 12).draw(None)[PAIRS]
    images, masks = np.zeros((10, SIDE, SIDE, 3), np.float32), np.zeros((10, 8, 8, 1), np.float32)
    assert drawn.size == pictures.mixing_sheet(images, images, masks, images, class_names=names(10)).size


def test_the_only_image_of_a_class_is_mixed_with_itself(config):
    config.mixing.of = "pixels"
    assert set(mixing_pictures(config, data(2, 1), 2).draw(None)) == {PAIRS, MASKS}


def test_the_sheets_of_two_generators_show_the_same_pairs_and_masks(config):
    mixes = mixing_pictures(config, data(3, 2), 3)
    first, second = (np.asarray(mixes.draw(Generator(4, 1, 0, rngs=nnx.Rngs(seed)))[PAIRS]) for seed in (0, 1))
    half = len(first) // 2  # above the mixes
    assert np.array_equal(first[:half], second[:half]) and not np.array_equal(first[half:], second[half:])
