import itertools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from flax import nnx

from chimeramix_jax.mixing.blending import mixed_images
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.fused_norm import from_blocks
from chimeramix_jax.models.generator import Encoder, Generator
from chimeramix_jax.models.layers import DoublingConvolution, convolution_layer
from chimeramix_jax.models.padding import reflect_pad
from chimeramix_jax.models.wide_resnet import WideBlock, WideResNet

CHANNELS = 4  # of the small generator and discriminator


def outputs(network, *inputs, **settings):
    """What a network makes of its inputs: a generator of two images and a mask, any other of what it is called with."""
    call = partial(mixed_images, network) if isinstance(network, Generator) else network
    return call(*inputs, **settings)


apply = nnx.jit(outputs)


def images(count, side=32, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, (count, side, side, 3)), jnp.float32)


def filled(build):
    """Fills a network with random numbers of NumPy; JAX would compile a program for each shape."""
    network, rng = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0))), np.random.default_rng(0)

    def values(path, leaf):
        around = 1 if path[-1].key in ("scale", "variance") else 0
        bound = 0.5 if len(leaf.shape) == 1 else math.sqrt(3 / math.prod(leaf.shape[:-1]))
        return jnp.asarray(around + rng.uniform(-bound, bound, leaf.shape), leaf.dtype)

    nnx.update(network, jax.tree_util.tree_map_with_path(values, nnx.to_pure_dict(nnx.state(network))))
    return network


def small_generator(**settings):
    return filled(partial(Generator, CHANNELS, **settings))


def small_discriminator(**settings):
    return filled(partial(Discriminator, CHANNELS, **settings))


def small_classifier(**settings):
    return filled(partial(WideResNet, 10, 1, 3, **settings))


# ------------------------------------------------------------------------------------------------- parameter counts


def convolution_parameters(before, after, side, bias=True):
    return before * after * side**2 + after * bias


def generator_parameters(ngf, decoder_blocks):
    wide = 4 * ngf
    encoder = convolution_parameters(3, ngf, 7)
    encoder += convolution_parameters(ngf, 2 * ngf, 3) + convolution_parameters(2 * ngf, wide, 3)
    encoder += 2 * 2 * convolution_parameters(wide, wide, 3)
    decoder = decoder_blocks * 2 * convolution_parameters(wide, wide, 3, bias=False)
    decoder += wide * (2 * ngf) * 4 + (2 * ngf) * ngf * 4
    return encoder + decoder + convolution_parameters(ngf, 3, 7)


def discriminator_parameters(ndf):
    widths = (3, ndf, 2 * ndf, 4 * ndf, 8 * ndf, 1)
    return sum(convolution_parameters(before, after, 4) for before, after in itertools.pairwise(widths))


def wide_resnet_parameters(depth, width, classes):
    total, channels = 16 * 3 * 9, 16
    for group in (16 * width, 32 * width, 64 * width):
        for _ in range((depth - 4) // 6):
            total += 2 * channels + 9 * channels * group + 2 * group + 9 * group * group
            total += channels * group if channels != group else 0
            channels = group
    return total + 2 * channels + channels * classes + classes


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (partial(Generator, 64), generator_parameters(64, 0)),
        (partial(Generator, 64, decoder_residual_blocks=2), generator_parameters(64, 2)),
        (partial(Discriminator, 64), discriminator_parameters(64)),
        (partial(WideResNet, 16, 8, 10), 10_961_370),
        (partial(WideResNet, 28, 10, 10), 36_479_194),
        (partial(WideResNet, 22, 3, 7), wide_resnet_parameters(22, 3, 7)),
    ],
    ids=["generator", "generator of the paper", "discriminator", "WRN-16-8", "WRN-28-10", "WRN-22-3"],
)
def test_a_network_has_the_number_of_parameters_of_its_architecture(build, expected):
    network = nnx.eval_shape(lambda: build(rngs=nnx.Rngs(0)))
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(nnx.state(network, nnx.Param))) == expected


def test_published_parameter_counts_of_wide_resnets_agree_with_the_arithmetic():
    assert wide_resnet_parameters(16, 8, 10) == 10_961_370
    assert wide_resnet_parameters(28, 10, 10) == 36_479_194


@pytest.mark.parametrize("depth", [4, 9, 12, 15, 27])
def test_a_wide_resnet_of_impossible_depth_is_refused(depth):
    with pytest.raises(ValueError, match=rf"6k \+ 4.*not {depth}"):
        WideResNet(depth, 1, 10, rngs=nnx.Rngs(0))


# --------------------------------------------------------------------------------------------------- shapes and ranges


@pytest.mark.parametrize(
    ("build", "inputs", "output"),
    [
        (partial(Encoder, 64, 2), [(2, 64, 64, 3)], (2, 16, 16, 256)),
        (partial(Generator, 64), [(2, 64, 64, 3), (2, 64, 64, 3), (2, 16, 16, 1)], (2, 64, 64, 3)),
        (partial(Generator, 8, 1, 2), [(1, 40, 96, 3), (1, 40, 96, 3), (1, 10, 24, 1)], (1, 40, 96, 3)),
        (partial(Discriminator, 64), [(2, 64, 64, 3)], (2, 4, 4, 1)),
        (partial(Discriminator, 64), [(2, 96, 96, 3)], (2, 6, 6, 1)),
        (partial(Discriminator, 64), [(2, 32, 32, 3)], (2, 2, 2, 1)),
        (partial(Discriminator, 64), [(2, 36, 52, 3)], (2, 2, 3, 1)),
        (partial(WideResNet, 16, 8, 10), [(2, 32, 32, 3)], (2, 10)),
        (partial(WideResNet, 10, 2, 100), [(2, 96, 96, 3)], (2, 100)),
        (partial(DoublingConvolution, 8, 4), [(2, 5, 6, 8)], (2, 5, 6, 2, 2, 4)),
    ],
)
def test_outputs_have_the_documented_shape(build, inputs, output):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in inputs]
    result = nnx.eval_shape(lambda *arguments: outputs(build(rngs=nnx.Rngs(0)), *arguments), *arguments)
    assert (result.shape, result.dtype) == (output, jnp.float32)


@pytest.mark.parametrize("decoder_residual_blocks", [0, 2])
def test_generated_images_stay_within_minus_one_and_one_and_vary(decoder_residual_blocks):
    generator = small_generator(decoder_residual_blocks=decoder_residual_blocks)
    mixed = np.asarray(apply(generator, images(2), images(2, seed=1), jnp.ones((2, 8, 8, 1))))
    assert np.all(np.abs(mixed) <= 1)
    assert mixed.std() > 0.05


def test_discriminator_scores_lie_between_zero_and_one_and_vary():
    scores = np.asarray(apply(small_discriminator(), images(2)))
    assert np.all((scores > 0) & (scores < 1))
    assert scores.std() > 1e-3


@pytest.mark.parametrize(("value", "kept"), [(1.0, 0), (0.0, 1)])
def test_a_constant_mask_makes_the_generator_reconstruct_one_image_and_ignore_the_other(value, kept):
    generator, mask = small_generator(), jnp.full((2, 8, 8, 1), value)
    pair = [images(2), images(2, seed=1)]
    changed = list(pair)
    changed[1 - kept] = images(2, seed=2)
    expected = apply(generator, *pair, mask)
    np.testing.assert_allclose(apply(generator, *changed, mask), expected, atol=1e-5)
    changed[kept] = images(2, seed=3)
    assert np.max(np.abs(apply(generator, *changed, mask) - expected)) > 1e-2


# ----------------------------------------------------------------------------------------------------------- the layers


@pytest.mark.parametrize("build", [small_generator, small_discriminator])
def test_a_bias_before_an_instance_norm_is_kept_for_published_weights_but_makes_no_difference(build):
    network = build()
    inputs = (images(2), images(2, seed=1), jnp.ones((2, 8, 8, 1))) if build is small_generator else (images(2),)
    expected = apply(network, *inputs)
    biases = {path: value for path, value in nnx.to_flat_state(nnx.state(network)) if path[-1] == "bias"}
    gradients = nnx.jit(nnx.grad(lambda network: jnp.sum(outputs(network, *inputs) ** 2)))(network)
    unused = [path for path, value in nnx.to_flat_state(gradients) if path in biases and not np.any(value[...])]
    assert len(unused) == len(biases) - (1 if build is small_generator else 2)
    for path in unused:
        biases[path][...] += 3.0
    nnx.update(network, nnx.from_flat_state(biases.items()))
    np.testing.assert_array_equal(apply(network, *inputs), expected)


@pytest.mark.parametrize("padding", [1, 3, 4])
def test_the_gradient_of_reflect_pad_adds_borders_to_the_pixels_they_mirror(padding):
    picture = jnp.asarray(np.random.default_rng(0).normal(size=(2, 5, 6, 3)), jnp.float32)
    widths = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    expected, pull_back = jax.vjp(lambda picture: jnp.pad(picture, widths, mode="reflect"), picture)
    cotangent = jnp.asarray(np.random.default_rng(1).normal(size=expected.shape), jnp.float32)
    ours = jax.vjp(lambda picture: reflect_pad(picture, padding), picture)[1](cotangent)
    np.testing.assert_allclose(ours[0], pull_back(cotangent)[0], atol=1e-5)


def test_reflect_pad_mirrors_at_the_border_without_repeating_it():
    picture = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype(np.float32)
    expected = np.pad(picture, ((0, 0), (3, 3), (3, 3), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(reflect_pad(jnp.asarray(picture), 3), expected)


def test_a_doubling_convolution_turns_each_pixel_into_two_by_two_pixels():
    layer = DoublingConvolution(3, 2, rngs=nnx.Rngs(0))
    features = np.random.default_rng(0).normal(size=(2, 3, 4, 3)).astype(np.float32)
    kernel, doubled = np.asarray(layer.kernel[...]), np.asarray(from_blocks(layer(jnp.asarray(features))))
    for row, column in itertools.product(range(6), range(8)):
        expected = features[:, row // 2, column // 2] @ kernel[row % 2, column % 2]
        np.testing.assert_allclose(doubled[:, row, column], expected, atol=1e-5)


# --------------------------------------------------------------------------------------------------- training behaviour


def test_masked_examples_change_neither_the_statistics_nor_the_logits_of_the_others():
    alone, padded = small_classifier(), small_classifier()
    valid = images(3, side=8)
    garbage = 100 * images(2, side=8, seed=1)
    expected = apply(alone, valid)
    logits = apply(
        padded,
        jnp.concatenate([valid[:1], garbage[:1], valid[1:], garbage[1:]]),
        example_mask=jnp.array([True, False, True, True, False]),
    )
    np.testing.assert_allclose(logits[jnp.array([0, 2, 3])], expected, atol=1e-5)
    ours, others = (jax.tree.leaves(nnx.state(network, nnx.BatchStat)) for network in (padded, alone))
    for statistic, reference in zip(ours, others, strict=True):
        np.testing.assert_allclose(statistic, reference, rtol=1e-5, atol=1e-6)


def test_without_the_mask_the_same_examples_change_the_statistics():
    network = small_classifier()
    apply(network, jnp.concatenate([images(3, side=8), 100 * images(2, side=8, seed=1)]))
    alone = small_classifier()
    apply(alone, images(3, side=8))
    assert np.max(np.abs(network.blocks[0].norm1.mean[...] - alone.blocks[0].norm1.mean[...])) > 0.1


def test_dropout_acts_in_training_mode_only_and_differs_between_keys():
    block = filled(partial(WideBlock, 3, 3, 1, 0.5))
    batch, keys = images(2, side=8), [jax.random.key(seed) for seed in range(2)]
    first, second = (np.asarray(apply(block, batch, dropout_key=key)) for key in keys)
    assert np.max(np.abs(first - second)) > 1e-3
    np.testing.assert_array_equal(apply(block, batch, dropout_key=keys[0]), first)
    block.eval()
    first, second = (np.asarray(apply(block, batch, dropout_key=key)) for key in keys)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(apply(block, batch), first)


@pytest.mark.parametrize(("mode", "evaluating"), [("eval", True), ("train", False)])
def test_a_wide_resnet_switches_the_mode_of_all_its_norms_and_dropouts(mode, evaluating):
    classifier = small_classifier(dropout_rate=0.5)
    classifier = classifier.train() if evaluating else classifier.eval()
    assert getattr(classifier, mode)() is classifier
    norms = [classifier.norm, *(norm for block in classifier.blocks for norm in (block.norm1, block.norm2))]
    assert [norm.use_running_average for norm in norms] == [evaluating] * 7
    assert [block.dropout.deterministic for block in classifier.blocks] == [evaluating] * 3


def test_every_block_draws_its_own_dropout(monkeypatch):
    classifier, keys = small_classifier(dropout_rate=0.5), []

    def record(self, inputs, *, rngs):
        keys.append(rngs)
        return inputs

    monkeypatch.setattr(nnx.Dropout, "__call__", record)

    @jax.jit
    def keys_of_the_blocks(key):
        nnx.clone(classifier)(images(1, side=8), dropout_key=key)
        return [jax.random.key_data(key) for key in keys]

    drawn = keys_of_the_blocks(jax.random.key(0))
    assert len({tuple(np.asarray(key).tolist()) for key in drawn}) == 3


@pytest.mark.parametrize("rate", [0.3, 0.5])
def test_dropout_zeroes_individual_values_at_its_rate_and_scales_up_the_others(rate):
    block = filled(partial(WideBlock, 3, 3, 1, rate))
    dropped = np.asarray(block.dropout(jnp.ones((20, 8, 8, 16)), rngs=jax.random.key(0)))
    np.testing.assert_allclose(np.unique(dropped), [0, 1 / (1 - rate)], rtol=1e-6)
    zeros = dropped == 0
    deviation = np.sqrt(rate * (1 - rate))
    assert abs(zeros.mean() - rate) < 4.5 * deviation / np.sqrt(zeros.size)
    # Each value is drawn independently: no whole channels, pixels or examples are dropped together.
    for axes in ((0, 1, 2), (0, 3), (1, 2, 3)):
        shares = zeros.mean(axis=axes)
        assert np.all(np.abs(shares - rate) < 4.5 * deviation / np.sqrt(zeros.size / shares.size))


def test_training_mode_needs_a_dropout_key_if_the_rate_is_above_zero():
    with pytest.raises(ValueError, match="rngs"):
        apply(filled(partial(WideBlock, 3, 3, 1, 0.5)), images(1, side=8))


# ------------------------------------------------------------------------------------------------------------ precision


@pytest.mark.parametrize(
    ("build", "inputs", "tolerance"),
    [
        (small_generator, (images(2), images(2, seed=1), jnp.ones((2, 8, 8, 1))), 0.05),
        (small_discriminator, (images(2),), 0.02),
        (small_classifier, (images(2, side=16),), 0.05),
    ],
    ids=["generator", "discriminator", "classifier"],
)
def test_bfloat16_keeps_float32_parameters_and_approximates_the_float32_output(build, inputs, tolerance):
    narrow = build(dtype=jnp.bfloat16)
    difference = np.asarray(apply(narrow, *inputs), np.float32) - np.asarray(apply(build(), *inputs))
    assert 0 < np.sqrt(np.mean(np.square(difference))) < tolerance
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(narrow))} == {jnp.dtype(jnp.float32)}


# ------------------------------------------------------------------------------------------------------- initial values


@pytest.mark.parametrize("fan_in_of", ["convolution", "transposed convolution"])
def test_initial_kernels_fill_pytorchs_uniform_range(fan_in_of):
    if fan_in_of == "convolution":
        layer, bound = convolution_layer(16, 32, 3, rngs=nnx.Rngs(0)), 1 / math.sqrt(16 * 9)
        assert 0.5 * bound < np.max(np.abs(layer.bias[...])) <= bound
    else:
        layer, bound = DoublingConvolution(32, 16, rngs=nnx.Rngs(0)), 1 / math.sqrt(16 * 4)
    kernel = np.asarray(layer.kernel[...])
    assert 0.98 * bound < np.max(np.abs(kernel)) <= bound
    np.testing.assert_allclose(kernel.std(), bound / math.sqrt(3), rtol=0.05)
    np.testing.assert_allclose(kernel.mean(), 0, atol=0.05 * bound)


def test_initial_convolutions_of_the_wide_resnet_have_hes_fan_out_variance_and_no_bias():
    block = WideBlock(16, 64, 2, 0.0, rngs=nnx.Rngs(0))
    for layer, fan_out in ((block.convolution1, 64 * 9), (block.convolution2, 64 * 9), (block.shortcut, 64)):
        np.testing.assert_allclose(np.var(layer.kernel[...]), 2 / fan_out, rtol=0.2)
        assert layer.bias is None


@pytest.mark.parametrize("build", [partial(Generator, 8, 2, 2), partial(Discriminator, 8)])
def test_generator_and_discriminator_start_uniform_within_pytorchs_bounds(build):
    @jax.jit
    def draw(key):
        return nnx.state(build(rngs=nnx.Rngs(params=key)))

    drawn = dict(nnx.to_flat_state(draw(jax.random.key(0, impl="rbg"))))  # the key type that runs use
    layers = {path[:-1] for path in drawn}
    values = []
    for layer in layers:
        kernel = np.asarray(drawn[*layer, "kernel"][...])
        # Only the transposed convolution has 2x2 kernels; PyTorch computes its fan-in from its output channels.
        fan_in = 4 * kernel.shape[3] if kernel.shape[:2] == (2, 2) else math.prod(kernel.shape[:3])
        of_layer = [kernel] + [np.asarray(drawn[*layer, name][...]) for name in ("bias",) if (*layer, name) in drawn]
        for value in of_layer:
            scaled = value.ravel() * math.sqrt(fan_in)
            assert scipy.stats.kstest(scaled, "uniform", (-1, 2)).pvalue > 1e-4
            values.append(scaled)
    assert len(np.unique(np.concatenate(values))) > 0.95 * sum(map(len, values))  # no layer is a copy of another


def test_the_wide_resnet_starts_with_hes_normal_kernels_plain_norms_and_pytorchs_linear_layer_without_bias():
    @jax.jit
    def draw(key):
        return nnx.state(WideResNet(10, 2, 50, rngs=nnx.Rngs(params=key)))

    for path, value in nnx.to_flat_state(draw(jax.random.key(0, impl="rbg"))):
        values = np.asarray(value[...])
        if path == ("head", "kernel"):
            scaled = values.ravel() * math.sqrt(values.shape[0])
            assert scipy.stats.kstest(scaled, "uniform", (-1, 2)).pvalue > 1e-4
        elif path[-1] == "kernel":
            deviation = math.sqrt(2 / (values.shape[0] * values.shape[1] * values.shape[3]))
            assert scipy.stats.kstest(values.ravel(), "norm", (0, deviation)).pvalue > 1e-4
        else:
            assert np.all(values == (1 if path[-1] in ("scale", "variance") else 0))


def test_equal_seeds_give_equal_layers_and_different_seeds_different_layers():
    first, again, other = (convolution_layer(3, 4, 3, rngs=nnx.Rngs(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.kernel[...], again.kernel[...])
    assert np.any(first.kernel[...] != other.kernel[...])
