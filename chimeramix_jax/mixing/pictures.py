"""The pictures that a run makes of its mixing: pairs of images, masks, and what becomes of them."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from ml_collections import ConfigDict
from PIL import Image

from chimeramix_jax import config as settings
from chimeramix_jax.augment.geometry import resize_align_corners
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data import sampling
from chimeramix_jax.mixing.blending import blend
from chimeramix_jax.mixing.masks import MaskRule
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.reporting import pictures
from chimeramix_jax.runtime.precision import computing

MOST_PAIRS = 10
MASKS_OF_A_PAIR = MOST_PAIRS - 2  # and one of ones and one of zeros: as many mixes, which are not compiled anew

PAIRS, MASKS = "mixing", "masks"  # the sheets' names


class MixingPictures:
    """Pairs of training images and their masks, to be mixed by a generator whenever one is to be looked at."""

    def __init__(self, config: ConfigDict, data: sampling.ResidentData, class_names: tuple[str, ...]):
        """Draws pairs and masks; what the run's seed draws does not depend on how far the training is.

        Args:
            config: the run's settings.
            data: the training images, at the size at which they are augmented.
            class_names: by label.
        """
        self._precision, labels = config.precision, np.asarray(data.labels)
        indices = np.array([np.flatnonzero(labels == label)[0] for label in np.unique(labels)[:MOST_PAIRS]])
        augmentation = Augmentation.for_generator(config.augment, data.images.shape[1])
        side = config.generator.image_side
        of_features = settings.needs_generator(config)
        rule = MaskRule.of(config.mixing, Generator.features_side(side) if of_features else side)
        # One compiled call: else XLA would compile every operation for itself.
        self._pairs = jax.jit(partial(_draw_pairs, augmentation, rule, side))(
            jax.random.key(config.seed), data, indices
        )
        self._names = [class_names[label] for label in labels[indices]]

    def draw(self, generator: Generator | None) -> dict[str, Image.Image]:
        """Mixes the pairs; returns both sheets by their names.

        ``PAIRS`` shows one pair of every class (of the first classes, where there are many), ``MASKS`` one of these
        pairs by several masks.

        Args:
            generator: that mixes; None where pixels are mixed.
        """
        pairs = self._pairs
        one = int(np.argmax(pairs.differ))  # the first of two different images, not of two views of one
        a, b = (jnp.repeat(images[one][None], len(pairs.masks_of_one), axis=0) for images in (pairs.a, pairs.b))
        masks = pairs.masks_of_one[:, one]
        mix = _blended if generator is None else partial(_decoded, generator)
        with computing(self._precision):
            mixes, again_a, again_b = mix(pairs.a, pairs.b, pairs.masks)
            mixes_of_one, *_ = mix(a, b, masks)
        return {
            PAIRS: pictures.mixing_sheet(pairs.a, pairs.b, pairs.masks, mixes, again_a, again_b, self._names),
            MASKS: pictures.masks_sheet(a[0], b[0], masks, mixes_of_one),
        }


class _Pairs(NamedTuple):
    """Two views each, whether they are of different images, a mask each, and several more for each."""

    a: Float[Array, "pairs side side 3"]
    b: Float[Array, "pairs side side 3"]
    differ: Bool[Array, "pairs"]
    masks: Float[Array, "pairs mask_side mask_side 1"]
    masks_of_one: Float[Array, "masks pairs mask_side mask_side 1"]


def _draw_pairs(
    augmentation: Augmentation,
    rule: MaskRule,
    side: int,
    key: PRNGKeyArray,
    data: sampling.ResidentData,
    indices: Int[Array, "pairs"],
) -> _Pairs:
    partner_key, key_a, key_b, mask_key = jax.random.split(key, 4)
    partners = sampling.same_class_partners(partner_key, data, indices)
    a = augmentation(key_a, data, indices).images
    b, segments = augmentation(key_b, data, partners)

    def masks(key: PRNGKeyArray) -> Float[Array, "pairs mask_side mask_side 1"]:
        return rule.partitions(key, len(indices), segments, data.segment_labels)[0]

    more = jax.vmap(masks)(jax.random.split(jax.random.fold_in(mask_key, 1), MASKS_OF_A_PAIR))
    more = jnp.concatenate([jnp.ones_like(more[:1]), more, jnp.zeros_like(more[:1])])
    a, b = (resize_align_corners(images, side) for images in (a, b))
    return _Pairs(a, b, indices != partners, masks(mask_key), more)


def _blended(a, b, masks):
    """The mixes of pixels, of which there are no reconstructions."""
    return blend(a, b, masks), None, None


@nnx.jit
def _decoded(generator: Generator, a, b, masks):
    """The mixes, and the reconstructions of both images."""
    features_a, features_b = generator.encode(a), generator.encode(b)
    mixed = blend(features_a, features_b, masks)
    return generator.decode(mixed), generator.decode(features_a), generator.decode(features_b)
