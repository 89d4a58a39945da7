"""The experiments, those of the published study and a few more: the settings that each of them changes."""

import functools
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.config.defaults import SETTINGS, get_config
from chimeramix_jax.config.storing import flatten
from chimeramix_jax.errors import InputError, nearest, not_one_of
from chimeramix_jax.extensions import lookup, registry
from chimeramix_jax.extensions.registry import Registration

# Without mixing there is no generator, and no separate baseline to compare with.
_BASELINE: Mapping[str, Any] = {"mixing.mask": "none", "compare_with_baseline": False}
_GRID: Mapping[str, Any] = {"mixing.mask": "grid"}
_SEGMENTATION: Mapping[str, Any] = {"mixing.mask": "segmentation"}
_DIRECT: Mapping[str, Any] = {"mixing.of": "pixels"}
_AUTOAUGMENT: Mapping[str, Any] = {"augment.policy": "autoaugment"}
_TRIVIALAUGMENT: Mapping[str, Any] = {"augment.policy": "trivialaugment"}
_COSINE: Mapping[str, Any] = {"classifier.loss": "cosine"}
_TVMF: Mapping[str, Any] = {"classifier.head": "tvmf"}
_HARMONIC: Mapping[str, Any] = {"classifier.convolutions": "harmonic"}
_SIMCLR: Mapping[str, Any] = {"pretraining.method": "simclr"}
# Four images a mix, dealt by shares; our own reading of a paper without public code (see below).
_HYDRA: Mapping[str, Any] = {"mixing.images": 4, "generator.images": 4, "mixing.shares": "dirichlet"}

STUDY: Mapping[str, Mapping[str, Any]] = {
    # The classifier on unmixed images: cropped, mirrored, and augmented in various ways.
    "baseline": _BASELINE,
    "baseline_autoaugment": {**_BASELINE, **_AUTOAUGMENT},
    "baseline_trivialaugment": {**_BASELINE, **_TRIVIALAUGMENT},
    "cutout": {**_BASELINE, "augment.cutout": True},
    "random_erasing": {**_BASELINE, "augment.random_erasing_probability": 0.5},
    "mixup": {**_BASELINE, "augment.mixup": True},
    # Features of two images of a class, blended by a random grid and decoded.
    "chimeramix_grid": _GRID,
    "chimeramix_grid_autoaugment": {**_GRID, **_AUTOAUGMENT},
    "chimeramix_grid_trivialaugment": {**_GRID, **_TRIVIALAUGMENT},
    # The same with pixels, without a generator.
    "chimeramix_grid_direct": {**_GRID, **_DIRECT},
    # Blended by the segments of one of the images.
    "chimeramix_segmentation": _SEGMENTATION,
    "chimeramix_segmentation_autoaugment": {**_SEGMENTATION, **_AUTOAUGMENT},
    "chimeramix_segmentation_trivialaugment": {**_SEGMENTATION, **_TRIVIALAUGMENT},
    "chimeramix_segmentation_direct": {**_SEGMENTATION, **_DIRECT},
}

EXPERIMENTS: Mapping[str, Mapping[str, Any]] = {
    **STUDY,
    # Strong augmentation without mixing. Batches that chimeramix_ experiments leave unmixed can have mixup as well.
    "mixup_trivialaugment": {**_BASELINE, **_TRIVIALAUGMENT, "augment.mixup": True},
    # Other strong baselines: two operations of fixed strength per image; rectangles of other images of any class.
    "baseline_randaugment": {**_BASELINE, "augment.policy": "randaugment"},
    "cutmix": {**_BASELINE, "augment.cutmix_probability": 0.5},
    "cutmix_trivialaugment": {**_BASELINE, **_TRIVIALAUGMENT, "augment.cutmix_probability": 0.5},
    # Other losses, heads and convolutions, from the literature on few images.
    "baseline_cosine": {**_BASELINE, **_COSINE},
    "chimeramix_grid_cosine": {**_GRID, **_COSINE},
    "baseline_tvmf": {**_BASELINE, **_TVMF},
    "chimeramix_grid_tvmf": {**_GRID, **_TVMF},
    "baseline_harmonic": {**_BASELINE, **_HARMONIC},
    "mixup_trivialaugment_harmonic": {**_BASELINE, **_TRIVIALAUGMENT, "augment.mixup": True, **_HARMONIC},
    "chimeramix_grid_harmonic": {**_GRID, **_HARMONIC},
    # The network is pretrained on the same images without their labels (SimCLR).
    "baseline_simclr": {**_BASELINE, **_SIMCLR},
    "mixup_trivialaugment_simclr": {**_BASELINE, **_TRIVIALAUGMENT, "augment.mixup": True, **_SIMCLR},
    "chimeramix_grid_simclr": {**_GRID, **_SIMCLR},
    # More than two images a mix, after HydraMix (Reinders et al., 2025, arXiv 2501.09504).
    "hydramix_grid": {**_GRID, **_HYDRA},
    "hydramix_segmentation": {**_SEGMENTATION, **_HYDRA},
}


_OF_MIXING = ("mixing.", "generator.", "compare_with_baseline")  # settings that a baseline need not share

STUDY_NAME = "study"  # not an experiment: stands for those of the study in the list of a sweep
AUTO = "auto"  # not an experiment: the program chooses a recipe, see chimeramix_jax/auto
USUAL_FOLDS = 5  # of a choice, unless ``folds`` is set

registry.reserve(registry.EXPERIMENT, lambda name: name in (AUTO, STUDY_NAME) or name in EXPERIMENTS)


def folds_of_choice(config: ConfigDict) -> int:
    """Returns the number of folds of a choice: as set, or else the usual one, which small classes may not allow.

    A single recipe needs no folds, and has none unless they are set.
    """
    return config.folds or (0 if len(parse_recipes(config.recipes)) == 1 else USUAL_FOLDS)


def parse_recipes(text: str) -> tuple[str, ...]:
    """Returns the experiments in a list such as ``baseline,mixup``, for ``recipes``; an empty tuple for an empty text.

    Raises InputError for an unknown experiment, or one that is listed twice.
    """
    names = tuple(part.strip() for part in text.split(",")) if text else ()
    for number, name in enumerate(names):
        if name not in known():
            raise not_one_of("recipes", name, known())
        if name in names[:number]:
            raise InputError(f"recipes: {text!r} lists {name} twice; every experiment must be listed once")
    return names


def apply(config: ConfigDict, experiment: str) -> ConfigDict:
    """Changes settings in place to those of an experiment and returns them; ``AUTO`` leaves them to be chosen."""
    if experiment == AUTO:
        config.experiment, config.compare_with_baseline = AUTO, False
        return config
    if experiment in EXPERIMENTS:
        config.update_from_flattened_dict(EXPERIMENTS[experiment])
    elif (own := lookup.current(registry.EXPERIMENT, experiment)) is not None:
        _apply_own(config, own)
    else:
        raise not_one_of("experiment", experiment, known())
    config.experiment = experiment
    return config


def settings_of(experiment: str) -> Mapping[str, Any]:
    """Returns the settings, with dotted keys, that a known experiment changes."""
    if experiment in EXPERIMENTS:
        return EXPERIMENTS[experiment]
    own = lookup.current(registry.EXPERIMENT, experiment)
    return {} if own is None else own.value.settings


@functools.cache  # called for every run of a summary
def usual_of_classifiers() -> Mapping[str, Any]:
    """Returns the defaults of the settings, except those of mixing, that experiments change, by dotted key."""
    usual = flatten(get_config())
    changed = {key for changes in EXPERIMENTS.values() for key in changes}
    return {key: usual[key] for key in sorted(changed) if not key.startswith(_OF_MIXING)}


def without_mixing(settings: Mapping[str, Any]) -> str:
    """Returns the experiment that the baseline of a mixing run is: it has all of the run's settings but the mixing.

    ``settings`` have dotted keys. Own ideas in them are no part of the name.
    """
    usual = usual_of_classifiers()
    mine = {key: settings.get(key, value) for key, value in usual.items()}
    for name, changes in EXPERIMENTS.items():
        if changes.get("mixing.mask") == "none" and mine == {key: changes.get(key, usual[key]) for key in usual}:
            return name
    policy = settings["augment.policy"]
    return "baseline" if policy == "none" else f"baseline_{policy}"


def known() -> list[str]:
    """Returns the names of all experiments, those that own files and installed packages have registered included."""
    return [*EXPERIMENTS, *lookup.names(registry.EXPERIMENT)]


def _apply_own(config: ConfigDict, own: Registration) -> None:
    """Applies a custom experiment to settings; raises InputError, with its file and line, if it does not fit."""
    for key, value in own.value.settings.items():
        try:
            if key not in SETTINGS:
                near = nearest(key, SETTINGS)
                raise KeyError(f"there is no such setting{f'; did you mean {near}?' if near else ''}")
            config.update_from_flattened_dict({key: value})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{own.place}: experiment {own.name!r}: {key}: {value!r} is not allowed ({error.args[0]})"
            ) from None
