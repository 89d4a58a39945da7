"""The recipes that are compared: few and different in kind, unless ``recipes`` lists others."""

import copy

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.auto.halving import Schedule
from chimeramix_jax.config import experiments, rules

# Experiments. The first is the one to beat, and a short time leaves out those at the end (``docs/results.md``, "How a
# choice should divide its time").
MENU = (
    "mixup_trivialaugment",
    "mixup_trivialaugment_harmonic",
    "baseline_trivialaugment",
    "chimeramix_grid_trivialaugment",
    "baseline",
    "chimeramix_grid",
    "chimeramix_segmentation",
)

_OF_A_CHOICE = {"recipes": "", "larger_sides": ""}  # settings that a recipe's run does not need


def recipes_of(config: ConfigDict) -> tuple[str, ...]:
    """Returns the experiments that a choice with these settings compares: its ``recipes`` or, without any, the menu."""
    return settings.parse_recipes(config.recipes) or MENU


def recipes_setting(key: str, config: ConfigDict) -> tuple[str, ...]:
    """Returns the recipes of a choice that set a setting themselves, so that its value in ``config`` is not used."""
    return tuple(recipe for recipe in recipes_of(config) if key in experiments.settings_of(recipe))


def config_of(recipe: str, config: ConfigDict, schedule: Schedule | None = None) -> ConfigDict:
    """Returns the settings of a recipe, with the epochs of a schedule; None: with those of ``config``.

    The images that a recipe is measured on are not looked at during training, which takes time and decides nothing.
    """
    own = copy.deepcopy(config)
    experiments.apply(own, recipe)
    own.compare_with_baseline = False
    own.update(_OF_A_CHOICE)
    own.evaluation.every_epochs = rules.NEVER
    if schedule is not None:
        own.classifier.epochs = schedule.classifier
        own.generator.epochs = schedule.generator or own.generator.epochs
    return own


def usual_schedule(recipe: str, config: ConfigDict) -> Schedule:
    """Returns the epochs that ``config`` has for a recipe; how they divide the time stays the same in every rung."""
    own = config_of(recipe, config)
    return Schedule(own.generator.epochs if settings.needs_generator(own) else 0, own.classifier.epochs)


def family(recipe: str, config: ConfigDict) -> str:
    """Returns a name that is equal for recipes that can use the same generator; empty without a generator."""
    own = config_of(recipe, config)
    return own.mixing.mask if settings.needs_generator(own) else ""
