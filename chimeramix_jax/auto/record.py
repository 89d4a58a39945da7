"""The record of a choice, ``auto.json``: every run that was tried, what was decided, and how much time was used."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool

from chimeramix_jax import files, stored_format
from chimeramix_jax.auto.halving import Cost, Schedule
from chimeramix_jax.auto.optimism import EXPLANATION
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir


@dataclass(frozen=True)
class Tried:
    """A finished run of a recipe on a fold."""

    recipe: str
    fold: int  # from 1
    workdir: str  # relative to the directory of the final run
    seconds: float  # wall-clock time, including compiling
    predictions: list[int]  # the predicted class of each image of the fold
    labels: list[int]  # their true classes

    @property
    def correct(self) -> Bool[np.ndarray, "images"]:
        """Whether each image was predicted correctly."""
        return np.array(self.predictions) == np.array(self.labels)


@dataclass
class RungRecord:
    """A rung: what every recipe was to be trained for, the runs so far, and the recipes kept, the best first."""

    seconds: float  # planned, of each recipe
    folds: int  # planned
    until: float  # the seconds that may have been used when it is over
    schedules: dict[str, Schedule]
    tried: list[Tried] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # empty while the rung is not over
    # For each recipe, as how many independent images the predicted ones count, if some belong together (else empty).
    effective: dict[str, float] = field(default_factory=dict)

    def find(self, recipe: str, fold: int) -> Tried | None:
        """Returns the run of a recipe on a fold; None if it has not been finished."""
        return next((run for run in self.tried if (run.recipe, run.fold) == (recipe, fold)), None)

    def folds_of(self, recipe: str) -> list[int]:
        """Returns the folds on which a recipe has been run so far, in order."""
        return sorted(run.fold for run in self.tried if run.recipe == recipe)

    def correct(self, recipe: str, folds: Collection[int] | None = None) -> Bool[np.ndarray, "images"]:
        """Whether each image of these folds, or of all so far, is predicted correctly, in the order of the folds."""
        runs = sorted((run for run in self.tried if run.recipe == recipe), key=lambda run: run.fold)
        return np.concatenate([run.correct for run in runs if folds is None or run.fold in folds])


@dataclass(frozen=True)
class Begun:
    """A run that was begun when the record was written."""

    workdir: str  # relative to the directory of the final run
    counted: float  # the seconds up to its checkpoints that are in ``Record.used``


@dataclass
class Record:
    """Everything that was tried and decided."""

    requested: dict[str, Any]  # the settings of the command
    used: float = 0.0  # seconds
    costs: dict[str, Cost] = field(default_factory=dict)  # as last measured
    rungs: list[RungRecord] = field(default_factory=list)
    winner: str = ""
    accuracy: float | None = None  # of the winner, over the folds of the last rung
    optimism: float | None = None  # by how much that is too high because the winner was chosen by it
    final: Schedule | None = None
    planned_at: float = 0.0  # the seconds that had been used when the final training was planned
    trial: Begun | None = None  # in progress
    precision: str = ""  # what "auto" means; empty in choices of earlier versions
    side: int | None = None  # of the final model's images, in pixels; None: as in the requested settings
    left_out: list[str] = field(default_factory=list)  # recipes that there was no time to compare
    diverged: dict[str, str] = field(default_factory=dict)  # where recipes were left out, and after which error
    timed_again: dict[str, Cost] = field(default_factory=dict)  # measured once more, before the first rung

    def write(self, workdir: Workdir) -> None:
        """Writes ``auto.json``."""
        content = dataclasses.asdict(self) | {"explanation": EXPLANATION}
        files.write_json(workdir.auto_record, stored_format.marked(content))

    @classmethod
    def read(cls, workdir: Workdir) -> "Record | None":
        """Returns the record in a run's directory, or None without one; raises InputError if it cannot be read."""
        stored = stored_format.read(workdir.auto_record)
        if stored is None:
            return None
        stored.pop("explanation", None)
        try:
            return cls(
                **stored
                | {
                    "costs": _costs(stored["costs"]),
                    "timed_again": _costs(stored.get("timed_again", {})),  # earlier versions did not
                    "rungs": [_rung(rung) for rung in stored["rungs"]],
                    "final": None if stored["final"] is None else Schedule(**stored["final"]),
                    "trial": None if stored.get("trial") is None else Begun(**stored["trial"]),
                }
            )
        except (AttributeError, KeyError, TypeError) as error:
            problem = f"{type(error).__name__}: {error}"
            raise InputError(f"{workdir.auto_record}: cannot be read: {problem}; choose another --workdir") from None


def _costs(stored: Mapping[str, Mapping[str, Any]]) -> dict[str, Cost]:
    return {name: Cost(**{**cost, "weights": tuple(cost.get("weights", ()))}) for name, cost in stored.items()}


def _rung(stored: Mapping[str, Any]) -> RungRecord:
    tried: Sequence[Mapping[str, Any]] = stored["tried"]
    schedules = {name: Schedule(**schedule) for name, schedule in stored["schedules"].items()}
    return RungRecord(**{**stored, "schedules": schedules, "tried": [Tried(**run) for run in tried]})
