from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.augment import cutmix
from chimeramix_jax.augment.cutmix import CutMix
from chimeramix_jax.config import defaults
from chimeramix_jax.errors import InputError

SIDE = 16


@partial(jax.jit, static_argnums=(0, 1, 2))
def many(count, batch_size, probability, mask=None):
    keys = jax.random.split(jax.random.key(0), count)
    return jax.vmap(lambda key: cutmix.draw_cutmix(key, batch_size, SIDE, probability, mask))(keys)


@pytest.fixture(scope="module")
def photos():
    with np.load(Path(__file__).parents[1] / "fixtures" / "segments.npz") as arrays:
        return jnp.asarray(arrays["images_32"] / 127.5 - 1, jnp.float32)


def expected_pixels(area, row, column):
    """Returns the rectangle that the authors' program makes of these random numbers, as a set of pixels."""
    length = int(SIDE * np.sqrt(area))
    (top, bottom), (left, right) = (
        np.clip([centre - length // 2, centre + length // 2], 0, SIDE) for centre in (row, column)
    )
    return {(y, x) for y in range(top, bottom) for x in range(left, right)}


def test_pixels_and_losses_are_shared_in_the_same_proportion(photos):
    drawn = next(
        d for d in (cutmix.draw_cutmix(jax.random.key(k), 4, 32, 1.0) for k in range(20)) if 0.3 < d.share < 0.7
    )
    blended, partners = np.asarray(drawn.blend(photos)), np.asarray(drawn.partners)
    pasted = np.asarray(drawn.pasted)
    for image, partner, found in zip(np.asarray(photos), partners, blended, strict=True):
        np.testing.assert_array_equal(found[~pasted], image[~pasted])
        np.testing.assert_array_equal(found[pasted], np.asarray(photos)[partner][pasted])
    assert float(drawn.share) == pytest.approx(1 - pasted.mean())
    labels, logits = jnp.array([0, 2, 1, 2]), jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    one_hot = np.eye(3)[np.asarray(labels)]
    target = float(drawn.share) * one_hot + (1 - float(drawn.share)) * one_hot[partners]
    np.testing.assert_allclose(
        drawn.losses(logits, labels), optax.softmax_cross_entropy(logits, jnp.asarray(target)), rtol=1e-6
    )


def test_rectangles_are_as_large_and_as_far_beyond_the_border_as_published():
    count = 20_000
    found = np.asarray(many(count, 2, 1.0).pasted).mean(axis=(1, 2))
    random = np.random.default_rng(0)
    published = [
        len(expected_pixels(area, *random.integers(0, SIDE, 2))) / SIDE**2 for area in random.uniform(size=count)
    ]
    for moment in (np.mean, np.std, lambda shares: np.mean(shares == 0)):
        assert moment(found) == pytest.approx(moment(np.array(published)), abs=0.012)


def test_every_rectangle_has_the_images_proportions_unless_it_is_cut_off():
    pasted = np.asarray(many(2000, 2, 1.0).pasted)
    rows, columns = pasted.any(2), pasted.any(1)
    np.testing.assert_array_equal(pasted, rows[:, :, None] & columns[:, None, :])
    whole = ~(rows[:, [0, -1]].any(1) | columns[:, [0, -1]].any(1)) & pasted.any((1, 2))
    assert whole.sum() > 100
    np.testing.assert_array_equal(rows[whole].sum(1), columns[whole].sum(1))


@pytest.mark.parametrize("probability", [0.5, 0.2])
def test_batches_are_changed_with_the_given_probability(probability):
    count = 20_000
    shares = np.asarray(many(count, 2, probability).share)
    always = np.mean(np.asarray(many(count, 2, 1.0).share) < 1)  # some rectangles have no pixel
    assert np.mean(shares < 1) == pytest.approx(probability * always, abs=0.02)


def test_an_unchanged_batch_keeps_images_and_losses(photos):
    drawn = CutMix(jnp.float32(0.25), jnp.array([1, 2, 3, 0]), jnp.ones((32, 32), bool))
    np.testing.assert_array_equal(drawn.unless(jnp.asarray(False)).blend(photos), photos[drawn.partners])
    unchanged = drawn.unless(jnp.asarray(True))
    np.testing.assert_array_equal(unchanged.blend(photos), photos)
    assert unchanged.share == 1


def test_padding_is_nobodys_partner():
    mask = jnp.array([True, True, False, True])
    partners = np.asarray(many(500, 4, 1.0, mask).partners)
    assert set(partners[:, 2]) == {2} and set(partners[:, [0, 1, 3]].flat) == {0, 1, 3}


def test_mixup_and_cutmix_exclude_each_other():
    config = defaults.get_config()
    config.augment.cutmix_probability = 0.5
    settings.check(config)
    config.augment.mixup = True
    with pytest.raises(InputError, match=r"^augment.cutmix_probability: 0.5, but augment.mixup blends every batch"):
        settings.check(config)
    config.augment.mixup, config.mixing.probability = False, 1.0
    with pytest.raises(InputError, match=r"^augment.cutmix_probability: 0.5, but it applies to batches that are not"):
        settings.check(config)
