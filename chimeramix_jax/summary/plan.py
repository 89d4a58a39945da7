"""The plan of a sweep: the list of its runs, so that a summary can report those that never started.

A program that starts a sweep may write ``sweep.json`` into the sweep's folder::

    {
      "runs": [
        {
          "workdir": "digits-baseline-5-per-class-seed-0",
          "dataset": "digits",
          "experiment": "baseline",
          "max_labels_per_class": 5,
          "seed": 0
        },
        ...
      ]
    }

``workdir`` is relative to that folder, and ``max_labels_per_class`` may be null (all images). Runs evaluated on
validation images also have ``"evaluate_on": "validation"``, runs on ``image_folder`` have ``"directory"``, and runs on
a published division have ``"division"``. ``"folds"`` is the number of a run's folds. Other keys are ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.stored_format import read
from chimeramix_jax.summary.trials import Address, dataset_label

FILE = "sweep.json"

_SETTINGS = {
    # The keys of a planned run, and the settings that they stand for.
    "dataset": "dataset.name",
    "directory": "dataset.directory",
    "division": "dataset.division",
    "evaluate_on": "dataset.evaluate_on",
    "experiment": "experiment",
    "max_labels_per_class": "max_labels_per_class",
    "seed": "seed",
    "folds": "folds",
}
_DEFAULTS = {"evaluate_on": "test", "directory": "", "division": -1}


@dataclass(frozen=True)
class PlannedRun:
    """A planned run and its directory."""

    workdir: Path
    address: Address
    folds: int | None = None  # 0: none; None: not known


def read_plan(folder: Path) -> list[PlannedRun] | None:
    """Returns the planned runs of a sweep's folder, or None if it has no plan; raises InputError for a damaged one."""
    path = folder / FILE
    plan = read(path)
    if plan is None:
        return None
    if not isinstance(plan.get("runs"), list):
        raise InputError(f'{path}: cannot be read: it must hold {{"runs": [...]}}')
    return [_planned(folder, run, f"{path}: runs[{number}]") for number, run in enumerate(plan["runs"])]


def _planned(folder: Path, run: Any, where: str) -> PlannedRun:
    if not isinstance(run, Mapping):
        raise InputError(f"{where}: a {type(run).__name__} is not allowed; it must be a JSON object")
    if not isinstance(run.get("workdir"), str):
        raise InputError(f"{where}.workdir: {run.get('workdir')!r} is not allowed; it must be a folder's name")
    values = {**_DEFAULTS, **run}
    for key, setting in _SETTINGS.items():
        if key == "folds" and key not in run:
            continue  # the plan of an earlier version
        rule = settings.SETTINGS[setting]
        if key not in values or not rule.holds(values[key]):
            value = repr(values[key]) if key in values else "missing"
            raise InputError(f"{where}.{key}: {value}; it must be {rule.allowed}")
    address = Address(
        dataset=dataset_label(values["dataset"], values["directory"], values["division"]),
        split=values["evaluate_on"],
        experiment=values["experiment"],
        images_per_class=values["max_labels_per_class"],
        seed=values["seed"],
    )
    return PlannedRun(folder / values["workdir"], address, values.get("folds"))
