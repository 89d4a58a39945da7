"""Determines what a run has finished from its files, as reading its checkpoints would need JAX."""

from pathlib import Path
from typing import Any

from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir


def is_finished(path: Path, stage: str) -> bool:
    """Whether the run in a directory has finished a stage: "generator", or any other, which means its results."""
    return has_generator(path) if stage == "generator" else results(path) is not None


def has_generator(path: Path) -> bool:
    """Whether the run has a finished generator, its own or that of another run: then its mixes have been drawn."""
    workdir = Workdir(path)
    return workdir.picture.exists() and (workdir.generator.exists() or workdir.generator_from.exists())


def results(path: Path) -> dict[str, Any] | None:
    """Returns the run's results; None if they are missing or damaged, so that the run is evaluated again."""
    try:
        return Workdir(path).read_results()
    except InputError:
        return None
