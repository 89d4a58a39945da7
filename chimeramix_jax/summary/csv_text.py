"""A summary as CSV."""

from collections.abc import Sequence
from typing import Any

from chimeramix_jax.reporting.csv_rows import csv_records
from chimeramix_jax.reporting.statistics import Estimate
from chimeramix_jax.summary.sections import Row, Section, Summary
from chimeramix_jax.summary.trials import Status
from chimeramix_jax.summary.wording import images_in_words


def of_rows(summary: Summary) -> str:
    """Returns the statistics of all rows as CSV, with all digits; accuracies are in [0, 1]."""
    lines = []
    for section in summary.sections:
        for row in section.rows:
            lines.append(
                _about(section, row)
                | {"metric": summary.metric, "seeds": len(row.finished), "seeds_expected": len(row.trials)}
                | _numbers("", row.accuracy)
                | {"pairs": len(row.differences)}
                | _numbers("difference_", row.difference)
                | {"p_value": row.p_value, "p_value_holm": row.corrected_p}
                | {str(status): _seeds(row, status) for status in Status}
            )
    return _csv(lines)


def of_trials(summary: Summary) -> str:
    """Returns all classifiers as CSV, with all digits; accuracies are in [0, 1]."""
    lines = []
    for section in summary.sections:
        for row in section.rows:
            for trial in row.trials:
                lines.append(
                    _about(section, row)
                    | {
                        "seed": trial.address.seed,
                        "status": str(trial.status),
                        summary.metric: trial.accuracy if trial.status == Status.FINISHED else None,
                        "difference": row.differences.get(trial.address.seed),
                        "workdir": trial.workdir,
                    }
                )
    return _csv(lines)


def _about(section: Section, row: Row) -> dict[str, Any]:
    return {
        "dataset": section.dataset,
        "split": section.split,
        "images_per_class": images_in_words(row.images_per_class),
        "experiment": row.experiment,
        "settings": row.variant,
    }


def _numbers(prefix: str, estimate: Estimate | None) -> dict[str, Any]:
    low, high = (estimate and estimate.interval) or (None, None)
    return {
        f"{prefix}mean": estimate and estimate.mean,
        f"{prefix}standard_deviation": estimate and estimate.standard_deviation,
        f"{prefix}interval_low": low,
        f"{prefix}interval_high": high,
    }


def _seeds(row: Row, status: Status) -> str:
    return " ".join(str(trial.address.seed) for trial in row.trials if trial.status == status)


def _csv(lines: Sequence[dict[str, Any]]) -> str:
    return csv_records(list(lines[0]) if lines else [], lines)
