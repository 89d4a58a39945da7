"""The directory of a run where none is given: a name that no other run has."""

import hashlib
import json
import os
import re

from ml_collections import ConfigDict

from chimeramix_jax.config.comparing import NO_EFFECT_ON_RESULTS, leaving_out
from chimeramix_jax.config.loading import shipped_settings

_NAMED = ("seed", "max_labels_per_class", "dataset.evaluate_on")  # settings that stand in the name themselves


def default_workdir(config: ConfigDict) -> str:
    """Returns the folder for a run's files where none is given: ``runs/digits-chimeramix_grid-5-per-class-seed-0``.

    It begins with the name of the shipped file that the settings are nearest to, or else of the data set. ``all``
    stands in the place of the number where every image is used, and a run measured on validation images ends with
    that word. An ``image_folder`` run also carries its folder's name. Where settings differ from those of the shipped
    experiment, a folder's place among them, the name ends in a few letters of their digest, so that another setting
    or another folder is another run.
    """
    name, changed = _nearest_file(config)
    parts = [name]
    if config.dataset.directory:
        folder = os.path.basename(_place(config.dataset.directory))
        parts.append(re.sub(r"[^\w.-]", "_", folder))
    images = "all" if config.max_labels_per_class is None else config.max_labels_per_class
    parts += [config.experiment, f"{images}-per-class", f"seed-{config.seed}"]
    if config.dataset.evaluate_on != "test":
        parts.append(config.dataset.evaluate_on)
    if changed:
        parts.append(hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:6])
    return os.path.join("runs", "-".join(parts))


def _nearest_file(config: ConfigDict) -> tuple[str, dict[str, object]]:
    """The shipped file with this experiment from which the fewest settings differ, and these settings.

    Left out are those that affect no result, and those that stand in the name. All differ from no file.
    """
    mine = leaving_out(config, (*NO_EFFECT_ON_RESULTS, *_NAMED))
    if config.dataset.directory:
        mine["dataset.directory"] = _place(config.dataset.directory)
    changed: dict[str, dict[str, object]] = {}
    for name, settings in shipped_settings(config.dataset.name, config.experiment).items():
        there = leaving_out(settings, ())
        changed[name] = {key: value for key, value in mine.items() if key not in there or there[key] != value}
    nearest = min(changed, key=lambda name: (len(changed[name]), name), default=None)
    return (config.dataset.name, mine) if nearest is None else (nearest, changed[nearest])


def _place(directory: str) -> str:
    """Where a folder lies, however it is spelled."""
    return os.path.realpath(os.path.expanduser(directory))
