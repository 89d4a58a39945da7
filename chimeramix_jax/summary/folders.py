"""Folders of runs: reading the runs in them, and writing the files of their summary."""

import os
from collections.abc import Sequence
from pathlib import Path

from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.summary import curves, page, tables
from chimeramix_jax.summary.comparison import Summary
from chimeramix_jax.summary.plan import PlannedRun, read_plan
from chimeramix_jax.summary.trials import Trial, find_runs, read_run


def collect(folders: Sequence[Path], metric: str) -> tuple[list[Trial], list[str], list[PlannedRun] | None]:
    """Reads the runs in the folders: their trials, a line per file that cannot be read, and the planned runs.

    Raises:
        InputError: there are no runs, or a plan cannot be read.
    """
    trials: list[Trial] = []
    damaged: list[str] = []
    planned: list[PlannedRun] | None = None
    seen = set()

    def closed(error: OSError) -> None:
        damaged.append(f"{error.filename}: cannot be read: {error.strerror}")

    for folder in folders:
        plan = read_plan(folder)
        if plan is not None:
            planned = [*(planned or []), *plan]
        for workdir in find_runs(folder, closed):
            if (place := os.path.realpath(workdir.path)) not in seen:  # folders may overlap
                seen.add(place)
                found, problems = read_run(workdir, metric)
                trials += found
                damaged += problems
    if not trials and not damaged and planned is None:
        raise InputError(f"{', '.join(map(str, folders))}: no runs; a run is a folder with config.json or results.json")
    return trials, damaged, planned


def write(summary: Summary, output: Path, title: str, *, with_curves: bool) -> list[Path]:
    """Writes the summary's files into a folder; returns their paths.

    Raises:
        InputError: a file cannot be written.
    """
    figure = curves.draw(summary) if with_curves else None
    svg = None if figure is None else curves.svg(figure)
    contents = {
        "summary.html": page.html(summary, title, svg).encode(),
        "summary.md": f"# {title}\n\n{tables.markdown(summary)}".encode(),
        "summary.tex": tables.latex(summary).encode(),
        "summary.csv": tables.csv_rows(summary).encode(),
        "summary-runs.csv": tables.csv_trials(summary).encode(),
    }
    if figure is not None and svg is not None:
        contents |= {"summary.png": curves.png(figure), "summary.svg": svg}
    try:
        for name, content in contents.items():
            files.write_bytes(output / name, content)
    except OSError as error:
        raise InputError(f"{output / name}: cannot be written: {error.strerror}") from None
    return [output / name for name in contents]
