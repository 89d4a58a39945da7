"""Makes ``--minutes`` with a given experiment a choice among this one recipe, which is trained as the time allows."""

import copy
from collections.abc import Sequence

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.auto import menu
from chimeramix_jax.config import experiments, shipped
from chimeramix_jax.errors import InputError

# What a training within a given time cannot do: the value that a setting must have, and what the time is planned for.
_ONLY = {
    "seeds": ("", "a single seed"),
    "fold_repeats": (1, "a single division into folds"),
    "classifier.members": (1, "a single network"),
}


def choice_of_one(source: str, config: ConfigDict, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Returns ``--config`` and the arguments that change settings for a choice among the experiment alone.

    Args:
        source: the value of ``--config``.
        config: the settings that it and the overrides make, of any experiment but "auto".
        overrides: ``--config.KEY=VALUE`` and other arguments.

    Raises:
        InputError: an override changes what the experiment itself sets, the file has experiments of its own, or a
            setting asks for several seeds, divisions or networks.
    """
    name = config.experiment
    if name not in experiments.known():
        raise InputError(f"--minutes: experiment {name!r} is not known to the program; set its epochs instead")
    if config.recipes not in ("", name):
        raise InputError(
            f"recipes: {config.recipes!r}, but --minutes trains experiment {name} alone; it must be empty, or compare "
            f"recipes with --config={shipped.separated(source)[0]}:{settings.AUTO}"
        )
    values = settings.flatten(config)
    for key, (only, planned) in _ONLY.items():
        if values[key] != only:
            raise InputError(
                f"{key}: {values[key]!r}, but --minutes plans the time for {planned}; it must be {only or 'empty'}"
            )
    refuse_epochs(overrides)
    as_it_is = experiments.apply(copy.deepcopy(config), name)
    as_it_is.compare_with_baseline = config.compare_with_baseline  # a choice has no baseline
    changed = settings.differences(config, as_it_is)
    if changed:
        key = changed[0].partition(":")[0]
        raise InputError(f"--minutes: trains experiment {name} as it is, but {key}, which it sets, was changed")
    return f"{shipped.separated(source)[0]}:{settings.AUTO}", [*overrides, f"--config.recipes={name}"]


def refuse_epochs(overrides: Sequence[str]) -> None:
    """Raises InputError if arguments set the number of epochs, which the time decides on."""
    for key in ("classifier.epochs", "generator.epochs"):
        if key in settings.overridden(overrides):
            raise InputError(f"--minutes: {key} was set, but --minutes decides on it; give only one of the two")


def settings_of(source: str, overrides: Sequence[str]) -> ConfigDict:
    """Returns the settings of a choice; one among a single recipe has what the config file sets for that recipe.

    So an experiment has the same settings with ``--minutes`` as without it, but for its epochs.

    Args:
        source: the value of ``--config``, with experiment "auto".
        overrides: ``--config.KEY=VALUE`` and other arguments.
    """
    choice = settings.load(source)
    settings.override(choice, overrides)
    recipes = settings.parse_recipes(choice.recipes)
    if len(recipes) == 1:
        alone = settings.load(f"{shipped.separated(source)[0]}:{recipes[0]}")
        settings.override(alone, overrides)
        chosen, own = (settings.flatten(menu.config_of(recipes[0], config)) for config in (choice, alone))
        settings.override(choice, [f"--config.{key}={value}" for key, value in own.items() if chosen[key] != value])
    return choice
