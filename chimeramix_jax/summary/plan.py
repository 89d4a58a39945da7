"""The plan of a sweep: which runs there are to be, so that those that never began are missed.

Whatever starts a sweep may write ``sweep.json`` into the sweep's folder::

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

``workdir`` is relative to that folder, ``max_labels_per_class`` may be null (all images). A run that is measured on
validation images has ``"evaluate_on": "validation"`` as well, one of ``image_folder`` its ``"directory"``. Other keys
are not looked at.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.stored_format import unmarked
from chimeramix_jax.summary.trials import Address, dataset_label

FILE = "sweep.json"

_SETTINGS = {
    # The settings that a planned run names, by its own keys.
    "dataset": "dataset.name",
    "directory": "dataset.directory",
    "evaluate_on": "dataset.evaluate_on",
    "experiment": "experiment",
    "max_labels_per_class": "max_labels_per_class",
    "seed": "seed",
}
_DEFAULTS = {"evaluate_on": "test", "directory": ""}


@dataclass(frozen=True)
class PlannedRun:
    """A run that is to be in ``workdir``."""

    workdir: Path
    address: Address


def read_plan(folder: Path) -> list[PlannedRun] | None:
    """Returns the planned runs of a sweep's folder; None where there is no plan.

    Raises:
        InputError: the plan is not of the form above; names the file and the run.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        plan = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    if not isinstance(plan, Mapping) or not isinstance(plan.get("runs"), list):
        raise InputError(f'{path}: cannot be read: {{"runs": [...]}} is wanted')
    plan = unmarked(plan, path)
    return [_planned(folder, run, f"{path}: runs[{number}]") for number, run in enumerate(plan["runs"])]


def _planned(folder: Path, run: Any, where: str) -> PlannedRun:
    if not isinstance(run, Mapping):
        raise InputError(f"{where}: a JSON object is wanted, not a {type(run).__name__}")
    if not isinstance(run.get("workdir"), str):
        raise InputError(f"{where}.workdir: {run.get('workdir')!r} is not allowed; it must be a folder's name")
    values = {**_DEFAULTS, **run}
    for key, setting in _SETTINGS.items():
        rule = settings.SETTINGS[setting]
        if key not in values or not rule.holds(values[key]):
            value = repr(values[key]) if key in values else "missing"
            raise InputError(f"{where}.{key}: {value}; it must be {rule.allowed}")
    address = Address(
        dataset=dataset_label(values["dataset"], values["directory"]),
        split=values["evaluate_on"],
        experiment=values["experiment"],
        images_per_class=values["max_labels_per_class"],
        seed=values["seed"],
    )
    return PlannedRun(folder / values["workdir"], address)
