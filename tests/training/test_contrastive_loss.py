import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimeramix_jax.models.heads import unit_vectors
from chimeramix_jax.training.contrastive_loss import contrastive_loss

TEMPERATURE = 0.5


def vectors(count, seed=0):
    drawn = np.random.default_rng(seed).normal(size=(2, count, 5))
    return [unit_vectors(jnp.asarray(one, jnp.float32)) for one in drawn]


def by_hand(first, second, images):
    """Equation 1 of the source, view by view; views of the same image, except for the other one, are left out."""
    views, owners = np.concatenate([first, second]).astype(np.float64), np.concatenate([images, images])
    losses, found = [], []
    for place, view in enumerate(views):
        partner = (place + len(first)) % len(views)
        others = [other for other in range(len(views)) if other == partner or owners[other] != owners[place]]
        similarities = np.exp(views[others] @ view / TEMPERATURE)
        positive = np.exp(views[partner] @ view / TEMPERATURE)
        losses.append(-np.log(positive / similarities.sum()))
        found.append(positive == similarities.max())
    return np.mean(losses), np.mean(found)


@pytest.mark.parametrize("images", [[0, 1, 2, 3], [0, 1, 0, 2]])
def test_it_is_the_published_cross_entropy_and_views_of_one_image_are_not_told_apart(images):
    first, second = vectors(4)
    loss, found = contrastive_loss(first, second, jnp.array(images), TEMPERATURE)
    expected = by_hand(np.asarray(first), np.asarray(second), np.array(images))
    np.testing.assert_allclose((loss, found), expected, rtol=1e-5)


def test_padding_neither_counts_nor_is_compared_with():
    first, second = vectors(6)
    mask = jnp.array([True, True, True, True, False, False])
    padded = contrastive_loss(first, second, jnp.array([3, 1, 2, 5, 0, 0]), TEMPERATURE, mask)
    alone = contrastive_loss(first[:4], second[:4], jnp.array([3, 1, 2, 5]), TEMPERATURE)
    np.testing.assert_allclose(padded, alone, rtol=1e-6)


def test_equal_views_of_different_images_have_the_least_loss_and_finite_gradients():
    eye = jnp.eye(5)[:4]
    images = jnp.arange(4)

    def loss(first):
        return contrastive_loss(first, eye, images, 0.01)[0]

    assert loss(eye) < 1e-6 < loss(jnp.roll(eye, 1, axis=0))
    assert np.all(np.isfinite(jax.grad(loss)(eye)))
    mask = jnp.array([True, True, False, False])
    gradients = jax.grad(lambda first: contrastive_loss(first, eye, jnp.array([0, 1, 0, 0]), 0.5, mask)[0])(eye)
    assert np.all(np.isfinite(gradients)) and not np.any(gradients[2:])
