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


_MOST_BYTES = 240  # of a name; file systems allow 255, and some files are named after a run with something added
_SHORTENED_BYTES = 200


def default_workdir(config: ConfigDict) -> str:
    """Returns the default directory of a run, such as ``runs/digits-chimeramix_grid-5-per-class-seed-0``.

    The name begins with that of the most similar shipped config file, or else of the data set, and that of an image
    folder. If settings differ from the shipped experiment, or the folder's location does, it ends in a digest of these.
    A name that would be too long for a file system has only the beginnings of the folder's and the recipes' names.
    """
    name, changed = _nearest_file(config)
    file = re.sub(r"[^\w.-]", "_", name)
    directory = own_folder(config.dataset.name, config.dataset.directory)
    folder = re.sub(r"[^\w.-]", "_", short_name(without_links(directory))) if directory else ""
    experiment = "-".join([config.experiment, *parse_recipes(config.recipes)])
    others = _numbers(config)
    whole = _joined(file, folder, experiment, *others, _digest(changed) if changed else "")
    if len(whole.encode()) > _MOST_BYTES:
        digest = _digest({"changed": changed, "file": file, "folder": folder, "experiment": experiment})
        file = _cut(file, _SHORTENED_BYTES // 3)
        room = _SHORTENED_BYTES - len(_joined(file, *others, digest).encode()) - len("--")
        folder = _cut(folder, max(room // 2, room - len(experiment.encode())))
        whole = _joined(file, folder, _cut(experiment, room - len(folder.encode())), *others, digest)
    return os.path.join("runs", whole)


def _numbers(config: ConfigDict) -> list[str]:
    """Returns the parts of a run's name that say how many images, and which, it learns from and is measured on."""
    images = "all" if config.max_labels_per_class is None else config.max_labels_per_class
    parts = [f"{images}-per-class", f"seed-{config.seed}"]
    if config.dataset.evaluate_on != "test":
        parts.append(config.dataset.evaluate_on)
    if config.folds:
        parts.append(f"{config.folds}-folds" + (f"-{config.fold_repeats}-times" if config.fold_repeats > 1 else ""))
    return parts


def _joined(*parts: str) -> str:
    return "-".join(filter(None, parts))


def _digest(content: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:6]


def _cut(text: str, most_bytes: int) -> str:
    """Returns the beginning of a text that has at most so many bytes in UTF-8, without a part of a character."""
    return text.encode()[:most_bytes].decode(errors="ignore")


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
