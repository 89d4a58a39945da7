"""Settings that may name a registered idea, and the settings that record the code of it.

When settings are checked, the program writes beside the name what code the name stands for: the name of the file or the
installed package, and the SHA-256 of its content. So runs with other code have other settings, and a stored run says
which code it needs. A recorded code is binding: other code under the same name is refused, not used.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.config import rules
from chimeramix_jax.errors import InputError
from chimeramix_jax.extensions import lookup, registry

_KINDS: Mapping[str, tuple[str, str]] = {  # by setting: the kind of idea that it may name, and where its code is
    "mixing.mask": (registry.MASK, "mixing.mask_code"),
    "augment.own": (registry.AUGMENTATION, "augment.own_code"),
    "classifier.model": (registry.NETWORK, "classifier.model_code"),
    "classifier.loss": (registry.LOSS, "classifier.loss_code"),
    "dataset.name": (registry.DATASET, "dataset.code"),
}
CODES = tuple(code_key for _, code_key in _KINDS.values())
_KEYS = {code_key: key for key, (_, code_key) in _KINDS.items()}

_stored: set[tuple[str, str, str]] = set()  # setting, name and code of own ideas that stored runs use

registry.reserve(registry.MASK, lambda name: name in rules.MASKS)
registry.reserve(registry.LOSS, lambda name: name in rules.LOSSES)


def names(key: str) -> list[str]:
    """Returns the names of own ideas that a setting may have at present."""
    return lookup.names(_KINDS[key][0])


def is_known(key: str, name: str) -> bool:
    """Whether a value of a setting is the name of a registered idea, of now or of a stored run that has been read."""
    return any((key, name) == known[:2] for known in _stored) or lookup.current(_KINDS[key][0], name) is not None


def is_own(key: str, settings: Mapping[str, Any]) -> bool:
    """Whether settings with dotted keys, which have been recorded, use a registered idea for a setting."""
    return settings[_KINDS[key][1]] != ""


def note(settings: Mapping[str, Any]) -> None:
    """Notes the names of own ideas in the settings of a stored run, so that these settings can be read."""
    for key, (_, code_key) in _KINDS.items():
        if settings.get(code_key):
            _stored.add((key, settings[key], settings[code_key]))


def record(config: ConfigDict, *, stored: bool = False) -> None:
    """Writes the code of the own ideas that settings name into these settings.

    Raises InputError if other code is recorded in them already, unless they are ``stored`` and nothing is trained.
    """
    for key, (kind, code_key) in _KINDS.items():
        group, place = config[key.partition(".")[0]], code_key.partition(".")[2]
        name, recorded = group[key.partition(".")[2]], group[place]
        if not _may_be_own(key, name):
            group[place] = ""
        elif not (recorded and (lookup.is_loaded(kind, name, recorded) or _is_kept(key, name, recorded))):
            group[place] = _present_code(key, name, recorded, stored)


def _present_code(key: str, name: str, recorded: str, stored: bool) -> str:
    """Returns the code that a name stands for at present; empty if it is not the name of a registered idea."""
    kind, code_key = _KINDS[key]
    registration = lookup.current(kind, name)
    if recorded and (stored or registration is None):
        return recorded  # it is looked for only where it is needed
    if registration is None:
        if is_known(key, name):
            raise InputError(f"{key}: {name!r} is registered by no file or package that is loaded, only by stored runs")
        return ""
    present = registration.source.code
    if recorded and lookup.label_of(recorded) == lookup.label_of(present):
        raise InputError(
            f"{code_key}: {registration.source.place} has changed: {kind} {name!r} is recorded with SHA-256 "
            f"{_short(recorded)}, and now it is {_short(present)}; restore the file as it was, or start anew"
        )
    return present


def _is_kept(key: str, name: str, recorded: str) -> bool:
    """Whether a stored run uses this code, and keeps a copy of it that has been noted."""
    return (key, name, recorded) in _stored and lookup.has_copy(recorded)


def change(code_key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Describes how a registered idea's code differs between settings with dotted keys; nothing if its name does."""
    key = _KEYS[code_key]
    before, after = old.get(code_key, ""), new.get(code_key, "")
    if not before or not after or old[key] != new[key]:
        return []
    kind, name = _KINDS[key][0], new[key]
    if lookup.label_of(before) != lookup.label_of(after):
        return [f"{kind} {name!r} is now of {lookup.label_of(after)} instead of {lookup.label_of(before)}"]
    digests = f"SHA-256 {_short(before)} stored, {_short(after)} now"
    return [f"{lookup.label_of(after)}, which has {kind} {name!r}, has changed ({digests})"]


def codes(config: ConfigDict) -> list[str]:
    """Returns all code that settings record, each once."""
    recorded = [config[group][place] for group, _, place in (code_key.partition(".") for code_key in CODES)]
    return list(dict.fromkeys(filter(None, recorded)))


def code_arguments(config: ConfigDict) -> list[str]:
    """Returns arguments by which a run is refused if own code has changed since it was recorded in these settings."""
    recorded = {code_key: config[code_key.partition(".")[0]][code_key.partition(".")[2]] for code_key in CODES}
    return [f"--config.{code_key}={code}" for code_key, code in recorded.items() if code]


def _may_be_own(key: str, name: object) -> bool:
    """Whether a value can be the name of a registered idea, so that installed packages have to be searched for it."""
    return isinstance(name, str) and name != "" and not registry.STATE.taken.get(_KINDS[key][0], lambda _: False)(name)


def _short(code: str) -> str:
    return lookup.digest_of(code)[:8]
