"""A compiled classifier: what it returns, and that programs are shared but weights are not."""

import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY
from flax import nnx
from networks import logits_of
from scipy.special import softmax

from chimeramix_jax import config as settings
from chimeramix_jax.augment.geometry import normalize
from chimeramix_jax.models.layers import mean_over_pixels
from chimeramix_jax.training import prediction
from chimeramix_jax.training.networks import build_classifier
from chimeramix_jax.training.prediction import CompiledClassifier

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def config():
    config = settings.load("digits:baseline")
    config.update_from_flattened_dict(TINY | {"evaluation.mirror": True})
    return config


@pytest.fixture(scope="module")
def networks(config):
    return [build_classifier(config, 2, nnx.Rngs(seed)).eval() for seed in (0, 1)]


def test_probabilities_are_averaged_over_the_views_and_features_are_those_of_the_image(config, networks):
    network = networks[0]
    shares = [softmax(logits_of(network, view), axis=1) for view in (PIXELS, PIXELS[:, :, ::-1])]
    assert np.max(np.abs(shares[0] - shares[1])) > 1e-4
    compiled = CompiledClassifier(network, config)
    np.testing.assert_allclose(np.exp(compiled.logits(PIXELS)), np.mean(shares, axis=0), rtol=1e-4)
    np.testing.assert_allclose(compiled.probabilities(PIXELS, 1.0), np.mean(shares, axis=0), rtol=1e-4)
    softer = np.sqrt(np.mean(shares, axis=0))
    np.testing.assert_allclose(
        compiled.probabilities(PIXELS, 2.0), softer / softer.sum(axis=1, keepdims=True), rtol=1e-4
    )
    features = nnx.jit(lambda network, images: mean_over_pixels(network.feature_maps(images)))(
        network, normalize(jnp.asarray(PIXELS))
    )
    np.testing.assert_allclose(compiled.features(PIXELS), features, rtol=1e-4, atol=1e-5)


def test_classifiers_of_the_same_structure_share_a_program_but_not_their_weights(config, networks):
    first, second = (CompiledClassifier(network, config) for network in networks)
    logits, programs = first.logits(PIXELS), prediction._compiled_logits._cache_size()
    assert np.max(np.abs(second.logits(PIXELS) - logits)) > 1e-3
    assert prediction._compiled_logits._cache_size() == programs
