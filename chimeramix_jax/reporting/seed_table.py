"""What several seeds found: every one, their mean, and how far that mean is to be trusted."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.results import aligned
from chimeramix_jax.reporting.statistics import CONFIDENCE, Estimate, decimals, estimate, percent, points

DIFFERENCE = "difference"  # the column of each seed's gain over its baseline


def closing_text(results: Sequence[Mapping[str, Any]]) -> str:
    """Returns what the command line prints after several seeds, given what ``train_and_evaluate_seeds`` returned."""
    parts = [seeds_table(results)]
    examples = {result["validation"] for result in results if "validation" in result}
    if examples:
        parts.append(
            f"measured on {max(examples)} validation images: those that the subsets leave out of the train split"
        )
    parts += rollback_lines((f"seed {result['seed']}", result.get("rollbacks", {})) for result in results)
    parts.append(_coverage([result for result in results if result["summary"]]))
    written = [f"  {path}" for result in results for path in result["files"]]
    parts.append("\n".join(["written:", *written]) if written else "")
    return "\n\n".join(part for part in parts if part)


def rollback_lines(rolled_back: Iterable[tuple[str, Mapping[str, int]]]) -> list[str]:
    """A line for each run that went back to a checkpoint because numbers were not finite, and counts all the same.

    Args:
        rolled_back: what a run is called, and how often each of its parts went back.
    """
    return [
        f"{name} was rolled back ({', '.join(f'{part} {count} x' for part, count in parts.items())}) because numbers "
        "were not finite, and is in the mean: its seed alone does not repeat it"
        for name, parts in rolled_back
        if parts
    ]


def _coverage(results: Sequence[Mapping[str, Any]]) -> str:
    """What the intervals over seeds tell of, by what the seeds share; empty where there is none."""
    if len(results) < 2 or any("images" not in result for result in results):
        return ""
    same_training, same_test = (len({one["images"][name] for one in results}) == 1 for name in ("train", "held_out"))
    if same_training and same_test:
        return (
            "the seeds share training and test images: the intervals cover the random numbers of training only, not "
            "another choice of images"
        )
    if same_test:
        return "the seeds share their test images: the intervals do not cover another choice of these"
    return (
        "each seed has its own choice of training and test images, which the intervals cover; as the choices overlap, "
        "they are too narrow rather than too wide"
    )


def seeds_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Returns top-1 by seed and experiment as aligned text, with mean and interval; empty where nothing was measured.

    Where a baseline was trained beside, a last column holds each seed's gain over it, in percentage points; the two
    share the seed's images. The interval is Student's t for the mean over seeds; where it would reach beyond what can
    be, its ends are given, cut off there. Figures have as many decimals as their number of test images carries.

    Args:
        results: per seed ``seed`` and ``summary``, the rows of the table that its run alone would show.
    """
    measured = [result for result in results if result["summary"]]
    if not measured:
        return ""
    experiments = [row["experiment"] for row in measured[0]["summary"]]
    columns = {name: [_row(result, name)["top_1"] for result in measured] for name in experiments}
    if len(experiments) == 2 and experiments[0] == "baseline":
        baseline, mixing = columns.values()
        columns[DIFFERENCE] = [after - before for before, after in zip(baseline, mixing, strict=True)]
    examples = _row(measured[0], experiments[0])["examples"]
    of_all = examples * len(measured)
    times = [sum(row["seconds"] for row in result["summary"]) for result in measured]
    lines = [["seed", *columns, "time"]]
    for place, result in enumerate(measured):
        cells = [_percent(name, values[place], examples) for name, values in columns.items()]
        lines.append([str(result["seed"]), *cells, duration(times[place])])
    over_seeds = {name: estimate(values) for name, values in columns.items()}
    lines.append(["mean", *[_percent(name, one.mean, of_all) for name, one in over_seeds.items()], ""])
    if len(measured) > 1:
        reaches = [_reach(name, one, of_all) for name, one in over_seeds.items()]
        lines.append([f"{CONFIDENCE:.0%} interval", *reaches, ""])
    return aligned(lines)


def _row(result: Mapping[str, Any], experiment: str) -> Mapping[str, Any]:
    return next(row for row in result["summary"] if row["experiment"] == experiment)


def _reach(column: str, one: Estimate, images: int) -> str:
    """How far the mean may be off to either side; from where to where it may be, if that ends at a bound."""
    possible = one.within(-1.0 if column == DIFFERENCE else 0.0, 1.0).interval
    assert possible is not None  # of two seeds or more
    digits = decimals(images)
    if possible == one.interval:
        return f"±{100 * (possible[1] - one.mean):.{digits}f}"
    return " to ".join(f"{100 * end:.{digits}f}" for end in possible)


def _percent(column: str, value: float, images: int) -> str:
    return points(value, images) if column == DIFFERENCE else percent(value, images)
