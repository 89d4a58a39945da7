"""What is done of a run, as its own files tell; asking its checkpoints would take JAX."""

from pathlib import Path
from typing import Any

from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir


def is_finished(path: Path, stage: str) -> bool:
    """Whether the run in a directory has done a stage: "generator", or all that comes after it."""
    return has_generator(path) if stage == "generator" else results(path) is not None


def has_generator(path: Path) -> bool:
    """Whether the run has a finished generator, its own or another's, as its drawn mixes tell."""
    workdir = Workdir(path)
    return workdir.picture.exists() and (workdir.generator.exists() or workdir.generator_from.exists())


def results(path: Path) -> dict[str, Any] | None:
    """The run's results; None where there are none, or damaged ones: all but its training is done again then."""
    try:
        return Workdir(path).read_results()
    except InputError:
        return None
