"""Augmentation policies: the operations that each image gets, and their magnitudes.

AutoAugment is by Cubuk et al., CVPR 2019 (arXiv 1805.09501), RandAugment by Cubuk et al., 2020 (arXiv 1909.13719),
TrivialAugment by Müller and Hutter, ICCV 2021 (arXiv 2103.10158). Operations, magnitudes and AutoAugment's 25 pairs are
those of torchvision's ``AutoAugment``, ``RandAugment`` and ``TrivialAugmentWide``. All functions draw independently for
each image, from a single key.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.augment.operations import Operation, apply, warp_labels
from chimeramix_jax.config.rules import POLICIES
from chimeramix_jax.errors import not_one_of

Magnitudes = Mapping[Operation, Float[np.ndarray, "bins"]]


class Draws(NamedTuple):
    """The operations drawn for each image, in the order of application, and their magnitudes (see ``Operation``)."""

    operations: Int[Array, "batch steps"]
    magnitudes: Float[Array, "batch steps"]

    def images(self, images: UInt8[Array, "batch height width 3"]) -> UInt8[Array, "batch height width 3"]:
        """Applies the operations to the images."""
        for operations, magnitudes in zip(self.operations.T, self.magnitudes.T, strict=True):
            images = apply(images, operations, magnitudes)
        return images

    def labels(self, labels: Int[Array, "batch height width"], outside: int) -> Int[Array, "batch height width"]:
        """Moves the labels of the images' pixels; ``outside`` is the label of pixels from beyond the image."""
        for operations, magnitudes in zip(self.operations.T, self.magnitudes.T, strict=True):
            labels = warp_labels(labels, operations, magnitudes, outside)
        return labels


@dataclass(frozen=True)
class Policy:
    """A policy: "autoaugment" with one of its published sets of pairs, "randaugment", or "trivialaugment".

    ``operations`` per image and their ``magnitude``, from 0 to 30, are those of RandAugment.
    """

    name: str
    autoaugment_policy: str
    operations: int = 2
    magnitude: int = 9

    @classmethod
    def of(cls, settings: ConfigDict) -> "Policy | None":
        """Returns the policy set in ``config.augment``, or None."""
        if settings.policy == "none":
            return None
        strengths = settings.randaugment_operations, settings.randaugment_magnitude
        return cls(settings.policy, settings.autoaugment_policy, *strengths)

    def draw(self, key: PRNGKeyArray, batch_size: int, side: int) -> Draws:
        """Draws operations independently for each of ``batch_size`` images of the given side."""
        if self.name == "autoaugment":
            return auto_augment_draws(key, batch_size, side, self.autoaugment_policy)
        if self.name == "randaugment":
            return rand_augment_draws(key, batch_size, side, self.operations, self.magnitude)
        if self.name == "trivialaugment":
            return trivial_augment_wide_draws(key, batch_size)
        raise not_one_of("augment.policy", self.name, POLICIES)


def auto_augment(
    key: PRNGKeyArray, images: UInt8[Array, "batch side side 3"], policy: str
) -> UInt8[Array, "batch side side 3"]:
    """Applies AutoAugment with the policy found on ``"cifar10"`` or ``"imagenet"``.

    Each image gets one of the policy's 25 pairs of operations; each of the two is applied with its own probability.
    """
    return auto_augment_draws(key, images.shape[0], images.shape[1], policy).images(images)


def trivial_augment_wide(
    key: PRNGKeyArray, images: UInt8[Array, "batch height width 3"]
) -> UInt8[Array, "batch height width 3"]:
    """Applies TrivialAugment (wide space): a single operation per image; operation and magnitude are uniform."""
    return trivial_augment_wide_draws(key, images.shape[0]).images(images)


def rand_augment(
    key: PRNGKeyArray, images: UInt8[Array, "batch side side 3"], operations: int = 2, magnitude: int = 9
) -> UInt8[Array, "batch side side 3"]:
    """Applies RandAugment: ``operations`` uniformly drawn operations per image, all of the same strength (0 to 30)."""
    return rand_augment_draws(key, images.shape[0], images.shape[1], operations, magnitude).images(images)


def auto_augment_draws(key: PRNGKeyArray, batch_size: int, side: int, policy: str) -> Draws:
    """Draws the operations of ``auto_augment`` for images of the given side: two for each image."""
    if policy not in AUTO_AUGMENT_PAIRS:
        raise not_one_of("policy", policy, AUTO_AUGMENT_PAIRS)
    pairs, magnitudes = AUTO_AUGMENT_PAIRS[policy], _by_code(auto_augment_magnitudes(side))
    pair_key, happens_key, sign_key = jax.random.split(key, 3)
    pair = jax.random.randint(pair_key, (batch_size,), 0, len(pairs.operations))
    happens = jax.random.uniform(happens_key, (batch_size, 2)) < jnp.asarray(pairs.probabilities)[pair]
    operations = jnp.asarray(pairs.operations)[pair]
    strengths = _random_signs(sign_key, operations, magnitudes[operations, jnp.asarray(pairs.bins)[pair]])
    return Draws(jnp.where(happens, operations, Operation.IDENTITY), jnp.where(happens, strengths, 0))


def rand_augment_draws(key: PRNGKeyArray, batch_size: int, side: int, operations: int, magnitude: int) -> Draws:
    """Draws the operations of ``rand_augment`` for images of the given side."""
    operation_key, sign_key = jax.random.split(key)
    magnitudes = _by_code(rand_augment_magnitudes(side))
    chosen = jax.random.choice(operation_key, _ALL_BUT_INVERSION, (batch_size, operations))
    return Draws(chosen, _random_signs(sign_key, chosen, magnitudes[chosen, magnitude]))


def trivial_augment_wide_draws(key: PRNGKeyArray, batch_size: int) -> Draws:
    """Draws the operations of ``trivial_augment_wide``: one for each image."""
    operation_key, bin_key, sign_key = jax.random.split(key, 3)
    magnitudes = _by_code(TRIVIAL_AUGMENT_MAGNITUDES)
    operations = jax.random.choice(operation_key, _ALL_BUT_INVERSION, (batch_size, 1))
    bins = jax.random.randint(bin_key, (batch_size, 1), 0, magnitudes.shape[1])
    return Draws(operations, _random_signs(sign_key, operations, magnitudes[operations, bins]))


def auto_augment_magnitudes(side: int) -> Magnitudes:
    """Returns AutoAugment's ten magnitudes of each operation that has any, weakest first, for images of that side."""
    return _magnitudes(10, shear=0.3, translate=150 / 331 * side, rotate=30, enhance=0.9, fewest_bits=4)


def rand_augment_magnitudes(side: int) -> Magnitudes:
    """Returns RandAugment's 31 magnitudes of each operation that has any, weakest first, for images of that side."""
    return _magnitudes(31, shear=0.3, translate=150 / 331 * side, rotate=30, enhance=0.9, fewest_bits=4)


def _magnitudes(
    bins: int, *, shear: float, translate: float, rotate: float, enhance: float, fewest_bits: int
) -> Magnitudes:
    """Returns evenly spaced magnitudes up to the given maxima, in the units of ``Operation``."""
    strongest = {
        Operation.SHEAR_X: shear,
        Operation.SHEAR_Y: shear,
        Operation.TRANSLATE_X: translate,
        Operation.TRANSLATE_Y: translate,
        Operation.ROTATE: rotate,
        Operation.BRIGHTNESS: enhance,
        Operation.COLOR: enhance,
        Operation.CONTRAST: enhance,
        Operation.SHARPNESS: enhance,
    }
    return {operation: np.linspace(0, end, bins) for operation, end in strongest.items()} | {
        Operation.POSTERIZE: 8 - np.round(np.linspace(0, 8 - fewest_bits, bins)),
        Operation.SOLARIZE: np.linspace(255, 0, bins),
    }


def _by_code(magnitudes: Magnitudes) -> Float[Array, "operations bins"]:
    """Returns the magnitudes as a table with a row for each operation's code; zeros for operations without any."""
    bins = len(next(iter(magnitudes.values())))
    return jnp.array([magnitudes.get(operation, np.zeros(bins)) for operation in Operation], jnp.float32)


def _random_signs(
    key: PRNGKeyArray, operations: Int[Array, "batch ..."], magnitudes: Float[Array, "batch ..."]
) -> Float[Array, "batch ..."]:
    """Negates each magnitude with probability 1/2 if its operation works in two directions."""
    one_way = (operations == Operation.POSTERIZE) | (operations == Operation.SOLARIZE)
    signs = jax.random.rademacher(key, operations.shape, magnitudes.dtype)
    return jnp.where(one_way, magnitudes, signs * magnitudes)


class Pairs(NamedTuple):
    """A policy's pairs of operations, and the probability and magnitude bin (0 to 9) of each operation."""

    operations: Int[np.ndarray, "pairs 2"]
    probabilities: Float[np.ndarray, "pairs 2"]
    bins: Int[np.ndarray, "pairs 2"]


def _parse(table: str) -> Pairs:
    """Parses a pair per line: twice operation, probability and bin (0 for operations without a magnitude)."""
    fields = np.array([line.split() for line in table.strip().splitlines()]).reshape(-1, 2, 3)
    codes = np.array([Operation[name.upper()] for name in fields[..., 0].flat], np.int32)
    return Pairs(codes.reshape(-1, 2), fields[..., 1].astype(np.float32), fields[..., 2].astype(np.int32))


_CIFAR10 = """
    invert        0.1 0   contrast      0.2 6
    rotate        0.7 2   translate_x   0.3 9
    sharpness     0.8 1   sharpness     0.9 3
    shear_y       0.5 8   translate_y   0.7 9
    auto_contrast 0.5 0   equalize      0.9 0
    shear_y       0.2 7   posterize     0.3 7
    color         0.4 3   brightness    0.6 7
    sharpness     0.3 9   brightness    0.7 9
    equalize      0.6 0   equalize      0.5 0
    contrast      0.6 7   sharpness     0.6 5
    color         0.7 7   translate_x   0.5 8
    equalize      0.3 0   auto_contrast 0.4 0
    translate_y   0.4 3   sharpness     0.2 6
    brightness    0.9 6   color         0.2 8
    solarize      0.5 2   invert        0.0 0
    equalize      0.2 0   auto_contrast 0.6 0
    equalize      0.2 0   equalize      0.6 0
    color         0.9 9   equalize      0.6 0
    auto_contrast 0.8 0   solarize      0.2 8
    brightness    0.1 3   color         0.7 0
    solarize      0.4 5   auto_contrast 0.9 0
    translate_y   0.9 9   translate_y   0.7 9
    auto_contrast 0.9 0   solarize      0.8 3
    equalize      0.8 0   invert        0.1 0
    translate_y   0.7 9   auto_contrast 0.9 0
"""

_IMAGENET = """
    posterize     0.4 8   rotate        0.6 9
    solarize      0.6 5   auto_contrast 0.6 0
    equalize      0.8 0   equalize      0.6 0
    posterize     0.6 7   posterize     0.6 6
    equalize      0.4 0   solarize      0.2 4
    equalize      0.4 0   rotate        0.8 8
    solarize      0.6 3   equalize      0.6 0
    posterize     0.8 5   equalize      1.0 0
    rotate        0.2 3   solarize      0.6 8
    equalize      0.6 0   posterize     0.4 6
    rotate        0.8 8   color         0.4 0
    rotate        0.4 9   equalize      0.6 0
    equalize      0.0 0   equalize      0.8 0
    invert        0.6 0   equalize      1.0 0
    color         0.6 4   contrast      1.0 8
    rotate        0.8 8   color         1.0 2
    color         0.8 8   solarize      0.8 7
    sharpness     0.4 7   invert        0.6 0
    shear_x       0.6 5   equalize      1.0 0
    color         0.4 0   equalize      0.6 0
    equalize      0.4 0   solarize      0.2 4
    solarize      0.6 5   auto_contrast 0.6 0
    invert        0.6 0   equalize      1.0 0
    color         0.6 4   contrast      1.0 8
    equalize      0.8 0   equalize      0.6 0
"""

AUTO_AUGMENT_PAIRS = {"cifar10": _parse(_CIFAR10), "imagenet": _parse(_IMAGENET)}

# TrivialAugment's 31 magnitudes of each operation that has any, weakest first; the same for images of any size.
TRIVIAL_AUGMENT_MAGNITUDES = _magnitudes(31, shear=0.99, translate=32, rotate=135, enhance=0.99, fewest_bits=2)

_ALL_BUT_INVERSION = np.array([operation for operation in Operation if operation != Operation.INVERT])
