"""Checks whether the networks in a run's directory were trained with the current settings.

``config.json`` holds the settings of the whole run, but it may have been lost, edited or copied. Every checkpoint
carries the settings that it was trained with, so nothing that was trained otherwise passes for this run's.
"""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training import checkpoints


def refuse_other_settings(workdir: Workdir, config: ConfigDict, replaced: Sequence[Path] = ()) -> None:
    """Raises InputError unless everything that a run has trained was trained with these settings.

    Settings that only change how a trained classifier is measured may differ, and so may those that the generator does
    not depend on, for the generator. ``replaced`` are files that are about to be moved aside.
    """
    parts: dict[Path, Sequence[str] | None]
    parts = dict.fromkeys((workdir.pretraining, workdir.classifier, workdir.baseline))
    parts[workdir.generator] = settings.generator_settings(config)
    for part, among in parts.items():
        about = None if part in replaced else checkpoints.newest(part)
        if about is None or "config" not in about:
            continue
        differing = settings.differences(settings.from_dict(about["config"]), config, among, measuring=True)
        if differing:
            raise InputError(
                f"--workdir={workdir.path}: {part.name}/ was trained with other settings "
                f"({settings.shortened(differing)}), whatever config.json says; choose another with --workdir"
            )
