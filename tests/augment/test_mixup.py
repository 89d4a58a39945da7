import itertools
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chimeramix_jax.augment import mixup

draw = jax.jit(mixup.draw_mixup, static_argnums=1)


@partial(jax.jit, static_argnums=(0, 1))
def many(count, batch_size, mask=None):
    return jax.vmap(lambda key: mixup.draw_mixup(key, batch_size, mask))(jax.random.split(jax.random.key(0), count))


@pytest.fixture(scope="module")
def photos():
    with np.load(Path(__file__).parents[1] / "fixtures" / "segments.npz") as arrays:
        return jnp.asarray(arrays["images_32"] / 127.5 - 1, jnp.float32)


def assert_even(permutations, members):
    """Asserts that all orders of the members occur about equally often."""
    found, counts = np.unique(permutations, axis=0, return_counts=True)
    assert list(map(tuple, found.tolist())) == sorted(itertools.permutations(members))
    expected = len(permutations) / len(found)
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


def test_each_image_is_blended_with_its_partner_by_the_share(photos):
    drawn = draw(jax.random.key(0), 4)
    share, partners = float(drawn.share), np.asarray(drawn.partners)
    assert 0 < share < 1
    for image, partner, blended in zip(photos, partners, drawn.blend(photos), strict=True):
        np.testing.assert_allclose(blended, share * image + (1 - share) * photos[partner], atol=1e-6)


def test_a_share_of_one_keeps_images_and_losses_and_a_share_of_zero_takes_the_partners(photos):
    partners, labels = jnp.array([1, 2, 3, 0]), jnp.array([4, 0, 2, 1])
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)), jnp.float32)
    entropy = optax.softmax_cross_entropy_with_integer_labels
    own, other = (mixup.Mixup(jnp.float32(share), partners) for share in (1, 0))
    np.testing.assert_array_equal(own.blend(photos), photos)
    np.testing.assert_array_equal(other.blend(photos), photos[partners])
    np.testing.assert_allclose(own.losses(logits, labels), entropy(logits, labels), rtol=1e-6)
    np.testing.assert_allclose(other.losses(logits, labels), entropy(logits, labels[partners]), rtol=1e-6)


def test_the_loss_is_the_cross_entropy_with_the_blended_labels():
    labels = np.array([0, 2, 1, 2])
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
    drawn = draw(jax.random.key(3), 4)
    assert np.any(labels != labels[drawn.partners])
    one_hot = np.eye(3)[labels]
    blended = float(drawn.share) * one_hot + (1 - float(drawn.share)) * one_hot[np.asarray(drawn.partners)]
    expected = -np.sum(blended * np.asarray(jax.nn.log_softmax(logits)), axis=1)
    np.testing.assert_allclose(drawn.losses(logits, jnp.asarray(labels)), expected, rtol=1e-5)


def test_shares_are_uniform_between_zero_and_one():
    histogram, _ = np.histogram(many(4000, 3).share, bins=10, range=(0, 1))
    assert histogram.sum() == 4000
    assert np.all(np.abs(histogram - 400) < 5 * np.sqrt(400))


def test_all_permutations_of_the_batch_are_equally_likely_and_independent_of_the_share():
    drawn = many(4000, 3)
    assert_even(drawn.partners, range(3))
    assert_even(drawn.partners[np.asarray(drawn.share) < 0.5], range(3))


@pytest.mark.parametrize(
    "mask", [[1, 1, 1, 0, 0], [0, 1, 0, 1, 1], [1, 0, 0, 1, 1], [1, 1, 1]], ids=["end", "mixed", "middle", "none"]
)
def test_unmasked_examples_are_permuted_among_themselves_wherever_the_padding_is(mask):
    counted, others = np.flatnonzero(mask), np.flatnonzero(np.logical_not(mask))
    partners = np.asarray(many(4000, len(mask), jnp.array(mask, bool)).partners)
    assert_even(partners[:, counted], counted.tolist())
    assert set(partners[:, others].ravel().tolist()) == set(others.tolist())


def test_unmasked_images_and_losses_do_not_depend_on_the_padding(photos):
    mask, labels = jnp.array([True, True, True, False, False, False]), jnp.array([1, 0, 2, 0, 0, 0])
    logits = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)
    paddings = [jnp.tile(photos[3], (3, 1, 1, 1)), jnp.full((3, 32, 32, 3), jnp.nan)]
    for seed in range(10):
        drawn = draw(jax.random.key(seed), 6, mask)
        first, second = (drawn.blend(jnp.concatenate([photos[:3], padding]))[:3] for padding in paddings)
        np.testing.assert_array_equal(first, second)
        first, second = (drawn.losses(logits, labels.at[3:].set(label))[:3] for label in (0, 2))
        np.testing.assert_array_equal(first, second)


def test_a_single_unmasked_example_is_its_own_partner():
    assert draw(jax.random.key(0), 4, jnp.array([True, False, False, False])).partners[0] == 0


def test_equal_keys_draw_the_same_and_different_keys_differ():
    first, again, *others = (draw(jax.random.key(seed), 4) for seed in (0, 0, *range(1, 10)))
    np.testing.assert_array_equal(first.share, again.share)
    np.testing.assert_array_equal(first.partners, again.partners)
    assert all(first.share != other.share for other in others)
    assert any(np.any(first.partners != other.partners) for other in others)


def test_the_dtype_of_the_images_is_kept(photos):
    assert draw(jax.random.key(0), 4).blend(photos.astype(jnp.bfloat16)).dtype == jnp.bfloat16
