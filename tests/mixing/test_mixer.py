"""Mixes of a batch against mixes computed from the sources and masks that they report."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY
from flax import nnx

from chimeramix_jax.augment.geometry import normalize
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.config import load
from chimeramix_jax.data.sampling import to_device
from chimeramix_jax.mixing.blending import blend_many
from chimeramix_jax.mixing.mixer import Mixer
from chimeramix_jax.training.networks import build_discriminator, build_generator


@pytest.mark.parametrize(
    ("experiment", "images_per_mix", "candidates"),
    [("chimeramix_grid", 2, 1), ("chimeramix_grid", 3, 4), ("chimeramix_grid_direct", 3, 1)],
)
def test_a_mix_is_made_of_the_sources_and_masks_that_it_reports(experiment, images_per_mix, candidates):
    config = load(f"digits:{experiment}")  # digits are neither cropped nor mirrored
    config.update_from_flattened_dict(
        TINY
        | {"mixing.images": images_per_mix, "mixing.discriminator_candidates": candidates}
        | {"classifier.image_side": 32, "precision": "float32"}
    )
    pixels = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    labels = np.arange(9) % 3
    networks = (None, None)
    if config.mixing.of == "features":
        networks = (build_generator(config, nnx.Rngs(0)), build_discriminator(config, nnx.Rngs(1)))
    mixer, parameters = Mixer.of(config, Augmentation.for_classifier(config.augment, 32), *networks)
    indices = jnp.array([0, 1, 2, 8])
    mixes = jax.jit(mixer.mix)(jax.random.key(0), to_device(pixels, labels, 3), indices, parameters)

    assert mixes.sources.shape == (images_per_mix, 4)
    np.testing.assert_array_equal(mixes.sources[0], indices)
    np.testing.assert_array_equal(labels[mixes.sources], np.tile(labels[indices], (images_per_mix, 1)))
    np.testing.assert_array_equal(jnp.sum(mixes.partition, axis=0), 1)
    sources = normalize(jnp.asarray(pixels)[mixes.sources])
    if networks[0] is None:
        expected = blend_many(sources, mixes.partition)
    else:
        generator = networks[0]
        features = jnp.stack([generator.encode(images) for images in sources])
        expected = generator.decode(blend_many(features, mixes.partition))
    np.testing.assert_allclose(mixes.images, expected, atol=1e-4)
