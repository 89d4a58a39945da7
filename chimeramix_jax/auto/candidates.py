"""What a choice compares: the recipes that there are enough images for, on the folds that the classes allow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.auto import menu
from chimeramix_jax.auto.halving import Schedule
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.wording import counted


@dataclass(frozen=True)
class Candidates:
    """The recipes to choose from, in the order of the menu."""

    names: Sequence[str]
    usual: Mapping[str, Schedule]  # how each divides its time between generator and classifier
    families: Mapping[str, str]  # equal for recipes that share generators; empty without a generator
    all_wanted: bool = True  # else those at the end of the menu are left out if the time is too short for them

    @classmethod
    def of(cls, config: ConfigDict, dataset: FewShotDataset) -> "Candidates":
        """Returns the recipes that every class has enough images for, whichever fold is left out.

        Raises InputError if there are none.
        """
        training_images = fewest_images(dataset)
        recipes = []
        for recipe in menu.recipes_of(config):
            own = menu.config_of(recipe, config)
            if own.mixing.mask == "none" or training_images >= max(own.mixing.images, own.generator.images):
                recipes.append(recipe)
        if not recipes:
            raise InputError(
                f"recipes: {config.recipes!r}, but each needs more than {counted(training_images, 'image')} of "
                "every class to train on"
            )
        return cls(
            recipes,
            {recipe: menu.usual_schedule(recipe, config) for recipe in recipes},
            {recipe: menu.family(recipe, config) for recipe in recipes},
            all_wanted=bool(settings.parse_recipes(config.recipes)),
        )


def fewest_images(dataset: FewShotDataset) -> int:
    """Returns how many training images the smallest class has, when the fold with most of them is left out."""
    labels, folds = dataset.train.labels, dataset.fold_of_each
    parts = [labels] if folds is None else [labels[folds != fold] for fold in range(dataset.folds)]
    return min(int(np.bincount(part, minlength=len(dataset.class_names)).min()) for part in parts)


def units_of_folds(dataset: FewShotDataset) -> list[list[str]]:
    """Returns for each fold the name of each of its images, the same for images that belong together.

    The images are in the order in which the runs of the folds predict them. Empty without folds.
    """
    folds = dataset.fold_of_each
    if folds is None:
        return []
    return [[dataset.units[place] for place in np.flatnonzero(folds == fold)] for fold in range(dataset.folds)]


def data_and_folds(config: ConfigDict) -> tuple[FewShotDataset, int]:
    """Returns all training and test images, and the number of folds: as set, or else as usual or as classes allow.

    Raises InputError if a class has fewer than two images to divide.
    """
    draw = config.dataset, config.max_labels_per_class, config.seed
    dataset = load_few_shot(*draw, settings.folds_of_choice(config))
    if not dataset.folds:
        return dataset, 0
    if dataset.smallest_class < 2:
        raise InputError(
            f"experiment: {config.experiment!r}, but a class has a single different training image (copies, and images "
            "of a group, count once); every class needs at least two"
        )
    if not config.folds:
        dataset = dataset.with_folds(min(dataset.folds, dataset.smallest_class))
    # Refuses folds that the images do not allow, before anything is compiled.
    load_few_shot(*draw, dataset.folds, fold=1)
    return dataset, dataset.folds


def data_without_fold(config: ConfigDict, fold: int) -> FewShotDataset:
    """Returns the data without a fold, whose images are held out."""
    return load_few_shot(config.dataset, config.max_labels_per_class, config.seed, config.folds, fold)
