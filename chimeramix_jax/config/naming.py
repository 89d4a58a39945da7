"""The directory of a run where none is given: a name that no other run has."""

import hashlib
import json
import os
import re

from ml_collections import ConfigDict

from chimeramix_jax.config.comparing import NO_EFFECT_ON_RESULTS, leaving_out
from chimeramix_jax.config.loading import load
from chimeramix_jax.errors import InputError

_NAMED = ("seed", "max_labels_per_class", "dataset.evaluate_on")  # settings that stand in the name themselves


def default_workdir(config: ConfigDict) -> str:
    """Returns the folder for a run's files where none is given: ``runs/digits-chimeramix_grid-5-per-class-seed-0``.

    ``all`` stands in the place of the number where every image is used, and a run measured on validation images ends
    with that word. An ``image_folder`` run also carries its folder's name. Where settings differ from those of the
    shipped experiment, a folder's place among them, the name ends in a few letters of their digest, so that another
    setting or another folder is another run.
    """
    parts = [config.dataset.name]
    if config.dataset.directory:
        folder = os.path.basename(_place(config.dataset.directory))
        parts.append(re.sub(r"[^\w.-]", "_", folder))
    images = "all" if config.max_labels_per_class is None else config.max_labels_per_class
    parts += [config.experiment, f"{images}-per-class", f"seed-{config.seed}"]
    if config.dataset.evaluate_on != "test":
        parts.append(config.dataset.evaluate_on)
    changed = _changed(config)
    if changed:
        parts.append(hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:6])
    return os.path.join("runs", "-".join(parts))


def _changed(config: ConfigDict) -> dict[str, object]:
    """The settings that differ from the shipped experiment's, but for those that affect no result or are named."""
    mine = leaving_out(config, (*NO_EFFECT_ON_RESULTS, *_NAMED))
    try:
        shipped = leaving_out(load(f"{config.dataset.name}:{config.experiment}"), ())
    except InputError:  # an experiment of the user's own
        shipped = {}
    if config.dataset.directory:
        mine["dataset.directory"] = _place(config.dataset.directory)
    return {key: value for key, value in mine.items() if key not in shipped or shipped[key] != value}


def _place(directory: str) -> str:
    """Where a folder lies, however it is spelled."""
    return os.path.realpath(os.path.expanduser(directory))
