"""The allowed values of every setting. The defaults are in ``defaults.py`` only."""

import itertools
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

POLICIES = ("none", "autoaugment", "trivialaugment")  # implemented in augment/policies.py
AUTOAUGMENT_POLICIES = ("cifar10", "imagenet")  # the data sets on which AutoAugment's policies were found

PUBLISHED = "published"  # fair coins for a grid's cells, bounds for segments
SHARES = (PUBLISHED, "equal", "dirichlet", "stick_breaking")  # implemented in mixing/masks.py

LARGEST_SEED = 2**31 - 1  # JAX uses 32 bits of a seed, so larger seeds would silently equal smaller ones


@dataclass(frozen=True)
class Rule:
    """The allowed values of a setting: ``allowed`` is their description, ``holds`` a test that never raises."""

    allowed: str
    holds: Callable[[Any], bool]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # True equals 1 in Python, but here it is a mistake


def _is_number(value: Any) -> bool:
    return (_is_integer(value) or isinstance(value, float)) and math.isfinite(value)


def _integer(minimum: int, maximum: int | None = None, multiple_of: int = 1) -> Rule:
    kind = "a whole number" if multiple_of == 1 else f"a multiple of {multiple_of}"
    bounds = f"from {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def holds(value: Any) -> bool:
        within = _is_integer(value) and value >= minimum and (maximum is None or value <= maximum)
        return within and value % multiple_of == 0

    return Rule(f"{kind} {bounds}", holds)


def _number(allowed: str, within: Callable[[float], bool]) -> Rule:
    return Rule(allowed, lambda value: _is_number(value) and within(value))


def _choice(*names: str) -> Rule:
    return Rule("one of " + ", ".join(names), lambda value: isinstance(value, str) and value in names)


def _increasing_shares(value: Any) -> bool:
    if not isinstance(value, tuple | list) or not all(_is_number(share) and 0 < share < 1 for share in value):
        return False
    return all(earlier < later for earlier, later in itertools.pairwise(value))


YES_OR_NO = Rule("true or false", lambda value: isinstance(value, bool))
_TEXT = Rule("text", lambda value: isinstance(value, str))
_NAME = Rule(
    "a name of letters, digits, '_', '-' and '.'",
    lambda value: isinstance(value, str) and re.fullmatch(r"\w[\w.-]*", value) is not None,
)
# The upper limits are far beyond any sensible run; they keep a typing error from exhausting the memory.
_COUNT = _integer(1, 1_000_000)
_FEW = _integer(1, 64)
_FEW_OR_NONE = _integer(0, 64)
_BATCH_SIZE = _integer(1, 65_536)
_CHANNELS = _integer(1, 1024)
_COUNT_OR_ALL = Rule(f"{_COUNT.allowed}, or None for all images", lambda value: value is None or _COUNT.holds(value))
_SEED = _integer(0, LARGEST_SEED)
_SIDE = _integer(8, 1024, multiple_of=4)
_POSITIVE = _number("a number above 0 and up to 1e30", lambda value: 0 < value <= 1e30)
_NOT_NEGATIVE = _number("a number from 0 to 1e30", lambda value: 0 <= value <= 1e30)
_BELOW_ONE = _number("a number from 0 to below 1", lambda value: 0 <= value < 1)

SETTINGS: Mapping[str, Rule] = {
    "experiment": _NAME,
    "seed": _SEED,
    "seeds": _TEXT,  # checked in seed_lists.py
    "max_labels_per_class": _COUNT_OR_ALL,
    "compare_with_baseline": YES_OR_NO,
    "precision": _choice("auto", "float32", "tensorfloat32", "bfloat16"),
    "dataset.name": _TEXT,  # checked against the catalog
    "dataset.data_dir": _TEXT,
    "dataset.evaluate_on": _choice("test", "validation"),
    "dataset.archive": _TEXT,
    "dataset.directory": _TEXT,
    "dataset.image_side": _integer(8, 1024),
    "dataset.skip_unreadable": YES_OR_NO,
    "dataset.holdout_fraction": _number("a number between 0 and 1", lambda value: 0 < value < 1),
    "dataset.holdout_seed": _SEED,
    # A reflection cannot be wider than the image, and no crop needs more than half of it.
    "augment.crop_padding_fraction": _number("a number from 0 to 0.5", lambda value: 0 <= value <= 0.5),
    "augment.horizontal_flip": YES_OR_NO,
    "augment.policy": _choice(*POLICIES),
    "augment.autoaugment_policy": _choice(*AUTOAUGMENT_POLICIES),
    "augment.random_erasing_probability": _number("a number from 0 to 1", lambda value: 0 <= value <= 1),
    "augment.cutout": YES_OR_NO,
    "augment.cutout_side": _integer(2, 1024),
    "augment.mixup": YES_OR_NO,
    "mixing.mask": _choice("grid", "segmentation", "none"),
    "mixing.of": _choice("features", "pixels"),
    "mixing.probability": _number("a number above 0 and up to 1", lambda value: 0 < value <= 1),
    "mixing.images": _integer(2, 64),
    "mixing.shares": _choice(*SHARES),
    "mixing.mix_size": _integer(2, 1024),
    "mixing.segmentation_scale": _POSITIVE,
    "mixing.segmentation_min_size": _integer(0, 1_000_000),
    "mixing.segmentation_sigma": _number("a number from 0 to 100", lambda value: 0 <= value <= 100),
    "mixing.discriminator_candidates": _FEW,
    "generator.image_side": _SIDE,
    "generator.channels": _CHANNELS,
    "generator.discriminator_channels": _CHANNELS,
    "generator.residual_blocks": _FEW_OR_NONE,
    "generator.decoder_residual_blocks": _FEW_OR_NONE,
    "generator.images": _integer(2, 64),
    "generator.batch_size": _BATCH_SIZE,
    "generator.num_dataset_repeats_base": _COUNT,
    "generator.epochs": _COUNT,
    "generator.learning_rate": _POSITIVE,
    "generator.adam_b1": _BELOW_ONE,
    "generator.adam_b2": _BELOW_ONE,
    "generator.learning_rate_drops": Rule("increasing numbers between 0 and 1, such as (0.3, 0.6)", _increasing_shares),
    "generator.learning_rate_drop_factor": _number("a number above 0 and up to 1", lambda value: 0 < value <= 1),
    "generator.reconstruction_weight": _NOT_NEGATIVE,
    "generator.adversarial_weight": _NOT_NEGATIVE,
    "generator.perceptual_weight": _NOT_NEGATIVE,
    "classifier.model": _TEXT,
    "classifier.image_side": _SIDE,
    "classifier.dropout_rate": _BELOW_ONE,
    "classifier.batch_size": _BATCH_SIZE,
    "classifier.num_dataset_repeats_base": _COUNT,
    "classifier.epochs": _COUNT,
    "classifier.learning_rate": _POSITIVE,
    "classifier.momentum": _BELOW_ONE,
    "classifier.weight_decay": _NOT_NEGATIVE,
    "repeat_unlimited": YES_OR_NO,
    "evaluation.every_epochs": _COUNT,
    "evaluation.batch_size": _BATCH_SIZE,
    "checkpoint.every_seconds": _NOT_NEGATIVE,
    "checkpoint.keep": _COUNT,
    "logging.tensorboard": YES_OR_NO,
    "logging.wandb": _choice("off", "offline", "online"),
    "logging.wandb_project": _NAME,
    "on_nonfinite": _choice("stop", "rollback"),
    "deterministic": YES_OR_NO,
    "profile_steps": _integer(0, 1_000_000),
    "steps_per_call": _integer(0, 1_000_000),
    "seeds_per_call": _integer(0, 10_000),
    "devices": _integer(0, 10_000),
}
