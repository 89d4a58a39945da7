from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from chimeramix_jax.training import losses

LOSSES = {
    "laplacian": jax.jit(losses.laplacian_pyramid_loss),
    "reconstruction": jax.jit(losses.reconstruction_loss),
    "least squares": jax.jit(lambda x, y, weights=None: losses.least_squares_loss(x, 1.0, weights)),
}


def random_images(count=2, side=16, seed=0, channels=3):
    shape = (count, side, side, channels)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def blur(image):
    """Applies the 5x5 binomial kernel with reflect padding, using SciPy."""
    binomial = np.array([1, 4, 6, 4, 1])
    kernel = np.outer(binomial, binomial)[:, :, None] / 256
    return ndimage.convolve(image, kernel, mode="mirror")


def pyramid(image, levels=3):
    """Levels of one image by the definition in the paper."""
    found_levels = []
    for _ in range(levels):
        smaller = blur(image)[::2, ::2]
        spread = np.zeros_like(image)
        spread[::2, ::2] = smaller
        found_levels.append(image - 4 * blur(spread))
        image = smaller
    return found_levels


@pytest.mark.parametrize("side", [16, 24])
def test_every_pyramid_level_halves_the_side_and_follows_the_definition(side):
    images = random_images(side=side)
    levels = jax.jit(losses.laplacian_pyramid)(images)
    assert [level.shape for level in levels] == [(2, side >> n, side >> n, 3) for n in range(3)]
    for index, image in enumerate(images):
        for level, expected in zip(levels, pyramid(image), strict=True):
            np.testing.assert_allclose(level[index], expected, atol=1e-5)


def test_the_levels_of_a_constant_image_are_zero():
    for level in jax.jit(losses.laplacian_pyramid)(jnp.full((1, 16, 16, 1), 0.7)):
        np.testing.assert_allclose(level, 0, atol=1e-6)


def test_the_laplacian_loss_sums_the_mean_absolute_difference_over_the_levels():
    x, y = random_images(), random_images(seed=1)
    pairs = [zip(pyramid(a), pyramid(b), strict=True) for a, b in zip(x, y, strict=True)]
    expected = np.mean([sum(np.mean(np.abs(a - b)) for a, b in levels) for levels in pairs])
    np.testing.assert_allclose(LOSSES["laplacian"](x, y), expected, rtol=1e-5)
    np.testing.assert_allclose(LOSSES["laplacian"](y, x), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["laplacian", "reconstruction"])
def test_the_loss_is_zero_for_equal_images_and_positive_for_others(name):
    loss, x = LOSSES[name], random_images()
    assert loss(x, x) == 0
    assert loss(x, random_images(seed=1)) > 0.1


def test_the_reconstruction_loss_is_the_mean_squared_error():
    x, y = jnp.asarray(random_images()), jnp.asarray(random_images(seed=1))
    np.testing.assert_allclose(losses.reconstruction_loss(x, y), np.mean((x - y) ** 2), rtol=1e-5)


@pytest.mark.parametrize(
    ("score", "target", "expected"), [(1.0, 1.0, 0), (0.0, 0.0, 0), (0.0, 1.0, 1), (1.0, 0.0, 1), (0.25, 1.0, 0.5625)]
)
def test_the_least_squares_loss_is_the_squared_distance_from_the_target(score, target, expected):
    np.testing.assert_allclose(losses.least_squares_loss(jnp.full((2, 3, 3, 1), score), target), expected, rtol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_images_of_weight_zero_do_not_count_in_value_or_gradient(name):
    loss = LOSSES[name]
    x, y = random_images(3, channels=1), random_images(3, seed=1, channels=1)
    weights = jnp.array([1.0, 0.0, 1.0])
    value, gradient = jax.jit(jax.value_and_grad(partial(loss, weights=weights)))(x, y)
    np.testing.assert_allclose(value, loss(x[::2], y[::2]), rtol=1e-5)
    other = x.copy()
    other[1] *= 100
    np.testing.assert_allclose(loss(other, y, weights=weights), value, rtol=1e-5)
    assert np.all(gradient[1] == 0)
    assert np.any(gradient[0] != 0)


@pytest.mark.parametrize("name", LOSSES)
def test_equal_weights_change_nothing(name):
    loss = LOSSES[name]
    x, y = random_images(3, channels=1), random_images(3, seed=1, channels=1)
    np.testing.assert_allclose(loss(x, y, weights=jnp.full(3, 0.5)), loss(x, y), rtol=1e-5)
