import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from chimeramix_jax import config as settings
from chimeramix_jax.config import comparing
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.models.patches import from_patches, to_patches
from chimeramix_jax.training.networks import build_generator


def test_a_patch_becomes_the_channels_of_one_place():
    images = np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype(np.float32)

    patches = to_patches(jnp.asarray(images))

    assert patches.shape == (2, 2, 3, 48)
    np.testing.assert_array_equal(patches[1, 1, 2], images[1, 4:8, 8:12].reshape(-1))
    np.testing.assert_array_equal(from_patches(patches), images)


@pytest.fixture(scope="module")
def generator():
    return Generator(4, 1, 1, "patches", rngs=nnx.Rngs(0))


def test_features_have_the_shape_of_cyclegans(generator):
    images = jnp.zeros((2, 32, 40, 3))
    published = Generator(4, 1, 1, rngs=nnx.Rngs(0))

    shapes = [
        jax.eval_shape(lambda x, network=network: network.encode(x), images) for network in (generator, published)
    ]

    assert shapes[0] == shapes[1]
    assert nnx.jit(lambda network, x: network.decode(network.encode(x)))(generator, images).shape == images.shape


def test_the_mean_colour_of_an_image_reaches_its_features(generator):
    """CycleGAN's first instance norm removes it, so that a dark and a bright image have the same features."""
    encode = nnx.jit(lambda network, images: network.encode(images))
    dark = jax.random.uniform(jax.random.key(0), (1, 32, 32, 3), minval=-1.0, maxval=0.0)
    bright = dark + 0.8
    published = Generator(4, 1, rngs=nnx.Rngs(0))

    assert jnp.abs(encode(generator, dark) - encode(generator, bright)).max() > 0.1
    np.testing.assert_allclose(encode(published, dark), encode(published, bright), atol=1e-3)


def test_every_weight_takes_part(generator):
    def loss(network):
        images = jax.random.uniform(jax.random.key(1), (2, 32, 32, 3), minval=-1.0)
        return jnp.square(network.decode(network.encode(images)) - images).mean()

    gradients = nnx.to_flat_state(nnx.state(nnx.jit(nnx.grad(loss))(generator)))

    without = {path for path, gradient in gradients if not np.any(np.asarray(gradient[...]))}
    assert {path[-1] for path in without} <= {"bias"}, "only biases that a norm cancels"


def test_the_setting_chooses_the_architecture():
    config = settings.load("configs/digits.py")
    published = comparing.generator_identity(config)
    config.generator.architecture = "patches"

    assert hasattr(nnx.eval_shape(lambda: build_generator(config, nnx.Rngs(0))).decoder, "to_pixels")
    assert comparing.generator_identity(config) != published, "they must not share a generator"
