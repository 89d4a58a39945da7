"""What several seeds found: every one, their mean, and how far that mean is to be trusted."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from scipy import stats

from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.results import aligned

CONFIDENCE = 0.95


def closing_text(results: Sequence[Mapping[str, Any]]) -> str:
    """Returns what the command line prints after several seeds, given what ``train_and_evaluate_seeds`` returned."""
    parts = [seeds_table(results)]
    examples = {result["validation"] for result in results if "validation" in result}
    if examples:
        parts.append(
            f"measured on {max(examples)} validation images: those that the subsets leave out of the train split"
        )
    written = [f"  {path}" for result in results for path in result["files"]]
    parts.append("\n".join(["written:", *written]) if written else "")
    return "\n\n".join(part for part in parts if part)


def seeds_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Returns top-1 by seed and experiment as aligned text, with mean and interval; empty where nothing was measured.

    Where a baseline was trained beside, a last column holds each seed's gain over it, in percentage points; the two
    share the seed's images. The interval is Student's t for the mean over seeds.

    Args:
        results: per seed ``seed`` and ``summary``, the rows of the table that its run alone would show.
    """
    measured = [result for result in results if result["summary"]]
    if not measured:
        return ""
    experiments = [row["experiment"] for row in measured[0]["summary"]]
    columns = {name: [100 * _row(result, name)["top_1"] for result in measured] for name in experiments}
    if len(experiments) == 2 and experiments[0] == "baseline":
        baseline, mixing = columns.values()
        columns["difference"] = [after - before for before, after in zip(baseline, mixing, strict=True)]
    times = [sum(row["seconds"] for row in result["summary"]) for result in measured]
    lines = [["seed", *columns, "time"]]
    for place, result in enumerate(measured):
        cells = [_percent(name, values[place]) for name, values in columns.items()]
        lines.append([str(result["seed"]), *cells, duration(times[place])])
    lines.append(["mean", *[_percent(name, _mean(values)) for name, values in columns.items()], ""])
    if len(measured) > 1:
        halves = [half_interval(values) for values in columns.values()]
        lines.append([f"{CONFIDENCE:.0%} interval", *[f"±{half:.2f}" for half in halves], ""])
    return aligned(lines)


def half_interval(values: Sequence[float]) -> float:
    """Half the width of the confidence interval of the values' mean, by Student's t; there have to be two at least."""
    mean = _mean(values)
    variance = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
    return float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * math.sqrt(variance / len(values))


def _row(result: Mapping[str, Any], experiment: str) -> Mapping[str, Any]:
    return next(row for row in result["summary"] if row["experiment"] == experiment)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _percent(column: str, value: float) -> str:
    return f"{value:+.2f}" if column == "difference" else f"{value:.2f}%"
