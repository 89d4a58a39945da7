"""Class activation maps, by hand on a tiny network and as exact decompositions of real networks' logits."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from chimeramix_jax.models.class_activation import contrast_maps
from chimeramix_jax.models.heads import HeadKind
from chimeramix_jax.models.layers import mean_over_pixels
from chimeramix_jax.models.resnet import ResNet
from chimeramix_jax.models.wide_resnet import WideResNet


class RedAndGreen(WideResNet):
    """A network of three classes whose two feature maps are an image's red and green."""

    def __init__(self):
        self.head = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
        self.head.kernel[...] = jnp.array([[1.0, 0.0, -1.0], [2.0, -1.0, 0.0]])
        self.head.bias[...] = jnp.array([0.5, 0.0, -0.5])

    def feature_maps(self, images, *, example_mask=None, dropout_key=None):
        return images[..., :2]


def test_a_map_is_the_difference_of_the_heads_weights_applied_to_the_features_of_every_place():
    red = np.array([[0.0, 0.5], [1.0, -1.0]], np.float32)
    green = np.array([[1.0, 0.25], [0.0, 0.5]], np.float32)
    image = np.stack([red, green, np.full((2, 2), 9, np.float32)], axis=-1)
    maps = contrast_maps(
        RedAndGreen(), jnp.asarray(np.stack([image, image])), classes=jnp.array([0, 1]), rivals=jnp.array([1, 2])
    )
    # Class 0 against 1: (1 - 0) red + (2 + 1) green + (0.5 - 0).
    np.testing.assert_allclose(maps[0], [[3.5, 1.75], [1.5, 1.0]])
    # Class 1 against 2: (0 + 1) red + (-1 - 0) green + (0 + 0.5).
    np.testing.assert_allclose(maps[1], [[-0.5, 0.75], [1.5, -1.0]])


@pytest.mark.parametrize("kind", ["wide", "bottleneck", "cosine", "tvmf"])
def test_the_mean_of_a_map_is_the_logarithm_of_the_two_classes_odds(kind):
    if kind == "bottleneck":
        network = ResNet((1, 1), 4, channels=4, rngs=nnx.Rngs(0)).eval()
    else:
        head = HeadKind("linear" if kind == "wide" else kind)
        network = WideResNet(10, 1, 4, head=head, rngs=nnx.Rngs(0)).eval()
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32))
    classes, rivals = jnp.array([0, 1, 3]), jnp.array([2, 0, 1])

    @nnx.jit
    def computed(network):
        return (
            network(images),
            mean_over_pixels(network.feature_maps(images)),
            contrast_maps(network, images, classes, rivals),
        )

    logits, features, maps = computed(network)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    odds = np.log(probabilities[range(3), classes] / probabilities[range(3), rivals])
    assert maps.shape[1] > 1 and np.std(maps[0]) > 0
    np.testing.assert_allclose(np.mean(maps, axis=(1, 2)), odds, atol=1e-5)
    np.testing.assert_allclose(network.head(features), logits, atol=1e-5)
