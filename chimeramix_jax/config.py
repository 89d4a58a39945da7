"""The settings of a run: loading them, checking every one before any work starts, comparing and storing them.

``SETTINGS`` says for every key of ``configs/common.py`` what it may be; the defaults themselves stand there and nowhere
else. Nothing here imports JAX or TensorFlow Datasets, so that a mistake is answered at once.
"""

import difflib
import importlib.util
import inspect
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict, config_dict

from chimeramix_jax.augment import names as augment_names
from chimeramix_jax.data import catalog
from chimeramix_jax.errors import InputError

ENCODER_STRIDE = 4  # the generator's features, and so the masks, have 1/4 of the image's side

SMALLEST_GENERATOR_SIDE = 32  # below it the discriminator's last instance norm sees one pixel and returns zeros

LARGEST_SEED = 2**31 - 1  # JAX keeps 32 bits of a seed: larger ones would silently coincide with smaller ones

STAGES = ("all", "generator", "classifier", "evaluate")  # what --stage may ask for

NO_EFFECT_ON_RESULTS = (
    # A run may be continued with other values of these: they say where files lie, how often to save or to measure, how
    # the work is cut into compiled calls, or what is trained beside it. None of them reaches a trained parameter.
    "checkpoint",
    "compare_with_baseline",
    "dataset.archive",
    "dataset.data_dir",
    "evaluation",
    "steps_per_call",
)


@dataclass(frozen=True)
class Rule:
    """What one setting may be: ``allowed`` in words ("it must be ..."), ``holds`` as a test that never raises."""

    allowed: str
    holds: Callable[[Any], bool]


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)  # Python counts True as 1; a user who wrote it erred


def _is_number(value: Any) -> bool:
    return (_is_integer(value) or isinstance(value, float)) and math.isfinite(value)


def _integer(minimum: int, maximum: int | None = None, multiple_of: int = 1) -> Rule:
    kind = "a whole number" if multiple_of == 1 else f"a multiple of {multiple_of}"
    reach = f"from {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def holds(value: Any) -> bool:
        within = _is_integer(value) and value >= minimum and (maximum is None or value <= maximum)
        return within and value % multiple_of == 0

    return Rule(f"{kind} {reach}", holds)


def _number(allowed: str, within: Callable[[float], bool]) -> Rule:
    return Rule(allowed, lambda value: _is_number(value) and within(value))


def _choice(*names: str) -> Rule:
    return Rule("one of " + ", ".join(names), lambda value: isinstance(value, str) and value in names)


def _increasing_shares(value: Any) -> bool:
    if not isinstance(value, tuple | list) or not all(_is_number(share) and 0 < share < 1 for share in value):
        return False
    return all(earlier < later for earlier, later in itertools.pairwise(value))


_YES_OR_NO = Rule("true or false", lambda value: isinstance(value, bool))
_TEXT = Rule("text", lambda value: isinstance(value, str))
_NAME = Rule(
    "a name of letters, digits, '_', '-' and '.'",
    lambda value: isinstance(value, str) and re.fullmatch(r"\w[\w.-]*", value) is not None,
)
_COUNT = _integer(1)
_COUNT_OR_ALL = Rule(f"{_COUNT.allowed}, or None for all images", lambda value: value is None or _COUNT.holds(value))
_SEED = _integer(0, LARGEST_SEED)
_SIDE = _integer(8, multiple_of=4)
_POSITIVE = _number("a number above 0", lambda value: value > 0)
_NOT_NEGATIVE = _number("a number from 0", lambda value: value >= 0)
_BELOW_ONE = _number("a number from 0 to below 1", lambda value: 0 <= value < 1)

SETTINGS: Mapping[str, Rule] = {
    "experiment": _NAME,
    "seed": _SEED,
    "max_labels_per_class": _COUNT_OR_ALL,
    "compare_with_baseline": _YES_OR_NO,
    "precision": _choice("auto", "float32", "bfloat16"),
    "dataset.name": _TEXT,  # which names there are is the catalog's knowledge
    "dataset.data_dir": _TEXT,
    "dataset.evaluate_on": _choice("test", "validation"),
    "dataset.archive": _TEXT,
    "dataset.directory": _TEXT,
    "dataset.image_side": _integer(8),
    "dataset.holdout_fraction": _number("a number between 0 and 1", lambda value: 0 < value < 1),
    "dataset.holdout_seed": _SEED,
    # A reflection cannot be wider than the image, and half of it is more than any crop needs.
    "augment.crop_padding_fraction": _number("a number from 0 to 0.5", lambda value: 0 <= value <= 0.5),
    "augment.horizontal_flip": _YES_OR_NO,
    "augment.policy": _choice(*augment_names.POLICIES),
    "augment.autoaugment_policy": _choice(*augment_names.AUTOAUGMENT_POLICIES),
    "augment.random_erasing_probability": _number("a number from 0 to 1", lambda value: 0 <= value <= 1),
    "augment.cutout": _YES_OR_NO,
    "augment.cutout_side": _integer(2),
    "augment.mixup": _YES_OR_NO,
    "mixing.mask": _choice("grid", "segmentation", "none"),
    "mixing.of": _choice("features", "pixels"),
    "mixing.share": _number("a number above 0 and up to 1", lambda value: 0 < value <= 1),
    "mixing.images": _integer(2),
    "mixing.mix_size": _integer(2),
    "mixing.segmentation_scale": _POSITIVE,
    "mixing.segmentation_min_size": _integer(0),
    "mixing.segmentation_sigma": _NOT_NEGATIVE,
    "mixing.discriminator_candidates": _COUNT,
    "generator.image_side": _SIDE,
    "generator.channels": _COUNT,
    "generator.discriminator_channels": _COUNT,
    "generator.residual_blocks": _integer(0),
    "generator.decoder_residual_blocks": _integer(0),
    "generator.batch_size": _COUNT,
    "generator.num_dataset_repeats_base": _COUNT,
    "generator.epochs": _COUNT,
    "generator.learning_rate": _POSITIVE,
    "generator.adam_b1": _BELOW_ONE,
    "generator.adam_b2": _BELOW_ONE,
    "generator.learning_rate_drops": Rule("increasing numbers between 0 and 1, such as (0.3, 0.6)", _increasing_shares),
    "generator.learning_rate_drop_factor": _number("a number above 0 and up to 1", lambda value: 0 < value <= 1),
    "generator.reconstruction_weight": _NOT_NEGATIVE,
    "generator.adversarial_weight": _NOT_NEGATIVE,
    "generator.perceptual_weight": _NOT_NEGATIVE,
    "classifier.model": _TEXT,
    "classifier.image_side": _SIDE,
    "classifier.dropout_rate": _BELOW_ONE,
    "classifier.batch_size": _COUNT,
    "classifier.num_dataset_repeats_base": _COUNT,
    "classifier.epochs": _COUNT,
    "classifier.learning_rate": _POSITIVE,
    "classifier.momentum": _BELOW_ONE,
    "classifier.weight_decay": _NOT_NEGATIVE,
    "repeat_unlimited": _YES_OR_NO,
    "evaluation.every_epochs": _COUNT,
    "evaluation.batch_size": _COUNT,
    "checkpoint.every_seconds": _NOT_NEGATIVE,
    "checkpoint.keep": _COUNT,
    "steps_per_call": _integer(0),
}


# ---------------------------------------------------------------------------------------------------------- loading


def load(source: str) -> ConfigDict:
    """Runs a config file's ``get_config`` and returns its settings, locked (no new keys) and not yet checked.

    Args:
        source: ``path/to/file.py``, or ``path/to/file.py:experiment`` to hand an experiment to ``get_config``.

    Raises:
        InputError: no such file, not Python, no ``get_config`` that takes this, or it returned something else.
    """
    path, *arguments = source.split(":", 1)
    get_config = _get_config_function(path)
    try:
        inspect.signature(get_config).bind(*arguments)
    except TypeError:
        wanted = "takes no experiment after ':'" if arguments else "needs an experiment: write file.py:experiment"
        raise InputError(f"--config={source}: get_config of this file {wanted}") from None
    config = get_config(*arguments)
    if not isinstance(config, ConfigDict):
        raise InputError(f"--config={source}: get_config returned a {type(config).__name__}, not a ConfigDict")
    return config.lock()


def _get_config_function(path: str) -> Callable[..., Any]:
    if not os.path.isfile(path):
        folder, name = os.path.split(path)
        near = difflib.get_close_matches(name, sorted(file.name for file in Path(folder or ".").glob("*.py")), n=1)
        hint = f" (did you mean {os.path.join(folder, near[0])}?)" if near else ""
        raise InputError(f"--config={path}: no such file{hint}")
    specification = importlib.util.spec_from_file_location("chimeramix_config_file", path)
    if specification is None or specification.loader is None:
        raise InputError(f"--config={path}: not a Python file (its name must end in .py)")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise InputError(f"--config={path}: not valid Python: {error}") from None
    if not callable(getattr(module, "get_config", None)):
        raise InputError(f"--config={path}: the file defines no function get_config")
    return module.get_config


# --------------------------------------------------------------------------------------------------------- checking


def check(config: ConfigDict) -> None:
    """Checks every setting: all keys there and known, every value of the right type, in range, and fitting the others.

    Looks at the files that the settings name, but reads none.

    Raises:
        InputError: the first wrong setting, in one line: its key, what it was, what is allowed.
    """
    settings = flatten(config)
    for key in settings:
        check_key(key, SETTINGS)
    for key, rule in SETTINGS.items():
        if key not in settings:
            raise InputError(f"{key}: missing; it must be {rule.allowed}")
        if not rule.holds(settings[key]):
            raise InputError(f"{key}: {settings[key]!r} is not allowed; it must be {rule.allowed}")
    _check_dataset(settings)
    _check_model(settings["classifier.model"])
    if settings["mixing.mask"] != "none":
        _check_mixing(settings)


def check_key(key: str, known: Iterable[str]) -> None:
    """Refuses a dotted key, such as ``generator.epochs``, that is not among the known ones.

    Raises:
        InputError: the key is unknown (the nearest known one is named), or names a group of settings.
    """
    names = list(known)
    if key in names:
        return
    members = [name for name in names if name.startswith(f"{key}.")]
    if members:
        raise InputError(f"{key}: this is a group of settings; set one of {', '.join(members)}")
    near = difflib.get_close_matches(key, names, n=1)
    hint = f"did you mean {near[0]}?" if near else "configs/common.py lists all settings"
    raise InputError(f"{key!r}: there is no such setting; {hint}")


def explain(flag_error: str) -> str:
    """Returns the message of a flag that could not be parsed, in ``check``'s words if it set one of ``SETTINGS``."""
    setting = re.match(r"flag --(?:config\.)?([\w.]+)=(.*?): ", flag_error)
    if setting is None:
        return flag_error
    rule = _YES_OR_NO if "Non-boolean" in flag_error else SETTINGS.get(setting[1])
    return f"{setting[1]}: {setting[2]!r} is not allowed; it must be {rule.allowed}" if rule else flag_error


def _check_dataset(settings: Mapping[str, Any]) -> None:
    if settings["dataset.evaluate_on"] == "validation" and settings["max_labels_per_class"] is None:
        raise InputError(
            "dataset.evaluate_on: 'validation' leaves nothing to measure on while max_labels_per_class is None (all "
            "images are trained on); it must be test, or max_labels_per_class a whole number"
        )
    archive, directory = settings["dataset.archive"], settings["dataset.directory"]
    entry = catalog.dataset_entry(settings["dataset.name"])
    for key in ("archive", "directory"):
        takers = catalog.names_taking(key)
        if settings[f"dataset.{key}"] and entry.name not in takers:
            raise InputError(f"dataset.{key}: {settings[f'dataset.{key}']!r}, but only {', '.join(takers)} can use it")
    if archive and not os.path.isfile(os.path.expanduser(archive)):
        raise InputError(f"dataset.archive: {archive!r} is no file; it must be the data set's published archive")
    if entry.source == "directory" and not os.path.isdir(os.path.expanduser(directory)):
        raise InputError(f"dataset.directory: {directory!r} is no folder; it must be the one that holds train/<class>/")


def _check_model(model: str) -> None:
    if model == "resnet-50":
        return
    parts = re.fullmatch(r"wrn-(\d+)-(\d+)", model)
    if parts is None or int(parts[2]) < 1:
        raise InputError(
            f"classifier.model: {model!r} is not allowed; it must be resnet-50 or wrn-<depth>-<width>, as wrn-16-8"
        )
    depth, width = int(parts[1]), int(parts[2])
    if depth < 10 or depth % 6 != 4:
        lower = depth - (depth - 4) % 6
        neighbours = [f"wrn-{near}-{width}" for near in (lower, lower + 6) if near >= 10]
        raise InputError(
            f"classifier.model: {model!r} has depth {depth}, which is not 10, 16, 22, ... (6k + 4); "
            f"next to it: {', '.join(neighbours or [f'wrn-10-{width}'])}"
        )


def _check_mixing(settings: Mapping[str, Any]) -> None:
    check_mixed_images(settings["mixing.images"], settings["max_labels_per_class"], "max_labels_per_class")
    of_features = settings["mixing.of"] == "features"
    if settings["mixing.discriminator_candidates"] > 1 and not of_features:
        raise InputError(
            f"mixing.discriminator_candidates: {settings['mixing.discriminator_candidates']}, but mixing.of 'pixels' "
            "has no discriminator to choose by; it must be 1"
        )
    stage = "generator" if of_features else "classifier"
    side = settings[f"{stage}.image_side"]
    if of_features and side < SMALLEST_GENERATOR_SIDE:
        raise InputError(
            f"generator.image_side: {side} is not allowed; it must be a multiple of 4 from {SMALLEST_GENERATOR_SIDE}"
        )
    # A cell covers at least one place of what is mixed.
    cells, most_cells = settings["mixing.mix_size"], side // ENCODER_STRIDE if of_features else side
    if cells > most_cells:
        divided = f" / {ENCODER_STRIDE}" if of_features else ""
        raise InputError(
            f"mixing.mix_size: {cells} is not allowed; it must be a whole number from 2 to {most_cells} "
            f"({stage}.image_side {side}{divided})"
        )


def needs_generator(config: ConfigDict) -> bool:
    """Whether an experiment mixes features, for which a generator has to be trained."""
    return config.mixing.mask != "none" and config.mixing.of == "features"


def check_mixed_images(mixed: int, images_per_class: int | None, what_limits: str) -> None:
    """Refuses to mix more images of a class than there are (None: not known yet).

    Raises:
        InputError: there are fewer; ``what_limits`` says whose the number is.
    """
    if images_per_class is not None and mixed > images_per_class:
        raise InputError(
            f"mixing.images: {mixed} images of a class are to be mixed, but {what_limits} is "
            f"{images_per_class}; set mixing.images to at most that, or choose an experiment that does not mix"
        )


# --------------------------------------------------------------------------------------------- comparing and storing


def flatten(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """Returns the settings in their order, with dotted keys: ``{"seed": 0, "generator.epochs": 200, ...}``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            flat.update({f"{key}.{inner}": leaf for inner, leaf in flatten(value).items()})
        else:
            flat[key] = value
    return flat


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


def config_to_dict(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """Returns the settings as nested plain dicts that JSON can hold: tuples become lists, None stays None."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping | ConfigDict):
            return {key: plain(inner) for key, inner in value.items()}
        return [plain(inner) for inner in value] if isinstance(value, tuple | list) else value

    return plain(config)


def to_json(config: Mapping[str, Any] | ConfigDict) -> str:
    """Returns the settings as JSON text, one setting a line; ``from_json`` reads it back."""
    return json.dumps(config_to_dict(config), indent=2, allow_nan=False) + "\n"


def from_json(text: str) -> ConfigDict:
    """Reads settings that ``to_json`` wrote: equal to the original, tuples included, and locked.

    Raises:
        InputError: the text is not a JSON object.
    """
    try:
        stored = json.loads(text)
    except ValueError as error:
        raise InputError(f"stored settings: not valid JSON: {error}") from None
    if not isinstance(stored, dict):
        raise InputError(f"stored settings: a JSON object is wanted, not a {type(stored).__name__}")
    return from_dict(stored)


def from_dict(stored: Mapping[str, Any]) -> ConfigDict:
    """Turns what ``config_to_dict`` returned into settings again: tuples included, and locked."""

    def settings(value: Any) -> Any:
        if isinstance(value, Mapping):
            return ConfigDict({key: settings(inner) for key, inner in value.items()})
        if value is None:
            return config_dict.placeholder(object)
        return tuple(settings(inner) for inner in value) if isinstance(value, list) else value

    return settings(stored).lock()


def default_workdir(config: ConfigDict) -> str:
    """Returns the folder for a run's files where none is given: ``runs/digits-chimeramix_grid-5-per-class-seed-0``.

    ``all`` stands in the place of the number where every image is used. An ``image_folder`` run also carries the
    folder's name, so that two folders do not share a run, and one measured on validation images ends with that word.
    """
    parts = [config.dataset.name]
    if config.dataset.directory:
        folder = os.path.basename(os.path.abspath(os.path.expanduser(config.dataset.directory)))
        parts.append(re.sub(r"[^\w.-]", "_", folder))
    images = "all" if config.max_labels_per_class is None else config.max_labels_per_class
    parts += [config.experiment, f"{images}-per-class", f"seed-{config.seed}"]
    if config.dataset.evaluate_on != "test":
        parts.append(config.dataset.evaluate_on)
    return os.path.join("runs", "-".join(parts))
