"""Checks whether the networks in a run's directory were trained with the current settings.

``config.json`` holds the settings of the whole run, but it may have been lost, edited or copied. Every checkpoint
carries the settings that it was trained with, so nothing that was trained otherwise passes for this run's. It also
carries what the precision "auto" meant, which another machine may decide otherwise.
"""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import precision
from chimeramix_jax.training import checkpoints
from chimeramix_jax.training.members import member_directories

_AUTO = "auto"


def refuse_other_settings(workdir: Workdir, config: ConfigDict, replaced: Sequence[Path], stage: str) -> None:
    """Raises InputError unless everything that a run has trained was trained with these settings.

    Settings that only change how a trained classifier is measured may differ, and so may those that the generator does
    not depend on, for the generator. ``replaced`` are files that are about to be moved aside. ``stage`` is the
    requested one: a training that it continues must also have the same precision.
    """
    abouts = _abouts(workdir, config, replaced)
    for part, about in abouts.items():
        if "config" not in about:
            continue
        among = settings.generator_settings(config) if part == workdir.generator else None
        stored = settings.from_dict(about["config"])
        if "precision" in about and _AUTO in (stored.precision, config.precision):
            stored.precision = config.precision  # what it means is compared below
        differing = settings.differences(stored, config, among, measuring=True)
        if differing:
            raise InputError(
                f"--workdir={workdir.path}: {part.name}/ was trained with other settings "
                f"({settings.shortened(differing)}), whatever config.json says; choose another with --workdir"
            )
    if stage not in settings.MEASURING_STAGES and _is_left(workdir, config, abouts, stage):
        for part, about in abouts.items():
            refuse_other_precision(workdir, f"{part.name}/ was trained", about.get("precision"), config)


def refuse_other_precision(workdir: Workdir, what: str, before: str | None, config: ConfigDict) -> None:
    """Raises InputError, which begins with ``what``, if the precision was another; None: it is not recorded."""
    now = precision.resolved(config.precision)
    if before not in (None, now):
        raise InputError(
            f"--workdir={workdir.path}: {what} in {before}, but precision {config.precision!r} means {now} here; "
            f"continue with --config.precision={before}, or on a machine where it means that"
        )


def as_begun(workdir: Workdir, config: ConfigDict) -> ConfigDict:
    """Returns the settings, with the precision "auto" in place of the one that it meant when the run was begun.

    So a run that was begun with "auto" can be continued on a machine where that means something else.
    """
    if config.precision == _AUTO or not workdir.has_config() or workdir.read_config().precision != _AUTO:
        return config
    if config.precision not in [about.get("precision") for about in _abouts(workdir, config, ()).values()]:
        return config
    begun = copy.deepcopy(config)
    begun.precision = _AUTO
    return begun


def _abouts(workdir: Workdir, config: ConfigDict, replaced: Sequence[Path]) -> Mapping[Path, dict[str, Any]]:
    """Returns what the newest checkpoint of each part of the run records, for parts that have one."""
    classifiers = (workdir.pretraining, workdir.classifier, workdir.baseline)
    found = {part: checkpoints.newest(part) for part in (*classifiers, workdir.generator) if part not in replaced}
    if workdir.classifier in found and found[workdir.classifier] is None:  # further members are trained before it
        for member in member_directories(workdir.classifier, config.classifier.members)[1:]:
            found[member] = checkpoints.newest(member)
    return {part: about for part, about in found.items() if about is not None}


def _is_left(workdir: Workdir, config: ConfigDict, abouts: Mapping[Path, dict[str, Any]], stage: str) -> bool:
    """Whether the stage has something to train."""
    if stage == "generator":
        needed = {workdir.generator: config.generator.epochs}
    else:
        compared = config.compare_with_baseline and config.mixing.mask != "none"
        parts = (workdir.classifier, workdir.baseline) if compared else (workdir.classifier,)
        needed = dict.fromkeys(parts, config.classifier.epochs)
    return any(abouts.get(part, {"epoch": 0})["epoch"] < epochs for part, epochs in needed.items())
