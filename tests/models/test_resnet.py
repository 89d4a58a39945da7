"""The ResNet compared with PyTorch's results (tests/fixtures/make_resnet_small.py), and its behaviour in training."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from chimeramix_jax.interop.pytorch import load_resnet
from chimeramix_jax.models.normalization import BatchNorm
from chimeramix_jax.models.resnet import RESNET_50, Bottleneck, ResNet

LABELS = np.arange(3)  # of the fixture's images


@pytest.fixture(scope="module")
def images(resnet_reference):
    return resnet_reference["images"] / 127.5 - 1


@pytest.fixture(scope="module")
def load(resnet_reference):
    """Returns a function that loads the fixture's weights in float64; float32 rounding would hide small errors."""
    weights = {
        name.removeprefix("weights/"): array.astype(np.float64)
        for name, array in resnet_reference.items()
        if name.startswith("weights/")
    }
    return lambda: load_resnet(weights)


@nnx.jit
def apply(network, *inputs, **settings):
    return network(*inputs, **settings)


def small_network(**settings):
    """Builds a network of two stages, the first with a block that keeps its shape; always with the same weights."""
    network = nnx.eval_shape(lambda: ResNet((2, 1), 3, channels=4, rngs=nnx.Rngs(0), **settings))
    draw = np.random.default_rng(0).uniform  # JAX would compile a program for each shape

    def values(path, leaf):
        low, high = (0.5, 1.5) if path[-1].key in ("scale", "variance") else (-0.5, 0.5)
        return jnp.asarray(draw(low, high, leaf.shape), leaf.dtype)

    nnx.update(network, jax.tree_util.tree_map_with_path(values, nnx.to_pure_dict(nnx.state(network))))
    return network


def noise(count, side=32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, (count, side, side, 3)), jnp.float32)


# -------------------------------------------------------------------------------------------------------- architecture


def test_resnet_50_has_the_published_number_of_parameters():
    network = nnx.eval_shape(lambda: ResNet(RESNET_50, 10, rngs=nnx.Rngs(0)))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(network, nnx.Param))) == 23_528_522


def test_images_of_96_pixels_shrink_to_3_by_3_features_as_the_channels_grow(monkeypatch):
    shapes, call = [], Bottleneck.__call__

    def record(self, features, example_mask=None):
        features = call(self, features, example_mask)
        shapes.append(features.shape)
        return features

    monkeypatch.setattr(Bottleneck, "__call__", record)
    images = jax.ShapeDtypeStruct((2, 96, 96, 3), jnp.float32)
    logits = nnx.eval_shape(lambda images: ResNet((1, 2, 1, 1), 10, rngs=nnx.Rngs(0))(images), images)
    sides_and_channels = [(24, 256), (12, 512), (12, 512), (6, 1024), (3, 2048)]
    assert shapes == [(2, side, side, channels) for side, channels in sides_and_channels]
    assert (logits.shape, logits.dtype) == ((2, 10), jnp.float32)


def test_the_three_by_three_convolution_has_the_stride():
    block = nnx.eval_shape(lambda: Bottleneck(8, 4, 2, rngs=nnx.Rngs(0)))
    strides = [layer.strides for layer in (block.convolution1, block.convolution2, block.convolution3)]
    assert strides == [(1, 1), (2, 2), (1, 1)]


# ------------------------------------------------------------------------------------------------------ against PyTorch


@pytest.fixture(scope="module")
def trained(images, load):
    """Returns logits, gradients and the network with its new statistics after a training pass in float64."""

    @nnx.jit
    def train(network):
        def loss(network):
            logits = network(jnp.asarray(images))
            return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, LABELS)), logits

        gradients, logits = nnx.grad(loss, has_aux=True)(network)
        return logits, gradients

    with jax.enable_x64(True):
        network = load()
        return *train(network), network


def test_logits_in_training_mode_equal_pytorchs(trained, resnet_reference):
    np.testing.assert_allclose(trained[0], resnet_reference["logits/train"], atol=1e-9)


def test_logits_in_evaluation_mode_equal_pytorchs_and_statistics_are_unchanged(resnet_reference, images, load):
    with jax.enable_x64(True):
        network = load().eval()
        np.testing.assert_allclose(apply(network, images), resnet_reference["logits/eval"], atol=1e-9)
        jax.tree.map(np.testing.assert_array_equal, nnx.state(network), nnx.state(load()))


def test_gradients_equal_pytorchs(trained, resnet_reference):
    gradients = trained[1]
    ours = {
        "conv1.weight": gradients["stem"]["kernel"],
        "layer1.0.downsample.0.weight": gradients["stages"][0][0]["shortcut"]["convolution"]["kernel"],
        "layer3.0.conv2.weight": gradients["stages"][2][0]["convolution2"]["kernel"],
        "fc.weight": gradients["head"]["kernel"],
    }
    for name, gradient in ours.items():
        expected = resnet_reference[f"gradients/{name}"]
        expected = expected.transpose((2, 3, 1, 0) if expected.ndim == 4 else (1, 0))
        np.testing.assert_allclose(gradient[...], expected, atol=1e-8 * np.abs(expected).max(), err_msg=name)


def test_gradients_reach_every_parameter(trained):
    for path, gradient in jax.tree_util.tree_leaves_with_path(trained[1]):
        assert np.max(np.abs(gradient)) > 1e-6, jax.tree_util.keystr(path)


def test_running_statistics_after_a_training_pass_equal_pytorchs(trained, resnet_reference):
    network = trained[2]
    norms = {
        "bn1": network.norm,
        "layer1.0.downsample.1": network.stages[0][0].shortcut.norm,
        "layer3.2.bn1": network.stages[2][2].norm1,
        "layer4.0.bn3": network.stages[3][0].norm3,
    }
    for name, norm in norms.items():
        np.testing.assert_allclose(norm.mean[...], resnet_reference[f"after/{name}.running_mean"], atol=1e-9)
        np.testing.assert_allclose(norm.variance[...], resnet_reference[f"after/{name}.running_var"], rtol=1e-9)


# --------------------------------------------------------------------------------------------------- training behaviour


def test_masked_examples_change_neither_the_statistics_nor_the_logits_of_the_others():
    alone, padded = small_network(), small_network()
    valid, garbage = noise(3), 100 * noise(2, seed=1)
    expected = apply(alone, valid)
    logits = apply(
        padded,
        jnp.concatenate([valid[:1], garbage[:1], valid[1:], garbage[1:]]),
        example_mask=jnp.array([True, False, True, True, False]),
    )
    np.testing.assert_allclose(logits[jnp.array([0, 2, 3])], expected, atol=1e-4)
    ours, others = (jax.tree.leaves(nnx.state(network, nnx.BatchStat)) for network in (padded, alone))
    for statistic, reference in zip(ours, others, strict=True):
        np.testing.assert_allclose(statistic, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("mode", "evaluating"), [("eval", True), ("train", False)])
def test_switching_the_mode_switches_every_norm_and_returns_the_network(mode, evaluating):
    network = small_network().train() if evaluating else small_network().eval()
    assert getattr(network, mode)() is network
    norms = [module for _, module in nnx.iter_graph(network) if isinstance(module, BatchNorm)]
    assert [norm.use_running_average for norm in norms] == [evaluating] * (1 + 3 * 3 + 2)


def test_a_dropout_key_is_accepted_and_makes_no_difference():
    network = small_network().eval()
    with_key = apply(network, noise(2), dropout_key=jax.random.key(0))
    np.testing.assert_array_equal(with_key, apply(network, noise(2)))


def test_bfloat16_keeps_float32_parameters_and_logits_and_approximates_the_float32_logits():
    narrow = small_network(dtype=jnp.bfloat16)
    logits = apply(narrow, noise(4))
    assert logits.dtype == jnp.float32
    assert 0 < np.max(np.abs(logits - apply(small_network(), noise(4)))) < 0.05
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(narrow))} == {jnp.dtype(jnp.float32)}


# ------------------------------------------------------------------------------------------------------- initial values


def test_initial_values_are_torchvisions():
    network = ResNet((1,), 50, channels=16, rngs=nnx.Rngs(0))
    block = network.stages[0][0]
    fan_outs = [(network.stem, 16 * 49), (block.convolution1, 16), (block.convolution2, 16 * 9)]
    fan_outs += [(block.convolution3, 64), (block.shortcut.convolution, 64)]
    for layer, fan_out in fan_outs:
        np.testing.assert_allclose(np.var(layer.kernel[...]), 2 / fan_out, rtol=0.3)
        assert layer.bias is None
    for norm in (network.norm, block.norm1, block.norm2, block.norm3, block.shortcut.norm):
        assert np.all(norm.scale[...] == 1)
        assert np.all(norm.bias[...] == 0)
    for values in (network.head.kernel[...], network.head.bias[...]):
        assert 0.9 / 8 < np.max(np.abs(values)) <= 1 / 8  # PyTorch's bound for 64 inputs
