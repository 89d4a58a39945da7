"""The settings of a run, divided into those that were changed and those that were not."""

from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config import defaults

_NOTHING = "not set"


@dataclass(frozen=True)
class Settings:
    """A run's settings by dotted key, beside those of the file that it was probably started with."""

    origin: str  # describes the file
    changed: dict[str, tuple[Any, Any]]  # the run's value and the file's
    others: dict[str, Any]


def divide(config: ConfigDict) -> Settings:
    """Compares a run with the most similar shipped file for its experiment or, if there is none, with the defaults."""
    mine = settings.flatten(settings.config_to_dict(config))
    files = settings.shipped_settings(config.dataset.name, config.experiment)
    origins = {f"configs/{name}.py for {config.experiment}": file for name, file in files.items()}
    candidates = []
    for origin, file in (origins or {"the defaults": defaults.get_config()}).items():
        theirs = settings.flatten(settings.config_to_dict(file))
        changed = {
            key: (value, theirs.get(key, _NOTHING)) for key, value in mine.items() if theirs.get(key, _NOTHING) != value
        }
        others = {key: value for key, value in mine.items() if key not in changed}
        candidates.append(Settings(origin, changed, others))
    return min(candidates, key=lambda candidate: len(candidate.changed))
