"""Converts settings to plain dictionaries and JSON, and back."""

import copy
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.config import defaults, own_code, retired
from chimeramix_jax.errors import InputError
from chimeramix_jax.files import plain
from chimeramix_jax.stored_format import marked, unmarked

PATHS = ("dataset.archive", "dataset.data_dir", "dataset.directory", "dataset.image_directory")  # on this machine

_STORED = "stored settings"  # what messages call them where their file is not known


def flatten(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """Returns the settings in order with dotted keys: ``{"seed": 0, "generator.epochs": 200, ...}``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            flat.update({f"{key}.{inner}": leaf for inner, leaf in flatten(value).items()})
        else:
            flat[str(key)] = value
    return flat


def config_to_dict(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """Returns the settings as nested dicts in JSON's types: tuples become lists, None stays None."""
    return plain(config.to_dict() if isinstance(config, ConfigDict) else config)


def with_absolute_paths(config: ConfigDict) -> ConfigDict:
    """Returns a copy whose relative paths are absolute, so that it means the same in any folder; ``~`` stays."""
    copied = copy.deepcopy(config)
    for key in PATHS:
        group, _, name = key.partition(".")
        if (path := config[group][name]) and not path.startswith("~"):
            copied[group][name] = str(Path(path).absolute())
    return copied


def to_json(config: Mapping[str, Any] | ConfigDict) -> str:
    """Returns the settings as JSON text with a line per setting; ``from_json`` reads it."""
    return json.dumps(marked(config_to_dict(config)), indent=2, allow_nan=False) + "\n"


def from_json(text: str, source: str | os.PathLike[str] = _STORED) -> ConfigDict:
    """Restores settings from ``to_json``, including tuples, and locks them.

    Raises InputError, which names ``source``, for any other text, and for values that are not allowed.
    """
    try:
        stored = json.loads(text)
    except (ValueError, RecursionError) as error:  # not JSON, or nested too deeply
        raise InputError(f"{source}: cannot be read: not valid JSON: {error}") from None
    if not isinstance(stored, dict):
        raise InputError(f"{source}: cannot be read: it holds a {type(stored).__name__}; it must hold a JSON object")
    return from_dict(unmarked(stored, source), source)


def from_dict(stored: object, source: str | os.PathLike[str] = _STORED) -> ConfigDict:
    """Restores settings from ``config_to_dict``, including tuples, and locks them.

    Settings that did not exist yet get their defaults; retired ones are converted by ``retired.translated``. Raises
    InputError, which names ``source``, for a value that is not allowed, and for a group where a setting must be.
    """
    if not isinstance(stored, Mapping):  # as in other files that hold settings
        raise InputError(f"{source}: its settings are of the type {type(stored).__name__}; they must be a JSON object")
    settings = flatten(defaults.get_config()) | retired.translated(flatten(stored))
    _refuse_other_structure(settings, source)
    restored = {key: _restored(value) for key, value in settings.items()}
    for key, rule in defaults.SETTINGS.items():
        if not rule.holds(restored[key]):
            raise _not_allowed(key, restored[key], source)
    own_code.note(restored)
    for key, rule in defaults.SETTINGS.items():
        if rule.names and restored[key] not in rule.names and not own_code.is_known(key, restored[key]):
            raise _not_allowed(key, restored[key], source)
    return defaults.unflattened(restored.items()).lock()


def _not_allowed(key: str, value: object, source: str | os.PathLike[str]) -> InputError:
    return InputError(f"{source}: {key}: {value!r} is not allowed; it must be {defaults.SETTINGS[key].allowed}")


def _refuse_other_structure(settings: Mapping[str, Any], source: str | os.PathLike[str]) -> None:
    """Raises InputError if something with dotted keys is both a setting and a group of settings."""
    for key in settings:
        parts = key.split(".")
        for end in range(1, len(parts)):
            group = ".".join(parts[:end])
            if group in defaults.SETTINGS:
                raise InputError(f"{source}: {group}: is a group; it must be {defaults.SETTINGS[group].allowed}")
            if group in settings:
                raise InputError(
                    f"{source}: {group}: {settings[group]!r} is not allowed; it must be a group, with {key}"
                )


def _restored(value: Any) -> Any:
    """Returns the original value of a stored one: lists become tuples, which JSON does not have."""
    return tuple(_restored(inner) for inner in value) if isinstance(value, list | tuple) else value
