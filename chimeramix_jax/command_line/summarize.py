"""``chimeramix summarize``: averages finished runs over seeds, and writes tables, curves and a page."""

from collections.abc import Sequence
from pathlib import Path

from chimeramix_jax.command_line import exits
from chimeramix_jax.command_line.flags import Arguments, Flag, parse_with_names, refuse_unknown
from chimeramix_jax.command_line.help_text import Entry, Help
from chimeramix_jax.command_line.subcommands import usage
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import local_path
from chimeramix_jax.summary import curves, folders, markdown
from chimeramix_jax.summary.comparison import summarize
from chimeramix_jax.summary.trials import METRICS

HELP = Help(
    usage=(usage("summarize"),),
    summary="Averages the runs in folders, at any depth, over seeds, and compares them with the baseline. Runs are "
    "averaged only if they differ in nothing but the seed. Runs that are unfinished, damaged or missing are shown as "
    "such. Missing runs are those that a sweep planned (sweep.json) but did not start. Without a plan, every "
    "combination of the experiments, numbers of images and seeds found for a data set is expected.",
    examples=(
        ("summarize runs/photos", "Summarize all runs in this folder, such as those of a sweep on your photos."),
        ("summarize runs/digits-* --output=digits", "Summarize these runs, and write the files to the folder digits."),
    ),
    groups={
        "Which runs": (
            Entry("FOLDER", "A folder of runs, or a run."),
            Flag("metric=" + "|".join(METRICS), "What to summarize. Default: top1.", default="top1"),
            Flag("baseline=EXPERIMENT", "What to compare with. Default: baseline.", default="baseline"),
        ),
        "What to write": (
            Flag("output=FOLDER", "Where the files go. Default: the folder that is summarized. Required for several."),
            Flag("curves", "Do not draw the curves, which takes matplotlib.", default=True),
        ),
        "The files": (
            Entry("summary.html", "Everything on one page."),
            Entry("summary.md, summary.tex, summary.csv", "The tables. LaTeX needs booktabs."),
            Entry("summary-runs.csv", "A line for every classifier."),
            Entry("summary.png, summary.svg", "The curves."),
        ),
    },
    exit_codes={
        0: "Everything is summarized.",
        1: "Some files cannot be read. They are named, and the rest is summarized.",
        2: "There is nothing to summarize, or a flag cannot be used.",
        130: "Stopped by Ctrl-C.",
    },
)


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Returns the flags' values and, as ``folders``, the folders of runs."""
    parsed, named, unknown = parse_with_names(arguments, HELP.flags)
    refuse_unknown(unknown, HELP.flags)
    if not named:
        raise InputError("FOLDER: missing; name a folder of runs, such as runs/photos")
    if parsed.curves:
        curves.require_matplotlib()
    parsed.folders = [local_path(folder, "FOLDER") for folder in named]
    for folder in parsed.folders:
        if not folder.is_dir():
            problem = "is not a folder" if folder.exists() else "no such folder"
            raise InputError(f"{folder}: {problem}; it must be a folder of runs")
    if parsed.output is None and len(named) > 1:
        raise InputError("--output: needed to summarize several folders together; it must be a folder")
    parsed.output = parsed.folders[0] if parsed.output is None else local_path(parsed.output, "--output")
    return parsed


def perform(parsed: Arguments) -> int:
    """Writes the summary and prints its tables; returns the exit code."""
    exits.quiet_libraries()  # matplotlib logs that it cannot write into the home folder, for instance
    trials, damaged, planned = folders.collect(parsed.folders, parsed.metric)
    summary = summarize(trials, damaged, planned, parsed.metric, parsed.baseline)
    written = folders.write(summary, parsed.output, _title(parsed.folders), with_curves=parsed.curves)
    print(markdown.summary_text(summary, seeds=False))
    print("written:", *(f"  {path}" for path in written), sep="\n")
    for line in damaged:
        exits.say(line)
    return exits.PARTLY_DONE if damaged else 0


def after_stop(parsed: Arguments) -> str:
    """What the user should know when the program was stopped."""
    return "the same command starts the summary again"


def _title(named: Sequence[Path]) -> str:
    return f"Summary of {', '.join(map(str, named[:3]))}{', ...' if len(named) > 3 else ''}"
