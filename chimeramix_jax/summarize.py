"""Summarises the runs in a folder: means over seeds, differences to the baseline, tables, and curves in one page.

Examples:
    python -m chimeramix_jax.summarize runs/paper
        every run in runs/paper, at any depth; writes runs/paper/summary.html and the same as other files
    python -m chimeramix_jax.summarize runs/digits-* --output=digits
        these runs; writes into the folder digits

Written are summary.html (everything, one file), summary.md, summary.tex (to be included; needs booktabs), summary.csv
(a line per average), summary-runs.csv (a line per classifier), and the curves as summary.png and summary.svg.

Classifiers that differ in anything but the seed are never averaged. Runs that are unfinished, missing or damaged are
shown as such. Missing is what sweep.json in the folder plans (chimeramix_jax/summary/plan.py) and has not begun or,
without a plan, what a data set lacks of all combinations of the experiments, numbers of images and seeds found for it.

Exit code: 0; 1 if files could not be read (they are named, and everything else is summarised); 2 if there is nothing to
summarise or an argument is wrong.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from chimeramix_jax import files
from chimeramix_jax.errors import InputError, in_one_line, one_line
from chimeramix_jax.paths import local_path
from chimeramix_jax.runtime import console
from chimeramix_jax.summary import curves, page, tables
from chimeramix_jax.summary.comparison import Summary, summarize
from chimeramix_jax.summary.plan import PlannedRun, read_plan
from chimeramix_jax.summary.trials import METRICS, Trial, find_runs, read_run


@console.prepared()
def main(arguments: Sequence[str] | None = None) -> int:
    """Summarises what the command line names; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m chimeramix_jax.summarize",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="a folder of runs, or a run")
    parser.add_argument("--output", help="where the files go (default: the folder, if there is only one)")
    parser.add_argument("--metric", choices=METRICS, default="top1", help="what to summarise (default: top1)")
    parser.add_argument("--baseline", default="baseline", help="the experiment to compare with (default: baseline)")
    parser.add_argument("--no-curves", dest="curves", action="store_false", help="draw none; needs no matplotlib")
    asked = parser.parse_args(arguments)
    try:
        return _summarize(asked)
    except InputError as error:
        print(f"chimeramix: {one_line(error)}", file=sys.stderr)
        return 2


def _summarize(asked: argparse.Namespace) -> int:
    if asked.curves:
        curves.require_matplotlib()
    folders = [local_path(folder, "FOLDER") for folder in asked.folders]
    output = _output_folder(folders, None if asked.output is None else local_path(asked.output, "--output"))
    trials, damaged, planned = collect(folders, asked.metric)
    summary = summarize(trials, damaged, planned, asked.metric, asked.baseline)
    title = "Summary of " + ", ".join(map(str, folders[:3])) + (", ..." if len(folders) > 3 else "")
    written = write(summary, output, title, with_curves=asked.curves)
    print(tables.markdown(summary, seeds=False))
    print("written:", *(f"  {path}" for path in written), sep="\n")
    for line in damaged:
        print(f"chimeramix: {in_one_line(line)}", file=sys.stderr)
    return 1 if damaged else 0


def _output_folder(folders: Sequence[Path], output: Path | None) -> Path:
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; it must be one that holds runs")
    if output is None and len(folders) > 1:
        raise InputError("--output: needed where several folders are summarised together; it must name a folder")
    return folders[0] if output is None else output


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


if __name__ == "__main__":
    sys.exit(main())
