"""The random draws of a generator training step: pairs, masks, and the coin for the real images."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY

from chimeramix_jax import config as settings
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data.sampling import EpochPlan, to_device
from chimeramix_jax.training.generator import GeneratorStage
from chimeramix_jax.training.stage_data import StageData

SIDE, STEPS = 32, 1000


@pytest.fixture(scope="module")
def drawn():
    """What a thousand steps on the same two images pass to the updates: a, b, masks, real."""
    config = settings.load("digits:chimeramix_grid")
    config.update_from_flattened_dict(TINY | {"generator.image_side": SIDE, "augment.crop_padding_fraction": 0.125})
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    data = to_device(pixels, np.array([0, 0, 1, 1]), 2)
    augmentation = Augmentation.for_generator(config.augment, SIDE)
    stage = GeneratorStage(config, StageData(data, augmentation, EpochPlan(4, 1, 2)))

    def record(state, a, b, mask, fake_mask, real, weights):
        same = jnp.stack([jnp.all(real == images, axis=(1, 2, 3)) for images in (a, b)])
        return {"real_is": same, "a": a[:, 0, 0], "b": b[:, 0, 0], "masks": jnp.stack([mask, fake_mask])}, {}

    stage._step = SimpleNamespace(update=record)
    keys, shared_key = jax.random.split(jax.random.key(0), STEPS), jax.random.key(1)
    step = jax.vmap(lambda key: stage.train_step({}, data, jnp.array([0, 2]), None, key, shared_key)[0])
    return jax.tree.map(np.asarray, jax.jit(step)(keys))


def test_one_fair_coin_per_batch_decides_which_images_are_shown_as_real(drawn):
    real_is_a, real_is_b = np.moveaxis(drawn["real_is"], 1, 0)
    assert np.all(real_is_a.all(axis=1) | real_is_b.all(axis=1))
    only_a, only_b = real_is_a.all(axis=1) & ~real_is_b.all(axis=1), real_is_b.all(axis=1) & ~real_is_a.all(axis=1)
    assert only_a.sum() + only_b.sum() > 0.95 * STEPS
    assert abs(only_a.sum() - only_b.sum()) < 4 * np.sqrt(STEPS)


def test_both_images_of_a_pair_are_augmented_independently(drawn):
    same = np.all(drawn["a"] == drawn["b"], axis=-1)
    # Half of the partners are the image itself, but corners rarely agree: of 81 crops, only a few share one.
    assert 0 < same.mean() < 0.1


def test_the_discriminators_update_has_masks_of_its_own(drawn):
    first, second = np.moveaxis(drawn["masks"], 1, 0)
    assert np.mean(np.all(first == second, axis=(1, 2, 3, 4))) < 0.01
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.03
