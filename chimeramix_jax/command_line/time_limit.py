"""Makes ``--minutes`` with a given experiment a choice among this one recipe, which is trained as the time allows."""

import copy
from collections.abc import Sequence

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.auto import menu
from chimeramix_jax.config import experiments
from chimeramix_jax.errors import InputError


def choice_of_one(source: str, config: ConfigDict, overrides: Sequence[str]) -> tuple[str, list[str]]:
    """Returns ``--config`` and the arguments that change settings for a choice among the experiment alone.

    Args:
        source: the value of ``--config``.
        config: the settings that it and the overrides make, of any experiment but "auto".
        overrides: ``--config.KEY=VALUE`` and other arguments.

    Raises:
        InputError: an override changes what the experiment itself sets, or the file has experiments of its own.
    """
    name = config.experiment
    if name not in experiments.known():
        raise InputError(f"--minutes: experiment {name!r} is not known to the program; set its epochs instead")
    for key in ("classifier.epochs", "generator.epochs"):
        if any(argument.partition("=")[0] == f"--config.{key}" for argument in overrides):
            raise InputError(f"--minutes: {key} was set, but the time decides on it; give only one of the two")
    as_it_is = experiments.apply(copy.deepcopy(config), name)
    as_it_is.compare_with_baseline = config.compare_with_baseline  # a choice has no baseline
    changed = settings.differences(config, as_it_is)
    if changed:
        key = changed[0].partition(":")[0]
        raise InputError(f"--minutes: trains experiment {name} as it is, but {key} was changed, which belongs to it")
    source = f"{source.partition(':')[0]}:{settings.AUTO}"
    return source, [*overrides, f"--config.recipes={name}", *_set_for(config, source, overrides)]


def _set_for(config: ConfigDict, source: str, overrides: Sequence[str]) -> list[str]:
    """Returns arguments for what the config file sets for the experiment, but not for a choice.

    With them, the experiment has the same settings with ``--minutes`` as without it, but for its epochs.
    """
    choice = settings.load(source)
    settings.override(choice, overrides)
    chosen, alone = (settings.flatten(menu.config_of(config.experiment, one)) for one in (choice, config))
    return [f"--config.{key}={value}" for key, value in alone.items() if chosen[key] != value]
