"""Reads the runs in folders, and writes the files of their summary."""

import os
from collections.abc import Sequence
from pathlib import Path

from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.summary import csv_text, curves, latex, markdown, page
from chimeramix_jax.summary.plan import PlannedRun, read_plan
from chimeramix_jax.summary.sections import Summary
from chimeramix_jax.summary.trials import Trial, find_runs, read_run


def collect(folders: Sequence[Path], metric: str) -> tuple[list[Trial], list[str], list[PlannedRun] | None]:
    """Reads the runs in the folders, at any depth; the folders may overlap.

    Returns the trials, a line for each file or folder that cannot be read, and the planned runs (None without a plan).
    Raises InputError if there are no runs, or a plan cannot be read.
    """
    trials: list[Trial] = []
    damaged: list[str] = []
    planned: list[PlannedRun] | None = None
    seen = set()

    def note_unreadable(error: OSError) -> None:
        damaged.append(f"{error.filename}: cannot be read: {error.strerror}")

    for folder in folders:
        plan = read_plan(folder)
        if plan is not None:
            planned = [*(planned or []), *plan]
        for workdir in find_runs(folder, note_unreadable):
            if (path := os.path.realpath(workdir.path)) not in seen:  # folders may overlap
                seen.add(path)
                run_trials, problems = read_run(workdir, metric)
                trials += run_trials
                damaged += problems
    if not trials and not damaged and planned is None:
        raise InputError(f"{', '.join(map(str, folders))}: no runs; a run is a folder with config.json or results.json")
    return trials, damaged, planned


def write(summary: Summary, output: Path, title: str, *, with_curves: bool) -> list[Path]:
    """Writes the files of a summary into a folder and returns their paths."""
    figure = curves.draw(summary) if with_curves else None
    svg = None if figure is None else curves.svg(figure)
    contents = {
        "summary.html": files.encoded(page.html(summary, title, svg, output)),
        "summary.md": files.encoded(f"# {title}\n\n{markdown.summary_text(summary)}"),
        "summary.tex": files.encoded(latex.summary_text(summary)),
        "summary.csv": files.encoded(csv_text.of_rows(summary)),
        "summary-runs.csv": files.encoded(csv_text.of_trials(summary)),
    }
    if figure is not None and svg is not None:
        contents |= {"summary.png": curves.png(figure), "summary.svg": svg}
    try:
        for name, content in contents.items():
            files.write_bytes(output / name, content)
    except OSError as error:
        raise InputError(f"{output / name}: cannot be written: {error.strerror}") from None
    return [output / name for name in contents]
