"""The pictures that a run makes of its mixing: pairs of images, masks, and what becomes of them."""

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
MASKS_OF_A_PAIR = MOST_PAIRS - 2  # and one of ones and one of zeros: as many mixes, which are not compiled anew

PAIRS, MASKS = "mixing", "masks"  # the sheets' names


def draw(
    config: ConfigDict, data: sampling.ResidentData, class_names: tuple[str, ...], generator: Generator | None
) -> dict[str, Image.Image]:
    """Mixes pairs of training images; returns both sheets by their names.

    ``PAIRS`` shows one pair of every class (of the first classes, where there are many), ``MASKS`` one of these pairs
    by several masks.

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
    partners = sampling.same_class_partners(partner_key, data, indices)
    b, segments = augmentation(key_b, data, partners)
    rule = mixing.MaskRule.of(config.mixing, side if generator is None else generator.features_side(side))
    masks = rule.partitions(mask_key, len(indices), segments, data.segment_labels)[0]
    names = [class_names[label] for label in labels[np.asarray(indices)]]
    pair = int(np.argmax(indices != partners))  # the first of two different images
    repeated = None if segments is None else _repeated(segments[pair], MASKS_OF_A_PAIR)
    other_key = jax.random.fold_in(mask_key, 1)  # so that the first sheet's masks are not drawn again
    more_masks = rule.partitions(other_key, MASKS_OF_A_PAIR, repeated, data.segment_labels)[0]
    more_masks = jnp.concatenate([jnp.ones_like(more_masks[:1]), more_masks, jnp.zeros_like(more_masks[:1])])
    return {
        PAIRS: _pairs_sheet(generator, a, b, masks, names),
        MASKS: pictures.masks_sheet(a[pair], b[pair], more_masks, _mixes(generator, a[pair], b[pair], more_masks)),
    }


def _pairs_sheet(generator: Generator | None, a, b, masks, names: list[str]) -> Image.Image:
    if generator is None:
        return pictures.mixing_sheet(a, b, masks, mixing.blend(a, b, masks), class_names=names)
    mixes, reconstructions_a, reconstructions_b = _decoded(generator, a, b, masks)
    return pictures.mixing_sheet(a, b, masks, mixes, reconstructions_a, reconstructions_b, names)


def _mixes(generator: Generator | None, a, b, masks):
    """One pair by several masks."""
    a, b = _repeated(a, len(masks)), _repeated(b, len(masks))
    return mixing.blend(a, b, masks) if generator is None else _decoded(generator, a, b, masks)[0]


def _repeated(image, times: int):
    return jnp.repeat(image[None], times, axis=0)


@nnx.jit
def _decoded(generator: Generator, a, b, masks):
    """The mixes, and the reconstructions of both images."""
    features_a, features_b = generator.encode(a), generator.encode(b)
    mixed = mixing.blend(features_a, features_b, masks)
    return generator.decode(mixed), generator.decode(features_a), generator.decode(features_b)
