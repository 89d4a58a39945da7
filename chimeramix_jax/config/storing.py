"""Converts settings to plain dictionaries and JSON, and back."""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.config import defaults, own_code, retired
from chimeramix_jax.errors import InputError
from chimeramix_jax.files import plain
from chimeramix_jax.stored_format import marked, unmarked


def flatten(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """Returns the settings in order with dotted keys: ``{"seed": 0, "generator.epochs": 200, ...}``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            flat.update({f"{key}.{inner}": leaf for inner, leaf in flatten(value).items()})
        else:
            flat[key] = value
    return flat


def config_to_dict(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """Returns the settings as nested dicts in JSON's types: tuples become lists, None stays None."""
    return plain(config.to_dict() if isinstance(config, ConfigDict) else config)


def to_json(config: Mapping[str, Any] | ConfigDict) -> str:
    """Returns the settings as JSON text with a line per setting; ``from_json`` reads it."""
    return json.dumps(marked(config_to_dict(config)), indent=2, allow_nan=False) + "\n"


def from_json(text: str) -> ConfigDict:
    """Restores settings from ``to_json``, including tuples, and locks them; raises InputError for any other text."""
    try:
        stored = json.loads(text)
    except ValueError as error:
        raise InputError(f"stored settings: not valid JSON: {error}") from None
    if not isinstance(stored, dict):
        raise InputError(f"stored settings: contain a {type(stored).__name__}; they must be a JSON object")
    return from_dict(unmarked(stored, "stored settings"))


def from_dict(stored: Mapping[str, Any]) -> ConfigDict:
    """Restores settings from ``config_to_dict``, including tuples, and locks them.

    Settings that did not exist yet get their defaults; retired ones are converted by ``retired.translated``.
    """
    settings = flatten(defaults.get_config()) | retired.translated(flatten(stored))
    own_code.note(settings)
    config = defaults.unflattened((key, _restored(value)) for key, value in settings.items())
    return config.lock()


def _restored(value: Any) -> Any:
    """Returns the original value of a stored one: lists become tuples, which JSON does not have."""
    return tuple(_restored(inner) for inner in value) if isinstance(value, list | tuple) else value
