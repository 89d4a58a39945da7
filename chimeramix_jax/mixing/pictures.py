"""The pictures that a run draws of its mixing: pairs of images, masks, and mixes."""

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
from chimeramix_jax.augment.geometry import RandomViews, resize_align_corners
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data import sampling
from chimeramix_jax.mixing import sources
from chimeramix_jax.mixing.blending import blend
from chimeramix_jax.mixing.masks import MaskRule
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.reporting import pictures
from chimeramix_jax.runtime.precision import computing

MOST_PAIRS = 10
MASKS_PER_PAIR = MOST_PAIRS - 2  # with one of ones and one of zeros: as many mixes as pairs, so no new compilation

PAIRS, MASKS = "mixing", "masks"  # names of the sheets

_Images = Float[Array, "pairs side side 3"]
_Masks = Float[Array, "pairs mask_side mask_side 1"]


class MixingPictures:
    """Fixed pairs of training images with masks, which show how a generator mixes at any time in training."""

    def __init__(
        self, config: ConfigDict, data: sampling.ResidentData, views: RandomViews, class_names: tuple[str, ...]
    ):
        """Draws pairs and masks, which depend on the run's seed but not on the progress of training.

        Args:
            config: the run's settings.
            data: the training images, at the size at which they are augmented.
            views: how they are cropped and mirrored, which is all that is done to them here.
            class_names: names of the classes, by label.
        """
        self._precision, labels = config.precision, np.asarray(data.labels)
        indices = np.array([np.flatnonzero(labels == label)[0] for label in np.unique(labels)[:MOST_PAIRS]])
        side = config.generator.image_side
        of_features = settings.needs_generator(config)
        rule = MaskRule.of(config.mixing, Generator.features_side(side) if of_features else side)
        # In one compiled call, since XLA would otherwise compile every operation separately.
        self._pairs = jax.jit(partial(_draw_pairs, Augmentation(views), rule, side))(
            jax.random.key(config.seed), data, indices
        )
        self._names = [class_names[label] for label in labels[indices]]

    def draw(self, generator: Generator | None) -> dict[str, Image.Image]:
        """Mixes the pairs and draws both sheets, which are returned by name.

        ``PAIRS`` shows one pair of every class, or of the first ``MOST_PAIRS`` classes. ``MASKS`` shows one of these
        pairs, mixed by several masks.

        Args:
            generator: mixes the pairs' features; None: their pixels are mixed.
        """
        pairs = self._pairs
        chosen = int(np.argmax(pairs.differ))  # the first pair of two different images, not two views of the same
        a, b = (jnp.repeat(images[chosen][None], len(pairs.more_masks), axis=0) for images in (pairs.a, pairs.b))
        masks = pairs.more_masks[:, chosen]
        mix = _blended if generator is None else partial(_decoded, generator)
        with computing(self._precision):
            of_pairs, of_masks = mix(pairs.a, pairs.b, pairs.masks), mix(a, b, masks)
        return {
            PAIRS: pictures.mixing_sheet(pairs.a, pairs.b, pairs.masks, *of_pairs, self._names),
            MASKS: pictures.masks_sheet(a[0], b[0], masks, of_masks.mixes),
        }


class _Pairs(NamedTuple):
    """Views of both images, whether these are different images, a mask for each pair, and more masks for each."""

    a: _Images
    b: _Images
    differ: Bool[Array, "pairs"]
    masks: _Masks
    more_masks: Float[Array, "masks pairs mask_side mask_side 1"]


class _Mixed(NamedTuple):
    """Mixes of pairs, and the reconstructions of both images; None where pixels are mixed."""

    mixes: _Images
    reconstructions_a: _Images | None
    reconstructions_b: _Images | None


def _draw_pairs(
    augmentation: Augmentation,
    rule: MaskRule,
    side: int,
    key: PRNGKeyArray,
    data: sampling.ResidentData,
    indices: Int[Array, "pairs"],
) -> _Pairs:
    keys = jax.random.split(key, 4)
    partner_keys, view_keys, mask_key = keys[:1], keys[1:3], keys[3]
    positions, views, segments = sources.draw(partner_keys, view_keys, augmentation, data, indices)

    def masks(key: PRNGKeyArray) -> _Masks:
        return rule.partitions(key, len(indices), segments, data.segment_labels)[0]

    more = jax.vmap(masks)(jax.random.split(jax.random.fold_in(mask_key, 1), MASKS_PER_PAIR))
    more = jnp.concatenate([jnp.ones_like(more[:1]), more, jnp.zeros_like(more[:1])])
    a, b = (resize_align_corners(images, side) for images in views)
    return _Pairs(a, b, positions[0] != positions[1], masks(mask_key), more)


def _blended(a: _Images, b: _Images, masks: _Masks) -> _Mixed:
    """Mixes the pairs' pixels."""
    return _Mixed(blend(a, b, masks), None, None)


@nnx.jit
def _decoded(generator: Generator, a: _Images, b: _Images, masks: _Masks) -> _Mixed:
    """Mixes the pairs' features."""
    features_a, features_b = generator.encode(a), generator.encode(b)
    mixed = blend(features_a, features_b, masks)
    return _Mixed(generator.decode(mixed), generator.decode(features_a), generator.decode(features_b))
