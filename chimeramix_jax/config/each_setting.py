"""Checks settings one by one: whether there is such a setting, and whether it may have its value."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from chimeramix_jax.config import own_code
from chimeramix_jax.config.defaults import SETTINGS
from chimeramix_jax.config.retired import RETIRED
from chimeramix_jax.errors import InputError, nearest


def check_each(settings: Mapping[str, Any], retired: Collection[str] = ()) -> None:
    """Raises InputError unless all settings are there, and no others but those ``retired``, each with a possible value.

    Args:
        settings: the values by dotted keys such as ``generator.epochs``.
        retired: settings that earlier versions had, which may be there, too.
    """
    for key in settings:
        if key not in retired:
            check_key(key, SETTINGS)
    for key, rule in SETTINGS.items():
        if key not in settings:
            raise InputError(f"{key}: missing; it must be {rule.allowed}")
        check_value(key, settings[key])


def check_key(key: str, known: Iterable[str]) -> None:
    """Raises InputError, with a suggestion, unless a dotted key such as ``generator.epochs`` is known."""
    names = list(known)
    if key in names:
        return
    if key in RETIRED:
        raise InputError(f"{key}: {RETIRED[key]}")
    members = [name for name in names if name.startswith(f"{key}.")]
    if members:
        raise InputError(f"{key}: this is a group of settings; set one of {', '.join(members)}")
    near = nearest(key, names)
    hint = f"did you mean {near}?" if near else "chimeramix_jax/config/defaults.py lists all settings"
    raise InputError(f"{key!r}: there is no such setting; {hint}")


def check_value(key: str, value: Any) -> None:
    """Raises InputError unless a setting may have this value, whatever the others are."""
    rule = SETTINGS[key]
    if rule.names and isinstance(value, str) and value not in rule.names and not own_code.is_known(key, value):
        known = [*filter(None, rule.names), *own_code.names(key)]
        near = nearest(value, known)
        allowed = f"one of {', '.join(known)}" if known else "empty, or the name of your own (docs/own_ideas.md)"
        hint = f" (did you mean {near!r}?)" if near else ""
        raise InputError(f"{key}: {value!r} is not allowed; it must be {allowed}{hint}")
    if not rule.holds(value):
        raise InputError(f"{key}: {value!r} is not allowed; it must be {SETTINGS[key].allowed}")
