"""What was tried to choose a run's recipe, prepared for ``templates/auto_choice.html.jinja``."""

from collections.abc import Mapping, Sequence
from typing import Any

from chimeramix_jax import stored_format
from chimeramix_jax.reporting.clustered import EFFECTIVE, accuracy_interval
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.runs.workdir import Workdir


def content(workdir: Workdir) -> dict[str, Any] | None:
    """Returns what the page shows of ``auto.json``; None if the recipe was not chosen by the program.

    Raises InputError if the file cannot be read.
    """
    record = stored_format.read(workdir.auto_record)
    if record is None:
        return None
    with stored_format.checked(workdir.auto_record):
        diverged = record.get("diverged", {})  # earlier versions ended
        tried = {name for rung in record["rungs"] for name in rung["schedules"]} | set(diverged)
        return {
            "winner": record["winner"],
            "minutes": record["requested"]["minutes"],
            "accuracy": record["accuracy"],
            "optimism": record["optimism"],
            "explanation": record["explanation"],
            "final": record["final"],
            "usual_epochs": record["requested"]["classifier"]["epochs"],
            "side": record.get("side"),
            "rungs": [_rung(rung) for rung in record["rungs"]],
            "why": _why(record, len(tried - set(diverged))),
            "diverged": diverged,
            "left_out": record.get("left_out", []),  # earlier versions compared all
            "tried": len(tried),
            "compared": len(tried - set(diverged)),
        }


def _why(record: Mapping[str, Any], compared: int) -> str:
    """Returns why the winner was chosen, as the end of a sentence about it; empty without a comparison."""
    if not record["rungs"]:
        return ""
    if compared == 1:
        return "was the only one whose training did not diverge"
    rows = _rung(record["rungs"][-1])["rows"]
    of_winner = next(row for row in rows if row["name"] == record["winner"])
    if of_winner["accuracy"] >= rows[0]["accuracy"]:
        return "was the most accurate"
    return "was chosen, because no other was ahead of it by more than the standard error of the difference"


def _rung(rung: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a comparison: a row per recipe, the most accurate first, and those that diverged last."""
    rows = [_row(name, schedule, rung) for name, schedule in rung["schedules"].items()]
    images = max(row["images"] for row in rows)
    folds = max(len({run["fold"] for run in rung["tried"]}), 1)
    for row in rows:
        row["diverged"] = row["images"] < images  # since it has not run on all folds
    return {
        "rows": sorted(rows, key=lambda row: (row["diverged"], -row["accuracy"])),
        "images": images,
        "folds": folds,
        "seconds": duration(rung["seconds"]),
    }


def _row(name: str, schedule: Mapping[str, int], rung: Mapping[str, Any]) -> dict[str, Any]:
    runs: Sequence[Mapping[str, Any]] = [run for run in rung["tried"] if run["recipe"] == name]
    pairs = [pair for run in runs for pair in zip(run["predictions"], run["labels"], strict=True)]
    accuracy = sum(predicted == label for predicted, label in pairs) / max(len(pairs), 1)
    effective = rung.get("effective", {})  # earlier versions counted every image by itself
    evaluation = {"examples": len(pairs)} | ({EFFECTIVE: effective[name]} if name in effective else {})
    return {
        "name": name,
        "kept": name in rung["kept"],
        "accuracy": accuracy,
        "interval": accuracy_interval(evaluation, accuracy) if pairs else None,
        "images": len(pairs),
        "schedule": schedule,
        "seconds": duration(sum(run["seconds"] for run in runs)),
    }
