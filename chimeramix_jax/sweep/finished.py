"""Determines what a run has finished from its files, as reading its checkpoints would need JAX."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.splits import is_measured
from chimeramix_jax.runs.workdir import Workdir


def is_finished(path: Path, stage: str) -> bool:
    """Whether the run in a directory has finished a stage: "generator", or any other, which is results and report."""
    return has_generator(path) if stage == "generator" else results(path) is not None and not _lacks_report(path)


def _lacks_report(path: Path) -> bool:
    """Whether a run has ended before its report was written, which measuring its trained classifier again repairs."""
    workdir = Workdir(path)
    return not workdir.report.exists() and (workdir.classifier / "checkpoints").exists()


def has_generator(path: Path) -> bool:
    """Whether the run has a finished generator, its own or that of another run: then its mixes have been drawn."""
    workdir = Workdir(path)
    return workdir.picture.exists() and (workdir.generator.exists() or workdir.generator_from.exists())


def results(path: Path) -> dict[str, Any] | None:
    """Returns the run's results; None if they are missing, damaged or without an accuracy: it is evaluated again."""
    try:
        content = Workdir(path).read_results()
    except InputError:
        return None
    return content if is_measured(content) else None


def seconds_of(content: Mapping[str, Any]) -> dict[str, float]:
    """Returns the seconds of each trained part, as far as a run's results record them."""
    recorded = content.get("seconds")
    if not isinstance(recorded, Mapping):
        return {}
    return {part: float(seconds) for part, seconds in recorded.items() if isinstance(seconds, int | float)}
