"""The results of several seeds: a row per seed, their mean, and its confidence interval."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.results import written_text
from chimeramix_jax.reporting.statistics import CONFIDENCE, Estimate, decimals, estimate, percent, points
from chimeramix_jax.reporting.text_table import aligned

DIFFERENCE = "difference"  # the column with each seed's gain over its baseline


def closing_text(results: Sequence[Mapping[str, Any]]) -> str:
    """Returns the text that the command line prints, given the results of ``train_and_evaluate_seeds``."""
    parts = [seeds_table(results)]
    examples = {result["validation"] for result in results if "validation" in result}
    if examples:
        source = ": the training images outside the few-shot subsets"
        own = any(result.get("held_out_from") == "validation" for result in results)
        parts.append(f"measured on {max(examples)} validation images{'' if own else source}")
    parts += rollback_lines((f"seed {result['seed']}", result.get("rollbacks", {})) for result in results)
    parts.append(_coverage([result for result in results if result["summary"]]))
    parts.append(written_text([path for result in results for path in result["files"]]))
    return "\n\n".join(part for part in parts if part)


def rollback_lines(rolled_back: Iterable[tuple[str, Mapping[str, int]]]) -> list[str]:
    """Returns a line for each run, by name, of which parts were rolled back after non-finite numbers, and how often."""
    return [
        f"{name} was rolled back ({', '.join(f'{part} {count} x' for part, count in parts.items())}) after non-finite "
        "numbers and counts in the mean; its seed alone does not reproduce it"
        for name, parts in rolled_back
        if parts
    ]


def _coverage(results: Sequence[Mapping[str, Any]]) -> str:
    """Says what the intervals cover, which depends on what the seeds share; empty without intervals."""
    if len(results) < 2 or any("images" not in result for result in results):
        return ""
    same_training, same_test = (
        len({result["images"][name] for result in results}) == 1 for name in ("train", "held_out")
    )
    if same_training and same_test:
        return (
            "the seeds share training and test images: the intervals cover only the randomness of training, not the "
            "choice of images"
        )
    if same_test:
        return "the seeds share their test images: the intervals do not cover the choice of test images"
    return (
        "each seed has its own training and test images, and the intervals cover this choice; because the choices "
        "overlap, the intervals tend to be too narrow"
    )


def seeds_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Returns top-1 accuracy by seed and experiment as an aligned table, with mean and interval; empty without results.

    An experiment that a seed lacks, such as a baseline that was not trained for all, has no column. If a baseline was
    trained too, another column holds each seed's gain over it, in percentage points. The interval is Student's t
    interval for the mean over seeds; one beyond the possible range is clipped and shown by its ends.
    """
    measured = [result for result in results if result["summary"]]
    if not measured:
        return ""
    of_each = [[row["experiment"] for row in result["summary"]] for result in measured]
    experiments = [name for name in of_each[0] if all(name in names for names in of_each)]
    if not experiments:
        return ""
    rows = [row for row in measured[0]["summary"] if row["experiment"] in experiments]
    columns = {name: [_row(result, name)["top_1"] for result in measured] for name in experiments}
    if len(experiments) == 2 and experiments[0] == (rows[1].get("baseline") or "baseline"):
        baseline, mixing = columns.values()
        columns[DIFFERENCE] = [after - before for before, after in zip(baseline, mixing, strict=True)]
    examples = _row(measured[0], experiments[0])["examples"]
    pooled_examples = examples * len(measured)
    times = [sum(row["seconds"] for row in result["summary"]) for result in measured]
    lines = [["seed", *columns, "time"]]
    for number, result in enumerate(measured):
        cells = [_percent(name, values[number], examples) for name, values in columns.items()]
        lines.append([str(result["seed"]), *cells, duration(times[number])])
    over_seeds = {name: estimate(values) for name, values in columns.items()}
    lines.append(["mean", *[_percent(name, column.mean, pooled_examples) for name, column in over_seeds.items()], ""])
    if len(measured) > 1:
        intervals = [_interval(name, column, pooled_examples) for name, column in over_seeds.items()]
        lines.append([f"{100 * CONFIDENCE:.0f} % interval", *intervals, ""])
    return aligned(lines)


def _row(result: Mapping[str, Any], experiment: str) -> Mapping[str, Any]:
    return next(row for row in result["summary"] if row["experiment"] == experiment)


def _interval(column: str, mean: Estimate, images: int) -> str:
    """Returns the half-width of a mean's interval, or both ends if the interval is clipped."""
    clipped = mean.within(-1.0 if column == DIFFERENCE else 0.0, 1.0).interval
    assert clipped is not None  # there are at least two seeds
    digits = decimals(images)
    if clipped == mean.interval:
        return f"±{100 * (clipped[1] - mean.mean):.{digits}f}"
    return " to ".join(f"{100 * end:.{digits}f}" for end in clipped)


def _percent(column: str, value: float, images: int) -> str:
    return points(value, images) if column == DIFFERENCE else percent(value, images)
