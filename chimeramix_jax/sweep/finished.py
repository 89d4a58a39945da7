"""Determines what a run has finished from its files, as reading its checkpoints would need JAX."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.splits import is_measured
from chimeramix_jax.reporting.stage_files import CHECKPOINTS
from chimeramix_jax.runs.workdir import Workdir


def is_finished(path: Path, stage: str, *, with_baseline: bool = False) -> bool:
    """Whether the run in a directory has finished a stage: "generator", or any other, which is results and report.

    ``with_baseline``: its results must also hold the baseline that a run which mixes is compared with.
    """
    if stage == "generator":
        return has_generator(path)
    content = results(path)
    if content is None or _lacks_report(path):
        return False
    return not with_baseline or _has_baseline(content)


def _has_baseline(content: Mapping[str, Any]) -> bool:
    baseline = content.get("baseline")
    return isinstance(baseline, Mapping) and is_measured(baseline)


def _lacks_report(path: Path) -> bool:
    """Whether a run has ended before its report was written, which measuring its trained classifier again repairs."""
    workdir = Workdir(path)
    return not workdir.report.exists() and (workdir.classifier / CHECKPOINTS).exists()


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


def seeds_together(content: Mapping[str, Any], part: str) -> int | None:
    """Returns of how many seeds that trained together the seconds of a part are; None if results do not say so."""
    recorded = content.get("seeds_together")
    number = recorded.get(part) if isinstance(recorded, Mapping) else None
    return number if isinstance(number, int) and number > 0 else None


def seconds_of(content: Mapping[str, Any]) -> dict[str, float]:
    """Returns the seconds of each trained part, as far as a run's results record them."""
    recorded = content.get("seconds")
    if not isinstance(recorded, Mapping):
        return {}
    return {part: float(seconds) for part, seconds in recorded.items() if isinstance(seconds, int | float)}
