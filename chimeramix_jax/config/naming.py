"""Chooses the default directory of a run, with a name that no other run has."""

import hashlib
import json
import os
import re

from ml_collections import ConfigDict

from chimeramix_jax.config.catalog import own_folder
from chimeramix_jax.config.comparing import NO_EFFECT_ON_RESULTS, in_digests, leaving_out
from chimeramix_jax.config.experiments import parse_recipes
from chimeramix_jax.config.loading import shipped_settings
from chimeramix_jax.paths import short_name, without_links

_NAMED = (
    "seed",
    "max_labels_per_class",
    "dataset.evaluate_on",
    "folds",
    "fold_repeats",
)  # settings that are part of the name


def default_workdir(config: ConfigDict) -> str:
    """Returns the default directory of a run, such as ``runs/digits-chimeramix_grid-5-per-class-seed-0``.

    The name begins with that of the most similar shipped config file, or else of the data set, and that of an image
    folder. If settings differ from the shipped experiment, or the folder's location does, it ends in a digest of these.
    """
    name, changed = _nearest_file(config)
    parts = [re.sub(r"[^\w.-]", "_", name)]
    if folder := own_folder(config.dataset.name, config.dataset.directory):
        parts.append(re.sub(r"[^\w.-]", "_", short_name(without_links(folder))))
    images = "all" if config.max_labels_per_class is None else config.max_labels_per_class
    experiment = "-".join([config.experiment, *parse_recipes(config.recipes)])
    parts += [experiment, f"{images}-per-class", f"seed-{config.seed}"]
    if config.dataset.evaluate_on != "test":
        parts.append(config.dataset.evaluate_on)
    if config.folds:
        parts.append(f"{config.folds}-folds" + (f"-{config.fold_repeats}-times" if config.fold_repeats > 1 else ""))
    if changed:
        parts.append(hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:6])
    return os.path.join("runs", "-".join(parts))


def _nearest_file(config: ConfigDict) -> tuple[str, dict[str, object]]:
    """Returns the shipped file, for this experiment, with the fewest different settings, and these settings.

    If there is no such file, returns the data set's name and all settings that are not part of the run's name.
    """
    mine = leaving_out(config, (*NO_EFFECT_ON_RESULTS, *_NAMED))
    if folder := own_folder(config.dataset.name, config.dataset.directory):
        mine["dataset.directory"] = without_links(folder)
    changed: dict[str, dict[str, object]] = {}
    for name, settings in shipped_settings(config.dataset.name, config.experiment).items():
        theirs = leaving_out(settings, ())
        changed[name] = {key: value for key, value in mine.items() if key not in theirs or theirs[key] != value}
    nearest = min(changed, key=lambda name: (len(changed[name]), name), default=None)
    return (config.dataset.name, in_digests(mine)) if nearest is None else (nearest, changed[nearest])
