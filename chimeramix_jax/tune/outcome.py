"""The outcome of a search: the trials ranked, a table of the best, all as CSV, and the best as a config file."""

import csv
import json
import math
import os
import shlex
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.auto.optimism import SAMPLES, optimism
from chimeramix_jax.config import shipped
from chimeramix_jax.reporting.csv_rows import csv_rows
from chimeramix_jax.reporting.statistics import percent
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.tune.space import Space, Value
from chimeramix_jax.tune.trial import Plan

BEST, TABLE = "best.py", "search.csv"  # in the search's folder

DONE, PRUNED = "done", "stopped early"
DIVERGED, FAILED, RUNNING, WAITING = "diverged", "failed", "not finished", "not started"

_MOST_SHOWN = 5  # trials in the printed table
_WIDTH = 79  # of the printed table
_MOST_PREDICTIONS = 10_000_000  # drawn for the bootstrap; with more images, the choice hardly inflates the accuracy


@dataclass(frozen=True)
class TrialRecord:
    """What is known of a trial."""

    number: int
    state: str
    values: Mapping[str, Value]  # its settings
    accuracy: float = math.nan  # on validation images or folds; of a trial that was stopped early, when it was
    examples: int = 0  # the number of these images, if it is done
    seconds: float = math.nan  # of training the classifier, if it is done
    problem: str = ""  # if it failed


@dataclass(frozen=True)
class Ranking:
    """The trials of a search and what they say about the best."""

    records: Sequence[TrialRecord]  # by number
    finished: Sequence[TrialRecord]  # those that are done, the best first
    optimism: float | None = None  # by how much the best accuracy is too high; None: unknown

    @classmethod
    def of(
        cls, records: Sequence[TrialRecord], plan: Plan | None = None, units: Mapping[str, str] | None = None
    ) -> "Ranking":
        """Ranks trials; equally accurate ones by number. With a plan, also estimates the optimism.

        ``units`` has the name of each image's unit, as ``optimism`` takes it, by that of the image; None: none belong
        together.
        """
        finished = sorted((record for record in records if record.state == DONE), key=lambda one: -one.accuracy)
        correct = None if plan is None else _correct([record.number for record in finished], plan)
        if plan is None or correct is None:
            return cls(records, finished)
        images = [image for folder in _folders(finished[0].number, plan) for image, _ in _correct_by_image(folder)]
        of_images = None if units is None else [units.get(image, image) for image in images]
        pruned = any(record.state == PRUNED for record in records)
        return cls(records, finished, optimism(correct, preselected=pruned, units=of_images))

    @property
    def best(self) -> TrialRecord | None:
        """The most accurate trial; None if none is done."""
        return self.finished[0] if self.finished else None

    def count(self, state: str) -> int:
        """Returns how many trials are in a state."""
        return sum(record.state == state for record in self.records)


def explanation(ranking: Ranking, plan: Plan) -> str:
    """Returns a sentence about how far the best accuracy can be trusted."""
    where = "folds" if plan.config.folds else "validation images"
    if len(ranking.finished) == 1:
        return f"It was measured on {where} that took no part in training."
    too_high = "is too high on average"
    if ranking.optimism is not None:
        points = "less than 0.1" if ranking.optimism < 0.0005 else f"about {100 * ranking.optimism:.1f}"
        too_high += f", by {points} percentage points according to {SAMPLES} bootstrap samples"
    return f"It is the highest of {len(ranking.finished)} accuracies on the same {where}, and so it {too_high}."


def counts(ranking: Ranking) -> str:
    """Returns the number of trials in each state, such as ``12 trials done, 5 stopped early``."""
    states = (DONE, PRUNED, DIVERGED, FAILED, RUNNING, WAITING)
    parts = [f"{ranking.count(state)} {state}" for state in states if ranking.count(state)]
    return f"trials: {', '.join(parts) or 'none'}"


def table(ranking: Ranking, space: Space) -> str:
    """Returns the best trials side by side, with as many columns as fit into 80 characters."""
    best = list(ranking.finished[:_MOST_SHOWN])
    rows = [
        ["trial", *(str(record.number) for record in best)],
        ["accuracy", *(percent(record.accuracy, record.examples) for record in best)],
        *([dimension.key, *(str(record.values.get(dimension.key, "")) for record in best)] for dimension in space),
    ]
    while len(rows[0]) > 2 and max(map(len, aligned(rows).splitlines())) > _WIDTH:
        rows = [row[:-1] for row in rows]
    return aligned(rows)


def write_table(path: Path, ranking: Ranking, space: Space, plan: Plan) -> None:
    """Writes all trials as a CSV file, in the order in which they began."""
    keys = [dimension.key for dimension in space]
    rows: list[list[object]] = [["trial", "state", "accuracy", "images", "seconds", *keys, "workdir", "problem"]]
    for record in ranking.records:
        accuracy = "" if math.isnan(record.accuracy) else f"{record.accuracy:.6f}"
        seconds = "" if math.isnan(record.seconds) else f"{record.seconds:.1f}"
        values = [record.values.get(key, "") for key in keys]
        folder = os.path.relpath(plan.folder_of(record.number), plan.folder)
        rows.append(
            [record.number, record.state, accuracy, record.examples or "", seconds, *values, folder, record.problem]
        )
    files.write_bytes(path, csv_rows(rows).encode())


def write_best(path: Path, ranking: Ranking, plan: Plan, program: str, *, only_folds: bool) -> None:
    """Writes the best settings as a config file.

    Args:
        path: the file.
        ranking: the trials, at least one of which is done.
        plan: what the trials have in common.
        program: how the program is started, for the command in the file.
        only_folds: whether the data have no test images, so that the folds also measure the final model.
    """
    best = ranking.best
    assert best is not None
    given = _changes(settings.load(plan.source), plan.config)
    if not only_folds:  # the test images measure the final model
        given = {key: value for key, value in given.items() if key not in ("folds", "fold_repeats")}
    found = dict(best.values)
    content = f'''"""{_docstring(ranking, plan, path, program, only_folds)}"""

from ml_collections import ConfigDict

from chimeramix_jax.config import load


def get_config() -> ConfigDict:
    config = load({_literal(_portable(plan.source))})
    config.update_from_flattened_dict(
        {{
{_lines({key: value for key, value in given.items() if key not in found}, "as in all trials")}\
{_lines(found, f"as in trial {best.number}")}\
        }}
    )
    return config
'''
    files.write_text(path, content)


def _docstring(ranking: Ranking, plan: Plan, path: Path, program: str, only_folds: bool) -> str:
    best = ranking.best
    assert best is not None
    accuracy = percent(best.accuracy, best.examples)
    where = f"{plan.config.folds} folds of {best.examples} images" if plan.config.folds else "validation images"
    if not plan.config.folds:
        where = f"{best.examples} {where}"
    unused = "The test images took no part in the search."
    if only_folds:
        unused = "All images took part in the search, so only new ones can measure these settings fairly."
    body = (
        f"Of {len(ranking.records)} trials, trial {best.number} had the best accuracy: {accuracy} on {where}. "
        f"{explanation(ranking, plan)} {unused} ``{TABLE}`` has all trials, and ``{plan.folder_of(best.number).name}`` "
        "in ``trials/`` is this one."
    )
    command = f"{program} --config={shlex.quote(str(path))}"
    text = "\n\n".join(
        ["The best settings of a search, written by chimeramix tune.", f"    {command}", textwrap.fill(body, 118)]
    )
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"') + "\n"


def _lines(values: Mapping[str, Value], comment: str) -> str:
    """Returns the lines of a dictionary with these values."""
    if not values:
        return ""
    return f"            # {comment}\n" + "".join(
        f"            {_literal(key)}: {_literal(value)},\n" for key, value in values.items()
    )


def _literal(value: object) -> str:
    """Returns a value as Python source, text in double quotes."""
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _changes(before: ConfigDict, after: ConfigDict) -> dict[str, Value]:
    """Returns the settings that differ."""
    old, new = settings.flatten(before), settings.flatten(after)
    return {key: value for key, value in new.items() if old[key] != value}


def _portable(source: str) -> str:
    """Returns the name of a shipped config file as it is, and the full path of any other."""
    path, experiment = shipped.separated(source)
    return source if path in shipped.names() else shipped.joined(os.path.abspath(path), experiment)


def _correct(numbers: Sequence[int], plan: Plan) -> Bool[np.ndarray, "trials predictions"] | None:
    """Returns which predictions of these trials are correct; None if they are too many or not known of each.

    Each image counts once: the bootstrap draws images, and the predictions of an image in several divisions into folds
    are not independent. They are those of the first division.
    """
    rows: list[list[bool]] = []
    for number in numbers:
        row = [right for folder in _folders(number, plan) for _, right in _correct_by_image(folder)]
        if not row or len(row) * SAMPLES > _MOST_PREDICTIONS or (rows and len(row) != len(rows[0])):
            return None
        rows.append(row)
    return np.array(rows) if len(rows) > 1 else None


def _folders(number: int, plan: Plan) -> list[Path]:
    """Returns the directories of a trial's runs in which each image is held out once."""
    return plan.folders_of_runs(number)[: plan.config.folds or 1]


def _correct_by_image(folder: Path) -> list[tuple[str, bool]]:
    """Returns each held-out image of a run, in the order of their names, and whether it is predicted correctly."""
    try:
        with open(Workdir(folder).held_out, newline="", encoding="utf-8") as file:
            lines = [(line["image"], line["true_class"], line["predicted_class"]) for line in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, csv.Error):  # saved by a spreadsheet, perhaps
        return []
    return [(image, true == predicted) for image, true, predicted in sorted(lines)]
