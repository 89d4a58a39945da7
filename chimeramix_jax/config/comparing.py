"""Comparing the settings of two runs: whether one may go on where the other stopped, or use its generator."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.config.storing import config_to_dict, flatten

NO_EFFECT_ON_RESULTS = (
    # A run may be continued with other values of these: they say where files lie, how often to save or to measure, how
    # the work is cut into compiled calls and spread over devices, or what is trained beside it. None of them reaches a
    # trained parameter, but for the rounding of sums that are taken in another order.
    "checkpoint",
    "compare_with_baseline",
    "dataset.archive",
    "dataset.data_dir",
    "devices",
    "evaluation",
    "seeds",
    "seeds_per_call",
    "steps_per_call",
)


def differences(
    there: Mapping[str, Any] | ConfigDict,
    asked: Mapping[str, Any] | ConfigDict,
    among: Sequence[str] | None = None,
) -> list[str]:
    """Compares a stored run's settings with those asked for now, leaving out ``NO_EFFECT_ON_RESULTS``.

    Tuples equal lists, and 1 equals 1.0, so that settings read back from JSON equal the ones that were written.

    Args:
        there: the stored settings.
        asked: those asked for.
        among: keys, and groups of keys, to compare; None: all.

    Returns:
        A line per setting that differs, such as ``generator.epochs: 200 there, 100 asked``; empty: the same run.
    """
    old, new = flatten(config_to_dict(there)), flatten(config_to_dict(asked))
    lines = []
    for key in {**old, **new}:
        if _belongs(key, NO_EFFECT_ON_RESULTS) or (among is not None and not _belongs(key, among)):
            continue
        if key in old and key in new and old[key] == new[key]:
            continue
        before, after = (repr(side[key]) if key in side else "not set" for side in (old, new))
        lines.append(f"{key}: {before} there, {after} asked")
    return lines


def _belongs(key: str, groups: Iterable[str]) -> bool:
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def generator_settings(config: ConfigDict) -> tuple[str, ...]:
    """The settings that a trained generator depends on: runs that share them can share it."""
    of_masks: tuple[str, ...] = ("mix_size",)
    if config.mixing.mask == "segmentation":
        of_masks = ("segmentation_scale", "segmentation_min_size", "segmentation_sigma")
    return (
        "seed",
        "max_labels_per_class",
        "precision",
        "dataset.name",
        "dataset.directory",
        "dataset.image_side",
        "dataset.holdout_fraction",
        "dataset.holdout_seed",
        "augment.crop_padding_fraction",
        "augment.horizontal_flip",
        "mixing.mask",
        *(f"mixing.{name}" for name in of_masks),
        "generator",
        "repeat_unlimited",
    )
