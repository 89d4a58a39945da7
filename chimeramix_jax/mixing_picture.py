"""The picture that a run makes of its mixing: pairs of images, masks, and what becomes of them."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from ml_collections import ConfigDict
from PIL import Image

from chimeramix_jax import mixing
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data import sampling
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.reporting import pictures

MOST_PAIRS = 10


def draw(
    config: ConfigDict, data: sampling.ResidentData, class_names: tuple[str, ...], generator: Generator | None
) -> Image.Image:
    """One pair of every class (of the first classes, where there are many), mixed, as a labelled sheet.

    Args:
        config: the run's settings; what its seed draws does not depend on how far the training is.
        data: the training images, at the size at which they are mixed.
        class_names: by label.
        generator: that mixes; None where pixels are mixed.
    """
    labels = np.asarray(data.labels)
    indices = jnp.asarray([np.flatnonzero(labels == label)[0] for label in np.unique(labels)[:MOST_PAIRS]])
    partner_key, key_a, key_b, mask_key = jax.random.split(jax.random.key(config.seed), 4)
    side = data.images.shape[1]
    augmentation = Augmentation.for_generator(config.augment, side)
    a = augmentation(key_a, data, indices).images
    b, segments = augmentation(key_b, data, sampling.same_class_partners(partner_key, data, indices))
    rule = mixing.MaskRule.of(config.mixing, side if generator is None else generator.features_side(side))
    masks = rule.partitions(mask_key, len(indices), segments, data.segment_labels)[0]
    names = [class_names[label] for label in labels[np.asarray(indices)]]
    if generator is None:
        return pictures.mixing_sheet(a, b, masks, mixing.blend(a, b, masks), class_names=names)
    mixes, reconstructions_a, reconstructions_b = _decoded(generator, a, b, masks)
    return pictures.mixing_sheet(a, b, masks, mixes, reconstructions_a, reconstructions_b, names)


@nnx.jit
def _decoded(generator: Generator, a, b, masks):
    """The mixes, and the reconstructions of both images."""
    features_a, features_b = generator.encode(a), generator.encode(b)
    mixed = mixing.blend(features_a, features_b, masks)
    return generator.decode(mixed), generator.decode(features_a), generator.decode(features_b)
