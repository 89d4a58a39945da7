import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chimeramix_jax.augment.mixup import Mixup
from chimeramix_jax.training.classification_loss import cosine_losses, cross_entropies

LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
LABELS = jnp.array([0, 3, 1, 1, 2])
WEIGHTS = np.array([0.5, 2.0, 1.0, 4.0], np.float32)


def by_hand(targets):
    logits = np.asarray(LOGITS, np.float64)
    return -np.sum(targets * (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))), axis=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_a_smoothed_label_spreads_its_share_evenly_over_all_classes(smoothing):
    targets = (1 - smoothing) * np.eye(4)[np.asarray(LABELS)] + smoothing / 4
    np.testing.assert_allclose(cross_entropies(LOGITS, LABELS, smoothing=smoothing), by_hand(targets), rtol=1e-5)


def test_the_weight_of_an_images_class_multiplies_its_cross_entropy():
    expected = by_hand(np.eye(4)[np.asarray(LABELS)]) * [0.5, 4, 2, 2, 1]
    np.testing.assert_allclose(cross_entropies(LOGITS, LABELS, class_weights=jnp.asarray(WEIGHTS)), expected, rtol=1e-5)


def test_mixup_blends_the_weighted_and_smoothed_entropies_of_both_labels():
    mixup, partners = Mixup(jnp.float32(0.3), jnp.array([1, 2, 3, 4, 0])), np.array([1, 2, 3, 4, 0])

    def entropy(logits, labels):
        return cross_entropies(logits, labels, smoothing=0.2, class_weights=jnp.asarray(WEIGHTS))

    own, other = (by_hand(0.8 * np.eye(4)[labels] + 0.05) * WEIGHTS[labels] for labels in (LABELS, LABELS[partners]))
    blended = mixup.losses(LOGITS, LABELS, entropy)
    np.testing.assert_allclose(blended, 0.3 * own + 0.7 * other, rtol=1e-5)


def test_without_settings_it_is_the_plain_cross_entropy_in_the_same_program():
    plain = jax.make_jaxpr(optax.softmax_cross_entropy_with_integer_labels)(LOGITS, LABELS)
    assert str(jax.make_jaxpr(cross_entropies)(LOGITS, LABELS)) == str(plain)


def cosine_by_hand(targets):
    logits = np.asarray(LOGITS, np.float64)
    return 1 - np.sum(targets * logits, axis=1) / np.linalg.norm(logits, axis=1)


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_cosine_loss_is_one_minus_the_cosine_and_of_smoothed_labels_the_mean(smoothing):
    targets = (1 - smoothing) * np.eye(4)[np.asarray(LABELS)] + smoothing / 4
    expected = cosine_by_hand(targets) * WEIGHTS[LABELS]
    losses = cosine_losses(LOGITS, LABELS, smoothing=smoothing, class_weights=jnp.asarray(WEIGHTS))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_the_cosine_loss_ignores_the_length_of_the_outputs_and_blends_as_every_loss():
    np.testing.assert_allclose(cosine_losses(1000 * LOGITS, LABELS), cosine_losses(LOGITS, LABELS), rtol=1e-5)
    mixup, partners = Mixup(jnp.float32(0.3), jnp.array([1, 2, 3, 4, 0])), np.array([1, 2, 3, 4, 0])
    targets = np.eye(4)[np.asarray(LABELS)]
    expected = cosine_by_hand(0.3 * targets + 0.7 * targets[partners])
    np.testing.assert_allclose(mixup.losses(LOGITS, LABELS, cosine_losses), expected, rtol=1e-5)


def test_the_gradient_of_the_cosine_loss_of_outputs_of_zero_is_finite():
    gradient = jax.grad(lambda logits: jnp.sum(cosine_losses(logits, LABELS)))(jnp.zeros_like(LOGITS))
    assert np.all(np.isfinite(gradient))
