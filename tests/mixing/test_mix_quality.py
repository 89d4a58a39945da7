"""How well mixes are recognised and how new they are, for mixes of which both are known."""

import jax
import numpy as np
import pytest
from conftest import TINY
from flax import nnx

from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.config import load
from chimeramix_jax.data.sampling import to_device
from chimeramix_jax.mixing import mix_quality
from chimeramix_jax.mixing.mixer import Mixer
from chimeramix_jax.training.networks import build_generator

SIDE = 32
LEVELS = np.array([40, 100, 160])  # the grey level of each class


@pytest.fixture
def mixing():
    """Returns a mixer of an experiment, its parameters, and three classes of so many noisy grey images."""

    def make(experiment, per_class=6, noise=20):
        config = load(f"digits:{experiment}")
        config.update_from_flattened_dict(TINY | {"generator.image_side": SIDE, "classifier.image_side": SIDE})
        generator = build_generator(config, nnx.Rngs(0)) if config.mixing.of == "features" else None
        mixer, parameters = Mixer.of(config, Augmentation.for_generator(config.augment, SIDE), generator, None)
        labels = np.repeat(np.arange(3), per_class)
        random = np.random.default_rng(0)
        pixels = LEVELS[labels][:, None, None, None] + random.integers(-noise, noise + 1, (len(labels), SIDE, SIDE, 3))
        return mixer, parameters, to_device(pixels.astype(np.uint8), labels, 3)

    return make


def by_grey_level(images):
    """The logits of a classifier that knows the classes' grey levels."""
    assert images.dtype == np.uint8
    return -np.abs(images.mean(axis=(1, 2, 3))[:, None] - LEVELS)


def test_mixes_of_pixels_are_recognised_and_as_new_as_their_masks_make_them(mixing):
    mixer, parameters, data = mixing("chimeramix_grid_direct")
    quality = mix_quality.measure(mixer, parameters, data, jax.random.key(0), by_grey_level, SIDE)
    assert quality.recognized == 1
    assert 0.7 * mix_quality.MIXES < quality.examples < mix_quality.MIXES  # partners are the image itself in a sixth
    assert 0.4 < quality.distance < 0.7  # of independent noise, at most half of the pixels are of the other image


def test_mixes_of_a_generator_that_has_learned_nothing_are_not_recognised(mixing):
    mixer, parameters, data = mixing("chimeramix_grid")
    quality = mix_quality.measure(mixer, parameters, data, jax.random.key(0), by_grey_level, SIDE)
    assert quality.recognized < 0.6  # a third by chance
    assert quality.distance > 1


def test_images_are_measured_at_the_side_of_the_classifier(mixing):
    mixer, parameters, data = mixing("chimeramix_grid_direct")
    sides = []

    def logits_of(images):
        sides.append(images.shape[1:])
        return by_grey_level(images)

    assert mix_quality.measure(mixer, parameters, data, jax.random.key(0), logits_of, 16).recognized == 1
    assert sides == [(16, 16, 3)]


@pytest.mark.parametrize("images", [{"per_class": 1}, {"noise": 0}])
def test_without_two_different_images_of_a_class_nothing_is_measured(mixing, images):
    mixer, parameters, data = mixing("chimeramix_grid_direct", **images)
    assert mix_quality.measure(mixer, parameters, data, jax.random.key(0), by_grey_level, SIDE) is None
