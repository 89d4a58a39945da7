"""Checks all settings before any work starts: each alone, their combinations, and the files and packages they need."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.config import catalog, own_code
from chimeramix_jax.config.each_setting import check_each
from chimeramix_jax.config.environment import check_environment
from chimeramix_jax.config.experiments import AUTO, parse_recipes, settings_of
from chimeramix_jax.config.retired import RETIRED
from chimeramix_jax.config.rules import PUBLISHED
from chimeramix_jax.config.seed_lists import parse_seeds
from chimeramix_jax.config.side_lists import parse_growing_sides, parse_larger_sides
from chimeramix_jax.config.storing import flatten
from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.extensions import registry
from chimeramix_jax.models.names import PATTERNS, RESNET, WideResNetName, is_built_in
from chimeramix_jax.models.sides import ENCODER_STRIDE, GENERATOR_SIDE_MULTIPLE, SMALLEST_GENERATOR_SIDE

_SIDE = "classifier.image_side"

STAGES = ("all", "generator", "classifier", "evaluate", "report")  # values of --stage that need settings
_TFDS_SETTINGS = tuple(
    f"dataset.{name}" for name in ("train_split", "validation_split", "test_split", "image_feature", "label_feature")
)
MEASURING_STAGES = ("evaluate", "report")  # these train nothing

registry.reserve(registry.NETWORK, is_built_in)


def check(config: ConfigDict, *, environment: bool = True, stored: bool = False) -> None:
    """Raises InputError unless all keys are present and known, and all values are of the right type and consistent.

    Also records the code of the own ideas that the settings name (``own_code``) in them.

    Args:
        config: the settings.
        environment: also check that the necessary files and packages exist; no file is read.
        stored: the settings are those of a stored run, and may contain retired ones.
    """
    settings = flatten(config)
    check_each(settings, RETIRED if stored else ())
    own_code.record(config, stored=stored)
    settings = flatten(config)
    parse_seeds(settings["seeds"])
    _check_folds(settings)
    _check_dataset(settings)
    _check_model(settings["classifier.model"])
    _check_loss_and_head(settings)
    parse_growing_sides(settings["classifier.growing_sides"], settings[_SIDE])
    _check_choice(settings)
    _check_average(settings)
    _check_evaluation(settings)
    if settings["augment.mixup"] and settings["augment.cutmix_probability"]:
        raise InputError(
            f"augment.cutmix_probability: {settings['augment.cutmix_probability']}, but augment.mixup blends every "
            "batch; it must be 0, or augment.mixup False"
        )
    if environment:
        check_environment(settings)
    if settings["mixing.mask"] != "none":
        _check_mixing(settings)


def refuse_enlarged(config: ConfigDict) -> None:
    """Raises InputError if the classifier would see a data set's images at a larger side than they are stored at.

    They would be enlarged after their details are lost. That is for new runs only, not for those that exist. Images of
    a fixed size, or from a function, are stored as they are. A generator may have a larger side: the published one
    enlarges images of 32x32 pixels to 64x64.
    """
    entry, stored, seen = (
        catalog.dataset_entry(config.dataset.name),
        config.dataset.image_side,
        config.classifier.image_side,
    )
    if entry.is_fixed or entry.source == "function" or seen <= stored:
        return
    raise InputError(
        f"{_SIDE}: {seen}, but the images are stored at dataset.image_side {stored} and would only be enlarged; set "
        f"--config.dataset.image_side={seen}, too, or lower {_SIDE} to {stored}"
    )


def _check_folds(settings: Mapping[str, Any]) -> None:
    folds, repeats, fold = settings["folds"], settings["fold_repeats"], settings["fold"]
    for key, default in (("fold_repeats", 1), ("fold", 0)):
        if not folds and settings[key] != default:
            raise InputError(f"{key}: {settings[key]}, but folds is 0; it must be {default}, or folds at least 2")
    if fold > folds * repeats:
        raise InputError(f"fold: {fold}, but there are {folds * repeats} folds; it must be from 0 to {folds * repeats}")
    if fold and settings["dataset.evaluate_on"] != "validation":
        raise InputError(
            f"dataset.evaluate_on: {settings['dataset.evaluate_on']!r}, but a model without fold {fold} is measured on "
            "that fold; it must be validation"
        )
    if folds and settings["seeds"]:
        raise InputError(
            f"seeds: {settings['seeds']!r}, but folds are trained for one seed at a time; it must be empty, and "
            "fold_repeats divides the images several times"
        )


def _check_choice(settings: Mapping[str, Any]) -> None:
    """Checks what belongs to experiment "auto"."""
    parse_larger_sides(settings["larger_sides"], settings["dataset.image_side"])
    if parse_recipes(settings["recipes"]) and settings["experiment"] != AUTO:
        raise InputError(
            f"recipes: {settings['recipes']!r}, but experiment {settings['experiment']!r} is a recipe already; it must "
            f"be empty, or the experiment {AUTO}"
        )
    if settings["experiment"] == AUTO and settings["seeds"]:
        raise InputError(
            f"seeds: {settings['seeds']!r}, but to choose a recipe it must be empty; a choice has one seed"
        )
    if settings["experiment"] == AUTO and settings["classifier.members"] > 1:
        raise InputError(
            f"classifier.members: {settings['classifier.members']}, but a choice of the recipe plans its time for one; "
            "it must be 1. Train the chosen recipe with more members in another run"
        )
    pretrained = [recipe for recipe in parse_recipes(settings["recipes"]) if _pretrains(recipe)]
    if settings["experiment"] == AUTO and (pretrained or settings["pretraining.method"] != "none"):
        key = f"recipes: {pretrained[0]!r}" if pretrained else f"pretraining.method: {settings['pretraining.method']!r}"
        raise InputError(
            f"{key}, but neither the choice of a recipe nor --minutes plans time for pretraining; take an experiment "
            "without it, or set the epochs instead"
        )


def _pretrains(recipe: str) -> bool:
    return settings_of(recipe).get("pretraining.method", "none") != "none"


def _check_dataset(settings: Mapping[str, Any]) -> None:
    entry = catalog.dataset_entry(settings["dataset.name"])
    # Other images may have a validation part of their own, which only the loader knows.
    all_are_training = settings["max_labels_per_class"] is None and not settings["fold"] and entry.is_fixed
    if settings["dataset.evaluate_on"] == "validation" and all_are_training:
        raise InputError(
            "dataset.evaluate_on: 'validation', but with max_labels_per_class None all images are training images; it "
            "must be test, or max_labels_per_class must be a whole number"
        )
    for key in ("archive", "directory"):
        takers = catalog.names_taking(key)
        if settings[f"dataset.{key}"] and entry.name not in takers:
            raise InputError(f"dataset.{key}: {settings[f'dataset.{key}']!r}, but only {', '.join(takers)} can use it")
    if settings["dataset.fit"] != "crop" and entry.is_fixed:
        raise InputError(
            f"dataset.fit: {settings['dataset.fit']!r}, but the images of {entry.name} are square already; only "
            f"{', '.join(catalog.names_with_any_side())} can use it, and it must be crop for others"
        )
    if entry.source == "lists":
        if settings["dataset.division"] < 0:
            raise InputError(
                f"dataset.division: {settings['dataset.division']}, but {entry.name} is published in numbered "
                "divisions; it must be the number of one, such as 0"
            )
    elif settings["dataset.division"] >= 0 and settings["max_labels_per_class"] is None:
        raise InputError(
            f"dataset.division: {settings['dataset.division']}, but with max_labels_per_class None all images are "
            "training images; it must be -1, or max_labels_per_class must be a whole number"
        )
    for key in _TFDS_SETTINGS:
        if settings[key] and catalog.tfds_name(entry.name) is None:
            raise InputError(
                f"{key}: {settings[key]!r}, but only {catalog.TFDS_PREFIX}NAME can use it, and dataset.name is "
                f"{entry.name!r}; it must be empty"
            )


def _check_model(model: str) -> None:
    if model == RESNET:
        return
    wide = WideResNetName.parse(model)
    if wide is None and own_code.is_known("classifier.model", model):
        return
    if wide is None and (own := own_code.names("classifier.model")):
        raise not_one_of("classifier.model", model, [RESNET, "wrn-<depth>-<width>", *own])
    if wide is None or wide.width < 1:
        raise InputError(
            f"classifier.model: {model!r} is not allowed; it must be {PATTERNS}, such as wrn-16-8 or wrn-10-4-early"
        )
    if wide.depth < 10 or wide.depth % 6 != 4:
        lower = wide.depth - (wide.depth - 4) % 6
        neighbours = [str(replace(wide, depth=near)) for near in (lower, lower + 6) if near >= 10]
        raise InputError(
            f"classifier.model: {model!r} has depth {wide.depth}, which is not 10, 16, 22, ... (6k + 4); "
            f"closest are {', '.join(neighbours or [str(replace(wide, depth=10))])}"
        )


def _check_evaluation(settings: Mapping[str, Any]) -> None:
    if settings["evaluation.mirror"] and not settings["augment.horizontal_flip"]:
        raise InputError(
            "evaluation.mirror: True, but with augment.horizontal_flip False the classifier never sees mirror images; "
            "both must be True, or both off: --config.augment.horizontal_flip=false --config.evaluation.mirror=false"
        )
    if settings["evaluation.crops"] > 1 and settings["augment.crop_padding_fraction"] * settings[_SIDE] < 1:
        raise InputError(
            f"evaluation.crops: {settings['evaluation.crops']}, but with augment.crop_padding_fraction "
            f"{settings['augment.crop_padding_fraction']:g} the classifier never sees shifted images; it must be 1, or "
            f"augment.crop_padding_fraction at least {1 / settings[_SIDE]:g}"
        )


def _check_average(settings: Mapping[str, Any]) -> None:
    weights, share = settings["classifier.averaged_weights"], settings["classifier.averaged_share"]
    if weights and share:
        raise InputError(
            f"classifier.averaged_share: {share:g}, but classifier.averaged_weights is {weights:g}; both say how far "
            "the average reaches back, so one of them must be 0"
        )


def _check_loss_and_head(settings: Mapping[str, Any]) -> None:
    head, loss = settings["classifier.head"], settings["classifier.loss"]
    if (smoothing := settings["classifier.label_smoothing"]) and own_code.is_own("classifier.loss", settings):
        raise InputError(
            f"classifier.label_smoothing: {smoothing}, but {settings['classifier.loss']!r} is a custom loss, which "
            "sees one label of each image; it must be 0"
        )
    if own_code.is_own("classifier.model", settings):
        for key, only in (("head", "linear"), ("convolutions", "standard")):
            if (value := settings[f"classifier.{key}"]) != only:
                raise InputError(
                    f"classifier.{key}: {value!r}, but {settings['classifier.model']!r} is a custom network, which has "
                    f"its own; it must be {only}"
                )
        if loss == "cosine":
            raise InputError(
                f"classifier.loss: 'cosine', but {settings['classifier.model']!r} is a custom network, whose outputs "
                "need not be cosines; it must be another loss, or a custom one"
            )
    if head != "linear" and loss == "cosine":
        raise InputError(
            f"classifier.head: {head!r}, but classifier.loss 'cosine' compares the outputs of a linear layer with "
            "labels; it must be linear, or classifier.loss cross_entropy"
        )


def _check_mixing(settings: Mapping[str, Any]) -> None:
    check_mixed_images(settings, settings["max_labels_per_class"], "max_labels_per_class")
    if settings["mixing.shares"] != PUBLISHED and own_code.is_own("mixing.mask", settings):
        raise InputError(
            f"mixing.shares: {settings['mixing.shares']!r}, but {settings['mixing.mask']!r} is a custom mask, which "
            f"deals images by a rule of its own; it must be {PUBLISHED}"
        )
    of_features = settings["mixing.of"] == "features"
    if settings["mixing.discriminator_candidates"] > 1 and not of_features:
        raise InputError(
            f"mixing.discriminator_candidates: {settings['mixing.discriminator_candidates']}, but mixing.of 'pixels' "
            "has no discriminator to choose with; it must be 1"
        )
    of_unmixed = settings["augment.mixup_of"] == "unmixed" and settings["mixing.probability"] == 1
    for key, off in (("augment.mixup", False), ("augment.cutmix_probability", 0)):
        if settings[key] != off and of_unmixed:
            raise InputError(
                f"{key}: {settings[key]}, but it applies to batches that are not mixed, and mixing.probability 1 "
                f"leaves none; lower mixing.probability, set augment.mixup_of to all, or set {key} to {off}"
            )
    side = settings["generator.image_side"]
    if of_features and (side < SMALLEST_GENERATOR_SIDE or side % GENERATOR_SIDE_MULTIPLE):
        raise InputError(
            f"generator.image_side: {side} is not allowed; it must be a multiple of {GENERATOR_SIDE_MULTIPLE} from "
            f"{SMALLEST_GENERATOR_SIDE}"
        )
    # A cell covers at least one pixel of the features or images that are mixed.
    cells, most_cells = settings["mixing.mix_size"], side // ENCODER_STRIDE if of_features else side
    if cells > most_cells:
        divided = f" / {ENCODER_STRIDE}" if of_features else ""
        raise InputError(
            f"mixing.mix_size: {cells} is not allowed; it must be a whole number from 2 to {most_cells} "
            f"(generator.image_side {side}{divided})"
        )


def needs_generator(config: ConfigDict) -> bool:
    """Returns whether an experiment mixes features and therefore needs a trained generator."""
    return config.mixing.mask != "none" and config.mixing.of == "features"


def check_mixed_images(settings: Mapping[str, Any], images_per_class: int | None, what_limits: str) -> None:
    """Raises InputError if a class has too few images to mix; ``what_limits`` describes their number in it."""
    for key in ("mixing.images", "generator.images"):
        if images_per_class is not None and settings[key] > images_per_class:
            raise InputError(
                f"{key}: {settings[key]} images of a class cannot be mixed, because {what_limits} is "
                f"{images_per_class}; set {key} to at most that, or choose an experiment that does not mix"
            )
