"""The heads of classifiers, against their formulas in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from chimeramix_jax.models.heads import HeadKind, contributions
from chimeramix_jax.models.layers import uniform_fan_in

RANDOM = np.random.default_rng(0)
FEATURES = RANDOM.uniform(0, 2, (5, 6)).astype(np.float32)


def head_of(name, classes=4, **settings):
    """A head with random weights, also of the biases."""
    built = HeadKind(name, **settings).build(6, classes, kernel_init=uniform_fan_in(6), rngs=nnx.Rngs(0))
    if name != "tvmf":
        built.bias[...] = jnp.linspace(-0.5, 0.5, classes)
    return built


def test_a_linear_head_is_the_usual_layer():
    head = head_of("linear")
    np.testing.assert_allclose(head(jnp.asarray(FEATURES)), FEATURES @ head.kernel[...] + head.bias[...], rtol=1e-5)


def test_the_logits_of_a_cosine_head_are_cosines_times_a_constant():
    head = head_of("cosine")
    outputs = np.asarray(FEATURES @ np.asarray(head.kernel[...]) + np.asarray(head.bias[...]), np.float64)
    cosines = outputs / np.linalg.norm(outputs, axis=1, keepdims=True)
    logits = np.asarray(head(jnp.asarray(FEATURES)))
    np.testing.assert_allclose(logits, np.log(99 * 3) * cosines, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(logits, axis=1), np.log(297), rtol=1e-5)


@pytest.mark.parametrize("classes", [2, 10, 100])
def test_outputs_that_equal_a_one_hot_vector_have_a_probability_of_99_percent(classes):
    head = head_of("cosine", classes)
    assert jax.nn.softmax(head.scale * jnp.eye(classes))[1, 1] == pytest.approx(0.99, rel=1e-5)


@pytest.mark.parametrize("kappa", [0.0, 16.0])
def test_the_logits_of_a_tvmf_head_are_the_scaled_similarities_of_the_formula(kappa):
    head, kernel = head_of("tvmf", kappa=kappa), RANDOM.normal(size=(6, 4))
    head.kernel[...], head.scale[...] = jnp.asarray(kernel, jnp.float32), jnp.array([0.7])
    lengths = np.linalg.norm(FEATURES, axis=1)[:, None] * np.linalg.norm(kernel, axis=0)
    cosines = FEATURES.astype(np.float64) @ kernel / lengths
    similarities = cosines if kappa == 0 else (1 + cosines) / (1 + 16 * (1 - cosines)) - 1
    logits = head(jnp.asarray(FEATURES))
    np.testing.assert_allclose(logits, (1 + np.log(1 + np.exp(0.7))) * similarities, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(head(3 * jnp.asarray(FEATURES)), logits, rtol=1e-4, atol=1e-6)


def test_a_new_tvmf_head_has_no_biases_and_a_scale_of_one_plus_the_logarithm_of_two():
    head = head_of("tvmf")
    shapes = {"".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(head, nnx.Param))}
    assert shapes == {"kernel": (6, 4), "scale": (1,)}
    # Features along a class's weights have the similarity 1, opposite ones -1.
    logits = np.asarray(head(jnp.stack([head.kernel[:, 2], -head.kernel[:, 2]])))[:, 2]
    np.testing.assert_allclose(logits, [1 + np.log(2), -1 - np.log(2)], rtol=1e-4)


@pytest.mark.parametrize("name", ["linear", "cosine", "tvmf"])
def test_weights_and_biases_of_an_image_give_its_logits(name):
    head, features = head_of(name), jnp.asarray(FEATURES)
    classes = jnp.array([0, 3, 1, 2, 2])
    weights, biases = contributions(head, features, classes)
    expected = np.asarray(head(features))[range(5), classes]
    np.testing.assert_allclose(np.sum(weights.T * FEATURES, axis=1) + biases, expected, rtol=1e-5, atol=1e-6)
