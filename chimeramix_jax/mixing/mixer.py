"""Mixes the classifier's images: draws partners of the same class and masks, and blends features (or pixels)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree
from ml_collections import ConfigDict

from chimeramix_jax.augment.geometry import resize_align_corners
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data import sampling
from chimeramix_jax.mixing import sources
from chimeramix_jax.mixing.blending import blend_many, encoded
from chimeramix_jax.mixing.masks import MaskRule
from chimeramix_jax.models.discriminator import Discriminator
from chimeramix_jax.models.generator import Generator
from chimeramix_jax.runtime.precision import computing

Parameters = dict[str, PyTree]
Partition = Float[Array, "images batch mask_side mask_side 1"]


class Mixes(NamedTuple):
    """Mixed images, and what they were mixed from.

    Attributes:
        images: the mixes, in [-1, 1].
        views: the augmented images that they were mixed from.
        sources: positions of their source images among the training images.
        partition: which source each position of a mix is taken from.
    """

    images: Float[Array, "batch side side 3"]
    views: Float[Array, "images batch side side 3"]
    sources: Int[Array, "images batch"]
    partition: Partition


@dataclass(frozen=True)
class Mixer:
    """Mixes each image of a batch with others of its class.

    The images are augmented independently, resized to the generator's side, mixed there, and resized back. With a
    generator, which is frozen, features are blended and decoded; without one, pixels are blended. With a discriminator,
    several candidates are mixed for each image, and the one with the highest mean score is chosen.

    Attributes:
        augmentation: of every image, before mixing.
        masks: how masks are drawn.
        images: number of images per mix.
        candidates: number of mixes to choose from.
        generator_side: pixels per side at which images are mixed.
        precision: ``config.precision``.
        generator: mixes features; None: pixels are mixed.
        discriminator: chooses among the candidates; None: there is only one.
    """

    augmentation: Augmentation
    masks: MaskRule
    images: int
    candidates: int
    generator_side: int
    precision: str
    generator: nnx.GraphDef[Generator] | None = None
    discriminator: nnx.GraphDef[Discriminator] | None = None

    @classmethod
    def of(
        cls,
        config: ConfigDict,
        augmentation: Augmentation,
        generator: Generator | None,
        discriminator: Discriminator | None,
    ) -> tuple["Mixer", Parameters]:
        """Returns the mixer described by the settings, and its networks' parameters, which every call takes.

        The generator is None if pixels are mixed. The discriminator is only used if there are several candidates.
        """
        settings, side = config.mixing, config.generator.image_side
        mask_side = side if generator is None else generator.features_side(side)
        networks: dict[str, nnx.Module] = {}
        if generator is not None:
            networks["generator"] = generator
        if discriminator is not None and settings.discriminator_candidates > 1:
            networks["discriminator"] = discriminator
        mixer = cls(
            augmentation,
            MaskRule.of(settings, mask_side),
            settings.images,
            settings.discriminator_candidates,
            side,
            config.precision,
            **{name: nnx.graphdef(network) for name, network in networks.items()},
        )
        return mixer, {name: nnx.state(network) for name, network in networks.items()}

    def __call__(
        self, key: PRNGKeyArray, data: sampling.ResidentData, indices: Int[Array, "batch"], parameters: Parameters
    ) -> Float[Array, "batch side side 3"]:
        """Returns mixes of the images at ``indices``, in [-1, 1]."""
        return self.mix(key, data, indices, parameters).images

    def mix(
        self, key: PRNGKeyArray, data: sampling.ResidentData, indices: Int[Array, "batch"], parameters: Parameters
    ) -> Mixes:
        """Returns mixes of the images at ``indices``, with their views, sources and masks."""
        partner_key, view_key, mask_key = jax.random.split(key, 3)
        partner_keys = jax.random.split(partner_key, self.images - 1)
        view_keys = jax.random.split(view_key, self.images)
        positions, images, segments = sources.draw(partner_keys, view_keys, self.augmentation, data, indices)
        partitions = [
            self.masks.partitions(key, len(indices), segments, data.segment_labels, self.images)
            for key in jax.random.split(mask_key, self.candidates)
        ]
        resized = resize_align_corners(jnp.concatenate(images), self.generator_side)
        resized = resized.reshape(*images.shape[:2], *resized.shape[1:])
        if self.generator is None:
            mixed, partition = blend_many(resized, partitions[0]), partitions[0]
        else:
            with computing(self.precision):
                mixed, partition = self._decoded(resized, partitions, parameters)
        return Mixes(resize_align_corners(mixed, images.shape[2]), images, positions, partition)

    def _decoded(
        self,
        images: Float[Array, "images batch generator_side generator_side 3"],
        partitions: Sequence[Partition],
        parameters: Parameters,
    ) -> tuple[Float[Array, "batch generator_side generator_side 3"], Partition]:
        """Blends the images' features by each partition, decodes them, and chooses the most realistic candidates.

        Returns:
            The decoded images, and the partitions by which they were blended.
        """
        assert self.generator is not None
        generator = nnx.merge(self.generator, parameters["generator"])
        features = encoded(generator, images)
        blends = [blend_many(features, partition) for partition in partitions]
        decoded = generator.decode(jnp.concatenate(blends)).astype(images.dtype)
        if self.discriminator is None:
            return decoded, partitions[0]
        scores = nnx.merge(self.discriminator, parameters["discriminator"])(decoded)
        scores = jnp.mean(scores.astype(jnp.float32), axis=(1, 2, 3)).reshape(len(partitions), -1)
        best = jnp.argmax(scores, axis=0)
        chosen = (best, jnp.arange(len(best)))
        partition = jnp.stack(partitions, axis=1)[:, *chosen]
        return decoded.reshape(*scores.shape, *decoded.shape[1:])[chosen], partition
