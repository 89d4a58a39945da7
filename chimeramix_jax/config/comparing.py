"""Compares the settings of two runs, to decide whether one can resume the other or use its generator."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.config import own_code
from chimeramix_jax.config.catalog import place_of_images
from chimeramix_jax.config.storing import config_to_dict, flatten
from chimeramix_jax.paths import without_links

NO_EFFECT_ON_RESULTS = (
    # A run can be resumed with other values of these. They determine where files are, how often to save or evaluate,
    # where to log, how work is divided into compiled calls and over devices, or what else is trained. They do not
    # change trained parameters, except for rounding when sums are computed in another order.
    "checkpoint",
    "compare_with_baseline",
    "dataset.archive",
    "dataset.data_dir",
    "dataset.directory",  # runs compare the content of the folder instead: runs/same_data.py
    "dataset.duplicates",
    "dataset.image_directory",
    "dataset.keep_together",  # the same: it decides which images are held out
    "devices",
    "evaluation.batch_size",
    "evaluation.every_epochs",
    "larger_sides",
    "logging",
    "minutes",  # auto.json compares it and the other settings of a choice
    "profile_steps",
    "recipes",
    "on_nonfinite",  # if a rollback did change parameters, the results record it
    "seeds",
    "seeds_per_call",
    "steps_per_call",
)

# Settings that were added later, with the value for which everything is as it was before. With this value they are left
# out of digests, so that the runs and generators of earlier versions are found under their names.
_AS_BEFORE = {
    "augment.own": "",
    "dataset.fit": "crop",
    "dataset.division": -1,
    "dataset.train_split": "",
    "dataset.validation_split": "",
    "dataset.test_split": "",
    "dataset.image_feature": "",
    "dataset.label_feature": "",
    "classifier.convolutions": "standard",
    "classifier.loss": "cross_entropy",
    "classifier.head": "linear",
    "classifier.tvmf_kappa": 16.0,
    "classifier.averaged_share": 0.0,
    "classifier.batch_statistics": "running",
    "classifier.members": 1,
    "pretraining.method": "none",
    "evaluation.crops": 1,
    **dict.fromkeys(own_code.CODES, ""),
}

# A trained classifier can be evaluated again, and can predict, with other values of these.
OF_MEASURING = ("evaluation.mirror", "evaluation.crops")

OF_MASKS = {
    # Settings that only one kind of mask uses.
    "grid": ("mixing.mix_size",),
    "segmentation": ("mixing.segmentation_scale", "mixing.segmentation_min_size", "mixing.segmentation_sigma"),
}


def differences(
    stored: Mapping[str, Any] | ConfigDict,
    requested: Mapping[str, Any] | ConfigDict,
    among: Sequence[str] | None = None,
    *,
    measuring: bool = False,
) -> list[str]:
    """Compares a stored run's settings with the requested ones, except those in ``NO_EFFECT_ON_RESULTS``.

    Returns a line for each that differs, such as ``generator.epochs: 200 stored, 100 requested``; settings without a
    group first. Tuples equal lists, and 1 equals 1.0, so settings read from JSON equal the original ones. ``among`` are
    the keys and groups of keys to compare; None: all. ``measuring`` leaves out ``OF_MEASURING``, too: the run's
    classifier is only to be used or evaluated again, not trained.
    """
    ignored = (*NO_EFFECT_ON_RESULTS, *(OF_MEASURING if measuring else ()))
    old, new = (_with_effect(leaving_out(side, ignored)) for side in (stored, requested))
    lines = []
    for key in sorted({**old, **new}, key=lambda key: "." in key):
        if among is not None and not belongs(key, tuple(among)):
            continue
        if key in old and key in new and old[key] == new[key]:
            continue
        if key in own_code.CODES:
            lines += own_code.change(key, old, new)
            continue
        before, after = (repr(side[key]) if key in side else "not set" for side in (old, new))
        lines.append(f"{key}: {before} stored, {after} requested")
    return lines


def shortened(lines: Sequence[str], most: int = 3) -> str:
    """Joins the first differences in one line, and adds the number of further ones."""
    more = len(lines) - most
    return "; ".join([*lines[:most], f"and {more} more"] if more > 0 else lines)


def leaving_out(config: Mapping[str, Any] | ConfigDict, groups: tuple[str, ...]) -> dict[str, Any]:
    """Returns the settings with dotted keys in JSON's types, without the given keys and groups of keys."""
    return {key: value for key, value in flatten(config_to_dict(config)).items() if not belongs(key, groups)}


def in_digests(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings, with dotted keys, that digests are made of."""
    effective = _with_effect(settings)
    return {key: value for key, value in effective.items() if key not in _AS_BEFORE or _AS_BEFORE[key] != value}


def _with_effect(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leaves out the details of pretraining where there is none, so that files in ``configs/`` may change them."""
    method = "pretraining.method"
    if settings.get(method, "none") != "none":
        return dict(settings)
    return {key: value for key, value in settings.items() if key == method or not key.startswith("pretraining.")}


@functools.cache  # called very often when thousands of runs are compared
def belongs(key: str, groups: tuple[str, ...]) -> bool:
    """Returns whether a setting is one of some settings, or in one of some groups of settings such as "classifier"."""
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def generator_settings(config: ConfigDict) -> tuple[str, ...]:
    """Returns the keys that a trained generator depends on; runs with equal values can share a generator."""
    return (
        "seed",
        "max_labels_per_class",
        "precision",
        "dataset.name",
        "dataset.code",
        "dataset.image_side",
        "dataset.fit",
        "dataset.division",
        "dataset.train_split",
        "dataset.validation_split",
        "dataset.test_split",
        "dataset.image_feature",
        "dataset.label_feature",
        "dataset.skip_unreadable",
        "dataset.holdout_fraction",
        "dataset.holdout_seed",
        "augment.crop_padding_fraction",
        "augment.horizontal_flip",
        "mixing.mask",
        "mixing.mask_code",
        "mixing.shares",
        *OF_MASKS.get(config.mixing.mask, ()),
        "generator",
        "repeat_unlimited",
    )


def generator_identity(config: ConfigDict) -> dict[str, Any]:
    """Returns the values of these settings and the folder or list of images. Runs with equal ones share a generator."""
    groups = generator_settings(config)
    settings = in_digests(leaving_out(config, NO_EFFECT_ON_RESULTS))
    identity = {key: value for key, value in settings.items() if belongs(key, groups)}
    directory, _ = place_of_images(config.dataset)
    return identity | {"dataset.directory": without_links(directory) if directory else ""}
