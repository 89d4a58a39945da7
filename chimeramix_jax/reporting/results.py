"""What a run found: the numbers in a table, and the environment that they were found in."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from chimeramix_jax.reporting.progress import duration

PACKAGES = (
    # Whatever can change a result or a speed, by the names that pip knows.
    "chimeramix_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "tensorflow-datasets",
    "numpy",
)


class SummaryRow(TypedDict):
    """One trained classifier, in JSON types: a row of the table printed at the end of a run."""

    experiment: str
    max_labels_per_class: int | None  # None: all images
    top_1: float  # accuracy on the test images, in [0, 1]
    top_5: float | None  # top-5 accuracy, in [0, 1]; None if there are too few classes for it to be informative
    seconds: float  # wall-clock time of training and evaluation
    examples: int  # number of test images
    alone: list[int] | None  # images that only this, and only the baseline, has right; None: not compared


def environment() -> dict[str, Any]:
    """Returns the versions, the devices and the machine that a run works with, in JSON's types.

    Starts JAX's backend if nothing has yet. A package that is not installed has the version None.
    """
    import jax  # here, as the rest of this module serves without it

    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": {
            "backend": jax.default_backend(),
            "kind": devices[0].device_kind,
            "count": len(devices),
        },
        "cpu_count": os.cpu_count(),
        "platform": platform.platform(),
    }


def git_commit() -> str | None:
    """The commit of this program's own source, with ``-dirty`` where files differ; None where git does not know it."""
    package = Path(__file__).parent.parent
    git = ["git", "-C", str(package)]
    try:
        # An installed package may lie in the repository of somebody else's project, which does not list it.
        subprocess.run([*git, "ls-files", "--error-unmatch", "run.py"], check=True, capture_output=True)
        described = [*git, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        return subprocess.run(described, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def indices_digest(indices: Sequence[int]) -> str:
    """SHA-256 of whole numbers, as text with commas between: to see at a glance whether two runs share their images."""
    return hashlib.sha256(",".join(map(str, indices)).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def summary_table(rows: Sequence[SummaryRow]) -> str:
    """Returns the rows as an aligned table, followed by each experiment's gain over the baseline.

    The number of decimals depends on the number of test images. ``baseline`` is compared with every other experiment on
    the same number of images per class; without such pairs, only the table is returned. Without rows, the result is
    empty.
    """
    if not rows:
        return ""
    table = [["experiment", "images per class", "top-1", "95% interval", "top-5", "time"], *map(_cells, rows)]
    return "\n".join([aligned(table), *_gains(rows)])


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Formats rows of cells, the header first, as text; the first column is left-aligned, the others right-aligned."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = [
        "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))])
        for first, *rest in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def closing_text(results: Mapping[str, Any]) -> str:
    """Returns the text that the command line prints after a run.

    Args:
        results: ``summary``, the rows of the table (empty if no classifier was evaluated), and ``files``, the written
            files worth looking at; either may be missing. ``validation`` is present if the figures were measured on
            validation images.
    """
    rows = results.get("summary", [])
    parts = [summary_table(rows)]
    if "validation" in results:
        examples = results["validation"]["examples"]
        parts.append(f"measured on {examples} validation images: the training images outside the few-shot subset")
    elif rows:
        parts.append(f"measured on {rows[0]['examples']} test images")
    if rows:
        parts[-1] += "; intervals and significance cover the choice of these images, not of training images or seed"
    written = [f"  {os.fspath(path)}" for path in results.get("files", [])]
    parts.append("\n".join(["written:", *written]) if written else "")
    return "\n\n".join(part for part in parts if part)


def _cells(row: SummaryRow) -> list[str]:
    """Returns the cells of a row."""
    from chimeramix_jax.reporting import statistics  # imported late, as it imports SciPy

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
            pair = f"{row['experiment']} against baseline, {_images(row)} images per class"
            lines.append(f"{pair}: {difference} percentage points top-1{_significance(row)}")
    return lines


def _significance(row: SummaryRow) -> str:
    """Says whether a row's difference to the baseline is significant; empty if it was not compared."""
    from chimeramix_jax.reporting import statistics

    if row["alone"] is None:
        return ""
    only_this, only_baseline = row["alone"]
    p_value = statistics.mcnemar(only_this, only_baseline)
    return (
        f", {'significant' if statistics.is_significant(p_value) else 'not significant'}: {only_this} images correct "
        f"only here, {only_baseline} only by the baseline (exact McNemar test, {statistics.p_in_words(p_value)})"
    )


def _images(row: Mapping[str, Any]) -> str:
    return "all" if row["max_labels_per_class"] is None else str(row["max_labels_per_class"])
