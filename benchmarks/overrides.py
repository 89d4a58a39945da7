"""Refuses changes of settings that a benchmark sets itself, which would be overwritten or spoil the comparison."""

from collections.abc import Collection, Iterable

from chimeramix_jax.errors import InputError


def refuse(keys: Iterable[str], own: Collection[str], flag: str) -> None:
    """Raises InputError if a setting to change is one of those that the benchmark sets.

    Args:
        keys: the settings to change, such as "classifier.epochs".
        own: the settings that the benchmark sets.
        flag: how changes are written, such as "--config", for the message.
    """
    if refused := [key for key in keys if key in own]:
        raise InputError(f"{flag}: {', '.join(refused)} cannot be changed, as this benchmark sets what it is")


def keys_of(changes: Iterable[str]) -> list[str]:
    """Returns the settings that arguments such as ``--config.classifier.dropout_rate=0.1`` change."""
    return [change.removeprefix("--config.").partition("=")[0] for change in changes]
