"""Harmonic convolutions against their formula in NumPy and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import fft, signal

from chimeramix_jax.models import classifier
from chimeramix_jax.models.harmonic import HarmonicConvolution, HarmonicStem, dct_filters
from chimeramix_jax.models.wide_resnet import WideResNet

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("side", [3, 7])
def test_the_filters_are_those_of_the_cosine_transform_with_absolute_values_that_sum_to_one(side):
    filters = dct_filters(side)
    for number, coefficients in enumerate(np.eye(side**2)):
        wave = fft.idctn(coefficients.reshape(side, side), norm="ortho")
        np.testing.assert_allclose(filters[number], wave / np.abs(wave).sum(), atol=1e-12)


def correlated(image, kernel, stride):
    """The zero-padded correlation of an image of one channel with a kernel, by SciPy."""
    return signal.correlate2d(image, kernel, mode="same")[::stride, ::stride]


@pytest.mark.parametrize("stride", [1, 2])
def test_a_harmonic_convolution_combines_the_filtered_channels(stride):
    layer = HarmonicConvolution(2, 4, 3, stride=stride, padding=1, rngs=nnx.Rngs(0))
    features, coefficients = RANDOM.normal(size=(1, 5, 5, 2)), np.asarray(layer.coefficients[...], np.float64)
    expected = np.zeros((*correlated(features[0, ..., 0], np.eye(3), stride).shape, 4))
    for number, kernel in enumerate(dct_filters(3)):
        for channel in range(2):
            filtered = correlated(features[0, ..., channel], kernel, stride)
            expected += filtered[..., None] * coefficients[number, channel]
    np.testing.assert_allclose(layer(jnp.asarray(features, jnp.float32))[0], expected, atol=1e-5)


def test_the_first_layer_normalizes_the_filtered_channels_before_it_combines_them():
    layer = HarmonicStem(3, 4, 3, padding=1, rngs=nnx.Rngs(0))
    images = RANDOM.uniform(-1, 1, (3, 6, 6, 3))
    responses = np.stack(
        [
            np.stack([correlated(image[..., c], kernel, 1) for c in range(3) for kernel in dct_filters(3)], axis=-1)
            for image in images
        ]
    )
    counted = responses[:2]  # the last image is padding
    normalized = (responses - counted.mean((0, 1, 2))) / np.sqrt(counted.var((0, 1, 2)) + 1e-5)
    expected = normalized @ np.asarray(layer.combination.kernel[...], np.float64)[0, 0]
    shown = layer(jnp.asarray(images, jnp.float32), jnp.array([True, True, False]))
    np.testing.assert_allclose(shown[:2], expected[:2], atol=2e-4)
    assert set(nnx.state(layer, nnx.Param)) == {"combination"}


def test_a_harmonic_network_has_as_many_weights_and_harmonics_for_all_but_its_smallest_kernels():
    def built(harmonic):
        return nnx.eval_shape(lambda: classifier.build("wrn-10-2", 7, harmonic=harmonic, rngs=nnx.Rngs(0)))

    def count(network):
        return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(network, nnx.Param)))

    harmonic, standard = built(True), built(False)
    assert isinstance(harmonic, WideResNet) and count(harmonic) == count(standard)
    kinds = [type(module) for _, module in nnx.iter_graph(harmonic)]
    assert (kinds.count(HarmonicStem), kinds.count(HarmonicConvolution)) == (1, 6)
    plain = [module for _, module in nnx.iter_graph(harmonic) if isinstance(module, nnx.Conv)]
    assert {layer.kernel.shape[:2] for layer in plain} == {(1, 1)} and len(plain) == 1 + 3
