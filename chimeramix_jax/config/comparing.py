"""Comparing the settings of two runs: whether one may go on where the other stopped, or use its generator."""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.config.storing import config_to_dict, flatten

NO_EFFECT_ON_RESULTS = (
    # A run may be continued with other values of these: they say where files lie, how often to save or to measure, who
    # else is told, how the work is cut into compiled calls and spread over devices, or what is trained beside it. None
    # of them reaches a trained parameter, but for the rounding of sums that are taken in another order.
    "checkpoint",
    "compare_with_baseline",
    "dataset.archive",
    "dataset.data_dir",
    "dataset.directory",  # what lies there counts, and a run knows that by its content: same_data.py
    "devices",
    "evaluation",
    "logging",
    "profile_steps",
    "on_nonfinite",  # where it did reach one, the results record it
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
        A line per setting that differs, such as ``generator.epochs: 200 there, 100 asked``, those of no group, such as
        ``experiment``, first; empty: the same run.
    """
    old, new = leaving_out(there, NO_EFFECT_ON_RESULTS), leaving_out(asked, NO_EFFECT_ON_RESULTS)
    lines = []
    for key in sorted({**old, **new}, key=lambda key: "." in key):
        if among is not None and not _belongs(key, tuple(among)):
            continue
        if key in old and key in new and old[key] == new[key]:
            continue
        before, after = (repr(side[key]) if key in side else "not set" for side in (old, new))
        lines.append(f"{key}: {before} there, {after} asked")
    return lines


def shortened(lines: Sequence[str], most: int = 3) -> str:
    """Some differences in one line: the first ones, and how many more there are."""
    more = len(lines) - most
    return "; ".join([*lines[:most], f"and {more} more"] if more > 0 else lines)


def leaving_out(config: Mapping[str, Any] | ConfigDict, groups: tuple[str, ...]) -> dict[str, Any]:
    """The settings with dotted keys, as JSON can hold them, but for the named keys and groups of keys."""
    return {key: value for key, value in flatten(config_to_dict(config)).items() if not _belongs(key, groups)}


@functools.cache  # asked again and again where thousands of runs are compared
def _belongs(key: str, groups: tuple[str, ...]) -> bool:
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
        "dataset.image_side",
        "dataset.skip_unreadable",
        "dataset.holdout_fraction",
        "dataset.holdout_seed",
        "augment.crop_padding_fraction",
        "augment.horizontal_flip",
        "mixing.mask",
        *(f"mixing.{name}" for name in of_masks),
        "generator",
        "repeat_unlimited",
    )


def generator_identity(config: ConfigDict) -> dict[str, Any]:
    """The values of those settings, and the folder of images: where two runs agree in all, they share a generator."""
    groups = generator_settings(config)
    identity = {key: value for key, value in leaving_out(config, NO_EFFECT_ON_RESULTS).items() if _belongs(key, groups)}
    directory = config.dataset.directory
    return identity | {"dataset.directory": os.path.realpath(os.path.expanduser(directory)) if directory else ""}
