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


def draws(images=2, labels=(0, 0, 1, 1), **changes):
    """What a thousand steps on the same two images pass to the updates: sources, masks, and which source is real."""
    config = settings.load("digits:chimeramix_grid")
    sizes = {"generator.image_side": SIDE, "generator.images": images, "augment.crop_padding_fraction": 0.125}
    config.update_from_flattened_dict(TINY | sizes | changes)
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), SIDE, SIDE, 3), np.uint8)
    data = to_device(pixels, np.array(labels), 2)
    augmentation = Augmentation.for_generator(config.augment, SIDE)
    stage = GeneratorStage(config, StageData(data, augmentation, EpochPlan(len(labels), 1, 2)))

    def record(state, images, partition, fake_partition, real, weights):
        same = jnp.all(real == images, axis=(2, 3, 4))
        return {
            "real_is": same,
            "corners": images[:, :, 0, 0],
            "partitions": jnp.stack([partition, fake_partition]),
        }, {}

    stage._step = SimpleNamespace(with_optimizer=lambda _: SimpleNamespace(update=record))
    keys, shared_key = jax.random.split(jax.random.key(0), STEPS), jax.random.key(1)
    step = jax.vmap(lambda key: stage.train_step({}, stage.inputs, jnp.array([0, 2]), None, key, shared_key)[0])
    return jax.tree.map(np.asarray, jax.jit(step)(keys))


@pytest.fixture(scope="module")
def drawn():
    """The draws for pairs."""
    return draws()


def test_one_fair_coin_per_batch_decides_which_images_are_shown_as_real(drawn):
    real_is_a, real_is_b = np.moveaxis(drawn["real_is"], 1, 0)
    assert np.all(real_is_a.all(axis=1) | real_is_b.all(axis=1))
    only_a, only_b = real_is_a.all(axis=1) & ~real_is_b.all(axis=1), real_is_b.all(axis=1) & ~real_is_a.all(axis=1)
    assert only_a.sum() + only_b.sum() > 0.95 * STEPS
    assert abs(only_a.sum() - only_b.sum()) < 4 * np.sqrt(STEPS)


def test_both_images_of_a_pair_are_augmented_independently(drawn):
    a, b = np.moveaxis(drawn["corners"], 1, 0)
    same = np.all(a == b, axis=-1)
    # Half of the partners are the image itself, but corners rarely agree: of 81 crops, only a few share one.
    assert 0 < same.mean() < 0.1


def test_the_discriminators_update_has_masks_of_its_own(drawn):
    first, second = np.moveaxis(drawn["partitions"][:, :, 0], 1, 0)
    assert np.mean(np.all(first == second, axis=(1, 2, 3, 4))) < 0.01
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.03


def test_more_images_have_partners_views_and_shares_of_their_own_and_each_may_be_the_real_one():
    drawn = draws(images=3, labels=(0, 0, 0, 1, 1, 1), **{"mixing.shares": "dirichlet"})
    real = drawn["real_is"].all(axis=2)
    assert np.all(real.any(axis=1))
    assert np.all(np.abs(real.mean(axis=0) - 1 / 3) < 0.08)
    partitions = drawn["partitions"]
    assert partitions.shape[2] == 3
    np.testing.assert_array_equal(partitions.sum(axis=2), 1)
    assert np.all(np.abs(partitions.mean(axis=(0, 1, 3, 4, 5, 6)) - 1 / 3) < 0.03)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        corners = drawn["corners"]
        assert np.mean(np.all(corners[:, first] == corners[:, second], axis=-1)) < 0.1
