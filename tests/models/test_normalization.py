from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimeramix_jax.models import fused_norm
from chimeramix_jax.models.fused_norm import Form
from chimeramix_jax.models.normalization import BatchNorm, instance_norm, normalize, sum_over
from chimeramix_jax.runtime import backend


@pytest.mark.parametrize("axes", [(1, 2), (0, 1, 2)])
@pytest.mark.parametrize("mask", [None, [True, False, True]])
def test_sums_are_the_same_on_every_backend(axes, mask, monkeypatch):
    values = jnp.asarray(np.random.default_rng(0).normal(size=(3, 5, 6, 4)), jnp.float32)
    where = None if mask is None else jnp.array(mask)[:, None, None, None]
    expected = np.sum(values, axis=axes, keepdims=True, where=True if where is None else where)
    for accelerator in (False, True):
        monkeypatch.setattr(backend, "on_accelerator", lambda accelerator=accelerator: accelerator)
        np.testing.assert_allclose(sum_over(values, axes, where), expected, atol=1e-5)


def test_instance_norm_gives_every_channel_of_every_image_mean_zero_and_variance_one():
    features = 5 + 3 * np.random.default_rng(0).normal(size=(3, 8, 6, 4)).astype(np.float32)
    normed = np.asarray(instance_norm(jnp.asarray(features)))
    np.testing.assert_allclose(normed.mean(axis=(1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normed.var(axis=(1, 2)), 1, rtol=1e-4)
    expected = (features - features.mean((1, 2), keepdims=True)) / np.sqrt(features.var((1, 2), keepdims=True) + 1e-5)
    np.testing.assert_allclose(normed, expected, atol=1e-4)


def test_instance_norm_turns_a_constant_channel_into_zeros():
    assert np.all(np.asarray(instance_norm(jnp.full((1, 4, 4, 2), 7.0))) == 0)


def test_instance_norm_computes_statistics_of_bfloat16_features_in_float32():
    features = jnp.asarray(300 + 5 * np.random.default_rng(0).normal(size=(1, 32, 32, 2)), jnp.bfloat16)
    normed = instance_norm(features)
    assert normed.dtype == jnp.bfloat16
    wide = instance_norm(features.astype(jnp.float32))
    np.testing.assert_allclose(normed.astype(jnp.float32), wide, atol=0.02)


@pytest.mark.parametrize(
    ("axes", "mask", "shape"),
    [
        ((1, 2), None, ()),
        ((0, 1, 2), None, (4,)),
        ((0, 1, 2), [True, False, True], (4,)),
    ],
)
def test_the_gradients_of_a_norm_equal_automatic_differentiation_of_its_definition(axes, mask, shape):
    with jax.enable_x64(True):
        draw = np.random.default_rng(0).normal
        features, scale, bias = jnp.asarray(draw(3, 2, (3, 5, 6, 4))), jnp.asarray(draw(size=shape)), jnp.zeros(shape)
        where = None if mask is None else jnp.array(mask)[:, None, None, None]

        def defined(features, scale, bias):
            mean = jnp.mean(features, axis=axes, keepdims=True, where=where)
            variance = jnp.mean(jnp.square(features - mean), axis=axes, keepdims=True, where=where)
            return (features - mean) / jnp.sqrt(variance + 1e-5) * scale + bias

        expected, pull_back = jax.vjp(defined, features, scale, bias)
        ours, our_pull_back = jax.vjp(lambda *inputs: normalize(*inputs, where, axes, 1e-5)[0], features, scale, bias)
        np.testing.assert_allclose(ours, expected, atol=1e-12)
        cotangent = jnp.asarray(draw(size=features.shape))
        for gradient, reference in zip(our_pull_back(cotangent), pull_back(cotangent), strict=True):
            assert gradient.shape == reference.shape
            np.testing.assert_allclose(gradient, reference, atol=1e-11)


def test_the_gradient_of_a_norm_has_the_dtype_of_its_features():
    features = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 4, 3)), jnp.bfloat16)
    scale, bias = jnp.ones(3), jnp.zeros(3)
    normalized, pull_back = jax.vjp(
        lambda features: normalize(features, scale, bias, None, (0, 1, 2), 1e-5)[0], features
    )
    (gradient,) = pull_back(jnp.ones_like(normalized))
    assert gradient.dtype == jnp.bfloat16


def test_batch_norm_normalises_by_the_biased_and_keeps_the_unbiased_variance_as_pytorch_does():
    layer = BatchNorm(2)
    layer.scale[...], layer.bias[...] = jnp.array([2.0, 0.5]), jnp.array([1.0, -1.0])
    running_mean, running_variance = np.zeros(2), np.ones(2)
    for seed in range(3):
        features = np.random.default_rng(seed).normal(3, 2, size=(2, 2, 3, 2)).astype(np.float32)
        normed = np.asarray(layer(jnp.asarray(features)))
        flat = features.reshape(-1, 2)
        expected = (features - flat.mean(0)) / np.sqrt(flat.var(0) + 1e-5) * [2, 0.5] + [1, -1]
        np.testing.assert_allclose(normed, expected, atol=1e-5)
        running_mean = 0.9 * running_mean + 0.1 * flat.mean(0)
        running_variance = 0.9 * running_variance + 0.1 * flat.var(0, ddof=1)
        np.testing.assert_allclose(layer.mean[...], running_mean, rtol=1e-5)
        np.testing.assert_allclose(layer.variance[...], running_variance, rtol=1e-5)


def test_batch_norm_in_evaluation_mode_uses_the_running_statistics_without_changing_them():
    layer = BatchNorm(2)
    layer.mean[...], layer.variance[...] = jnp.array([1.0, -2.0]), jnp.array([4.0, 0.25])
    layer.eval()
    features = np.random.default_rng(0).normal(size=(2, 3, 3, 2)).astype(np.float32)
    expected = (features - [1, -2]) / np.sqrt(np.array([4, 0.25]) + 1e-5)
    np.testing.assert_allclose(layer(jnp.asarray(features)), expected, atol=1e-5)
    np.testing.assert_array_equal(layer.mean[...], [1, -2])
    np.testing.assert_array_equal(layer.variance[...], [4, 0.25])


def test_batch_norm_of_a_single_value_keeps_finite_statistics():
    layer = BatchNorm(1)
    layer(jnp.full((1, 1, 1, 1), 3.0))
    np.testing.assert_allclose([layer.mean[0], layer.variance[0]], [0.3, 0.9], rtol=1e-6)


# ---------------------------------------------------------------------- the form for accelerators, against that for CPU


def both_forms(monkeypatch, function, *inputs):
    """The function's values and gradients in the form for CPU, then in that for accelerators."""
    found = []
    for accelerator in (False, True):
        monkeypatch.setattr(backend, "on_accelerator", lambda accelerator=accelerator: accelerator)
        value, pull_back = jax.vjp(lambda *inputs: function(*inputs), *inputs)
        cotangent = jnp.asarray(np.random.default_rng(9).normal(size=value.shape), value.dtype)
        found.append((value, *pull_back(cotangent)))
    return zip(*found, strict=True)


@pytest.mark.parametrize("shape", [(2, 6, 8, 3), (2, 3, 4, 2, 2, 3)], ids=["image", "blocks"])
@pytest.mark.parametrize(("slope", "padding"), [(1.0, 0), (0.0, 0), (0.2, 0), (0.0, 1), (0.0, 3)])
def test_an_instance_norm_with_activation_and_padding_is_the_same_on_every_backend(shape, slope, padding, monkeypatch):
    features = jnp.asarray(np.random.default_rng(0).normal(1, 2, shape), jnp.float32)
    function = partial(instance_norm, slope=slope, padding=padding)
    for ours, other in both_forms(monkeypatch, function, features):
        np.testing.assert_allclose(ours, other, atol=2e-5)


@pytest.mark.parametrize("mask", [None, [True, False, True]])
@pytest.mark.parametrize("relu", [False, True])
def test_a_batch_norm_is_the_same_on_every_backend(mask, relu, monkeypatch):
    draw, where = np.random.default_rng(0).normal, None if mask is None else jnp.array(mask)
    features, scale, bias = (jnp.asarray(draw(0.5, 2, shape), jnp.float32) for shape in ((3, 5, 6, 4), (4,), (4,)))

    def normed(features, scale, bias):
        norm = BatchNorm(4)
        norm.scale[...], norm.bias[...] = scale, bias
        return norm(features, where, relu=relu)

    def statistics(features):
        norm = BatchNorm(4)
        norm(features, where)
        return jnp.concatenate([norm.mean[...], norm.variance[...]])

    for ours, other in both_forms(monkeypatch, normed, features, scale, bias):
        np.testing.assert_allclose(ours, other, atol=2e-5)
    (ours, other), _ = both_forms(monkeypatch, statistics, features)
    np.testing.assert_allclose(ours, other, rtol=1e-5)


@pytest.mark.parametrize("mean", [0.0, 3.0, 10.0])
def test_the_deviation_from_one_pass_is_much_closer_to_float64_than_bfloat16_resolves(mean):
    features = jnp.asarray(mean + np.random.default_rng(0).normal(size=(1, 64, 64, 8)), jnp.bfloat16)
    form = Form((1, 2), 0.0)
    _, _, variance = fused_norm.normalize(features, jnp.ones(()), jnp.zeros(()), None, form)
    exact = np.asarray(features, np.float64).std((1, 2), keepdims=True)
    error = np.max(np.abs(np.sqrt(np.asarray(variance, np.float64)) / exact - 1))
    assert error < 0.1 * jnp.finfo(jnp.bfloat16).eps


def test_the_form_for_accelerators_keeps_features_in_their_own_dtype_and_no_other_array_of_their_size():
    features = jnp.zeros((2, 8, 8, 4), jnp.bfloat16)
    form = Form((1, 2), 1e-5, 0.0, 1)
    _, pull_back = jax.vjp(lambda x: fused_norm.normalize(x, jnp.ones(()), jnp.zeros(()), None, form)[0], features)
    large = [leaf for leaf in jax.tree.leaves(pull_back) if leaf.size >= features.size]
    assert [(leaf.shape, leaf.dtype) for leaf in large] == [(features.shape, features.dtype)]
