"""The table that ends a run, and the text around it."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from chimeramix_jax.reporting.progress import duration


class SummaryRow(TypedDict):
    """One trained classifier: a line of the table at the end of a run, in JSON's types."""

    experiment: str
    max_labels_per_class: int | None  # None: all images
    top_1: float  # share of the test images, in [0, 1]
    top_5: float | None  # the same; None where there are too few classes for it to say anything
    seconds: float  # wall-clock time of its training and evaluation
    examples: int  # number of test images
    alone: list[int] | None  # images that it alone, and that the baseline alone has right; None: not compared with one


def summary_table(rows: Sequence[SummaryRow]) -> str:
    """Returns the rows as aligned text, with each experiment's gain over the baseline below.

    Percentages have as many decimals as the number of test images carries. ``baseline`` is compared with every other
    experiment of the same number of images per class; where there is no such pair, nothing is added. No rows: the empty
    string.
    """
    if not rows:
        return ""
    table = [["experiment", "images per class", "top-1", "95% interval", "top-5", "time"], *map(_cells, rows)]
    return "\n".join([aligned(table), *_gains(rows)])


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Returns lines of cells, the first of them the heading, as text: the first column to the left, others right."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = [
        "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))])
        for first, *rest in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def closing_text(results: Mapping[str, Any]) -> str:
    """Returns what the command line prints after a run.

    Args:
        results: ``summary``, the rows of the table (none where no classifier was evaluated), and ``files``, the paths
            that were written, for people to look at; either may be missing. Also ``validation``, where those figures
            are not the test split's.
    """
    rows = results.get("summary", [])
    parts = [summary_table(rows)]
    if "validation" in results:
        examples = results["validation"]["examples"]
        parts.append(f"measured on {examples} validation images: those that the subset leaves out of the train split")
    elif rows:
        parts.append(f"measured on {rows[0]['examples']} test images")
    if rows:
        parts[-1] += "; intervals and chance are about the choice of these, not of training images and seed"
    written = [f"  {os.fspath(path)}" for path in results.get("files", [])]
    parts.append("\n".join(["written:", *written]) if written else "")
    return "\n\n".join(part for part in parts if part)


def _cells(row: SummaryRow) -> list[str]:
    """The row's part of the table."""
    from chimeramix_jax.reporting import statistics  # only now, as it imports SciPy

    examples = row["examples"]
    low, high = statistics.wilson_interval(round(row["top_1"] * examples), examples)
    return [
        row["experiment"],
        _images(row),
        statistics.percent(row["top_1"], examples),
        f"{statistics.percent(low, examples).removesuffix('%')} to {statistics.percent(high, examples)}",
        "-" if row["top_5"] is None else statistics.percent(row["top_5"], examples),
        duration(row["seconds"]),
    ]


def _gains(rows: Sequence[SummaryRow]) -> list[str]:
    from chimeramix_jax.reporting import statistics

    baselines = {row["max_labels_per_class"]: row["top_1"] for row in rows if row["experiment"] == "baseline"}
    lines = []
    for row in rows:
        if row["experiment"] != "baseline" and row["max_labels_per_class"] in baselines:
            difference = statistics.points(row["top_1"] - baselines[row["max_labels_per_class"]], row["examples"])
            line = (
                f"{row['experiment']} against baseline, {_images(row)} images per class: {difference} percentage points"
            )
            lines.append(f"{line} top-1{_chance(row['alone'])}")
    return lines


def _chance(alone: Sequence[int] | None) -> str:
    """Whether a difference may be chance, by the images that one classifier alone has right; nothing if unknown."""
    from chimeramix_jax.reporting import statistics

    if alone is None:
        return ""
    p_value = statistics.mcnemar(*alone)
    return (
        f", {'beyond' if statistics.is_beyond_chance(p_value) else 'within'} chance: right alone on {alone[0]} images, "
        f"the baseline on {alone[1]} (exact McNemar test, {statistics.p_in_words(p_value)})"
    )


def _images(row: Mapping[str, Any]) -> str:
    return "all" if row["max_labels_per_class"] is None else str(row["max_labels_per_class"])
