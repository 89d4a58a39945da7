"""Estimates how long a run takes, from finished runs beside it. Without such runs there is no estimate."""

import itertools
import math
import os
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import provenance
from chimeramix_jax.runs.workdir import Workdir

MOST_RUNS = 5  # of which the median is taken
MOST_FOLDERS = 200  # that are looked at, since a sweep may have thousands


def estimated_seconds(workdir: Workdir, config: ConfigDict, train: int, held_out: int) -> tuple[float, int] | None:
    """Returns the median time of comparable runs in the same folder, in seconds, and their number; None without any.

    Comparable runs have the same settings except for the seed, the same numbers of images, and were trained on the same
    kind of device with the same number of cores, not together with other seeds. Their time is that of all their parts,
    including the generator. There is no estimate with folds, because the time of their runs is not part of the results.

    Args:
        workdir: the run's directory, which may itself hold a finished run.
        config: its settings.
        train: its number of training images.
        held_out: its number of images that classifiers are evaluated on.
    """
    if config.folds and not config.fold:
        return None
    machine = provenance.device(), os.cpu_count()
    found = (
        sum(results["seconds"].values())
        for results in _results_beside(workdir.path)
        if _machine(results) == machine and _comparable(results, config, train, held_out)
    )
    seconds = list(itertools.islice(found, MOST_RUNS))
    return (statistics.median(seconds), len(seconds)) if seconds else None


def _results_beside(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yields the results of finished runs: those of the directory itself first, then of its neighbours."""
    try:
        names = sorted(os.listdir(path.parent))
    except OSError:  # the folder does not exist or may not be listed
        names = []
    for folder in [path, *(path.parent / name for name in names[:MOST_FOLDERS] if name != path.name)]:
        try:
            yield Workdir(folder).read_results()
        except (InputError, OSError):  # not a run, unfinished, damaged, or written by a later version
            continue


def _machine(results: Mapping[str, Any]) -> tuple[object, object]:
    """Returns what the time depends on, as far as results record it."""
    machine = results.get("machine")
    return results.get("device"), machine.get("cpu_count") if isinstance(machine, Mapping) else None


def _comparable(results: Mapping[str, Any], config: ConfigDict, train: int, held_out: int) -> bool:
    try:
        stored = settings.from_dict(results["config"])
        split = results[stored.dataset.evaluate_on]
        same_size = len(results["train_indices"]) == train and split["examples"] == held_out
        same_parts = ("baseline" in results) == (config.compare_with_baseline and config.mixing.mask != "none")
        stored.seed = config.seed
        has_times = math.fsum(results["seconds"].values()) > 0
        alone = {*results.get("seeds_together", {}).values()} <= {1}  # earlier versions did not record it
        return same_size and same_parts and has_times and alone and not settings.differences(stored, config)
    except (InputError, KeyError, TypeError, AttributeError):  # of an earlier version, or damaged
        return False
