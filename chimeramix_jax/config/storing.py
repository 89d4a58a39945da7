"""Settings as plain dictionaries and as JSON, and back."""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from chimeramix_jax.config import defaults, retired
from chimeramix_jax.errors import InputError


def flatten(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """Returns the settings in their order, with dotted keys: ``{"seed": 0, "generator.epochs": 200, ...}``."""
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            flat.update({f"{key}.{inner}": leaf for inner, leaf in flatten(value).items()})
        else:
            flat[key] = value
    return flat


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
    """Turns what ``config_to_dict`` returned into settings again: tuples included, and locked.

    Settings that came after those were stored have their defaults, and retired ones are read as ``retired`` says.
    """
    config = ConfigDict()
    for key, value in (flatten(defaults.get_config()) | retired.translated(flatten(stored))).items():
        *groups, name = key.split(".")
        place = config
        for group in groups:
            if group not in place:
                place[group] = ConfigDict()
            place = place[group]
        place[name] = _restored(value)
    return config.lock()


def _restored(value: Any) -> Any:
    """A stored value as it was: JSON has no tuples."""
    if value is None:
        return config_dict.placeholder(object)
    return tuple(_restored(inner) for inner in value) if isinstance(value, list | tuple) else value
