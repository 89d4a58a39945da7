"""The augmentation of training images on the device, in the published order."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer, PRNGKeyArray
from ml_collections import ConfigDict

from chimeramix_jax.augment import erasing
from chimeramix_jax.augment.geometry import RandomViews, ViewDraw
from chimeramix_jax.augment.policies import Draws, Policy
from chimeramix_jax.data.sampling import ResidentData
from chimeramix_jax.extensions import lookup, registry

_OWN_DRAWS = 2**31 - 1  # the address of a custom augmentation's random numbers; larger than those of the other draws


class Augmented(NamedTuple):
    """Augmented images in [-1, 1] and, if the masks need them, their segments."""

    images: Float[Array, "batch side side 3"]
    segments: Integer[Array, "batch side side"] | None


@dataclass(frozen=True)
class Augmentation:
    """A policy, crop and mirroring, Random Erasing, Cutout and a custom augmentation; each only if it is set."""

    views: RandomViews
    policy: Policy | None = None
    random_erasing_probability: float = 0.0
    cutout_side: int | None = None
    own: Any = None  # a function of key and images (``extensions.augmentation``)

    @classmethod
    def for_generator(cls, settings: ConfigDict, side: int) -> "Augmentation":
        """Returns only crop and mirroring, so that all experiments can share a generator.

        ``settings`` is ``config.augment``.
        """
        return cls(RandomViews.of(settings, side))

    @classmethod
    def for_classifier(cls, settings: ConfigDict, side: int) -> "Augmentation":
        """Returns everything set in ``config.augment``, for images of the given side."""
        return cls(
            RandomViews.of(settings, side),
            Policy.of(settings),
            settings.random_erasing_probability,
            settings.cutout_side if settings.cutout else None,
            lookup.find(registry.AUGMENTATION, settings.own, settings.own_code) if settings.own else None,
        )

    @property
    def segmented_padding(self) -> int:
        """Returns the width in pixels of the reflected margin that label maps must cover around the images.

        With a policy, which may move pixels, the margin is 0: the label maps are moved with the pixels first, and
        reflected afterwards.
        """
        return self.views.padding if self.policy is None else 0

    def __call__(self, key: PRNGKeyArray, data: ResidentData, indices: Int[Array, "batch"]) -> Augmented:
        """Returns newly drawn augmentations of the images at ``indices``."""
        policy_key, view_key, erasing_key, cutout_key = jax.random.split(key, 4)
        view, batch = self.views.draw(view_key, len(indices)), jnp.arange(len(indices))
        if self.policy is None:
            images = self.views.images(view, data.images, indices)
            segments = None if data.segments is None else self.views.labels(view, data.segments, indices)
        else:
            moves = self.policy.draw(policy_key, len(indices), data.images.shape[1])
            images = self.views.images(view, moves.images(data.images[indices]), batch)
            segments = self._moved_segments(moves, view, data, indices)
        if self.random_erasing_probability:
            images = erasing.random_erasing(erasing_key, images, self.random_erasing_probability)
        if self.cutout_side is not None:
            images = erasing.cutout(cutout_key, images, self.cutout_side)
        if self.own is not None:
            images = self.own(jax.random.fold_in(key, _OWN_DRAWS), images)
        return Augmented(images, segments)

    def _moved_segments(
        self, moves: Draws, view: ViewDraw, data: ResidentData, indices: Int[Array, "batch"]
    ) -> Int[Array, "batch side side"] | None:
        """Returns the segments after the policy's warps; pixels from beyond the image form a segment of their own."""
        if data.segments is None:
            return None
        moved = moves.labels(data.segments[indices].astype(jnp.int32), outside=data.segment_labels - 1)
        return self.views.reflected(view, moved, jnp.arange(len(indices)))
