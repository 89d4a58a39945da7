"""The recipes that are compared: few, fixed, and different in kind."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.auto.halving import Schedule
from chimeramix_jax.config import experiments


@dataclass(frozen=True)
class Recipe:
    """An experiment and further settings, under a name."""

    name: str
    experiment: str
    changes: Mapping[str, Any] = field(default_factory=dict)


# Ties are won by the recipe that is further up: the simpler and faster one.
MENU = (
    Recipe("baseline_trivialaugment", "baseline_trivialaugment"),
    Recipe("mixup_trivialaugment", "mixup_trivialaugment"),
    Recipe("chimeramix_grid", "chimeramix_grid"),
    Recipe("chimeramix_grid_trivialaugment", "chimeramix_grid_trivialaugment"),
    Recipe("chimeramix_segmentation", "chimeramix_segmentation"),
)

_NEVER = 1_000_000  # epochs


def config_of(recipe: Recipe, config: ConfigDict, schedule: Schedule | None = None) -> ConfigDict:
    """Returns the settings of a recipe, with the epochs of a schedule; None: with those of ``config``.

    The images that a recipe is measured on are not looked at during training, which takes time and decides nothing.
    """
    own = copy.deepcopy(config)
    experiments.apply(own, recipe.experiment)
    own.update_from_flattened_dict({"experiment": recipe.name, "compare_with_baseline": False, **recipe.changes})
    own.evaluation.every_epochs = _NEVER
    if schedule is not None:
        own.classifier.epochs = schedule.classifier
        own.generator.epochs = schedule.generator or own.generator.epochs
    return own


def usual_schedule(recipe: Recipe, config: ConfigDict) -> Schedule:
    """Returns the epochs that ``config`` has for a recipe; how they divide the time stays the same in every rung."""
    own = config_of(recipe, config)
    return Schedule(own.generator.epochs if settings.needs_generator(own) else 0, own.classifier.epochs)


def family(recipe: Recipe, config: ConfigDict) -> str:
    """Returns a name that is equal for recipes that can use the same generator; empty without a generator."""
    own = config_of(recipe, config)
    return own.mixing.mask if settings.needs_generator(own) else ""
