"""The arguments that change settings, ``--config.KEY=VALUE``, in all the ways in which they can be written."""

import re
from collections.abc import Iterator, Sequence

from chimeramix_jax import config as settings
from chimeramix_jax.config.rules import YES_OR_NO
from chimeramix_jax.errors import InputError

_PREFIX = "--config."
_ANY_SPELLING = re.compile(r"--?(no-?)?config\.([^=]*)(?:=(.*))?", re.DOTALL)


def spelled_out(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with each change of a setting as ``--config.KEY=VALUE``; all others are as they were.

    A change may also be written ``--config.KEY VALUE``, with a single dash, or as a switch: ``--config.KEY`` and
    ``--noconfig.KEY``.

    Raises:
        InputError: there is no such setting, its value is missing, or it is changed twice, to different values.
    """
    written: list[str] = []
    values: dict[str, str] = {}
    remaining = iter(arguments)
    for argument in remaining:
        match = _ANY_SPELLING.fullmatch(argument)
        if match is None:
            written.append(argument)
            continue
        key, value = match[2], _value(match, remaining)
        if _same(key, values.setdefault(key, value)) != _same(key, value):
            raise InputError(f"{key}: is set twice, to {values[key]!r} and {value!r}; set it once")
        written.append(f"{_PREFIX}{key}={value}")
    return written


def separated(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the changes of settings as ``--config.KEY=VALUE``, and all other arguments, for commands of many runs.

    Raises InputError as ``spelled_out`` does, and for a limit on the time, since such runs share the machine.
    """
    written = spelled_out(arguments)
    changes = [argument for argument in written if argument.startswith(_PREFIX)]
    if "minutes" in settings.overridden(changes):
        raise InputError("minutes: only a single run is trained for a given time; set classifier.epochs instead")
    return changes, [argument for argument in written if not argument.startswith(_PREFIX)]


def _value(match: re.Match[str], following: Iterator[str]) -> str:
    """Returns the value of an argument that changes a setting, which may be the argument after it."""
    negation, key, value = match.groups()
    settings.check_key(key, settings.SETTINGS)
    rule = settings.SETTINGS[key]
    if negation:
        if rule is not YES_OR_NO or value is not None:
            raise InputError(f"{match[0]}: is not understood; write {_PREFIX}{key}=VALUE, with {rule.allowed}")
        return "false"
    if value is None and rule is YES_OR_NO:
        return "true"
    if value is None:
        value = next(following, "--")
        if value.startswith("--"):  # another flag; a single dash may begin a negative number
            raise InputError(f"{_PREFIX}{key}: its value is missing; write {_PREFIX}{key}=VALUE")
    return value


def _same(key: str, value: str) -> str:
    """Returns a value in a form that is equal for ``true`` and ``True``."""
    return value.lower() if settings.SETTINGS[key] is YES_OR_NO else value
