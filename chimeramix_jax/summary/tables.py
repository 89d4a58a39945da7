"""Summaries as text: Markdown, LaTeX and CSV."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chimeramix_jax.reporting.statistics import Estimate
from chimeramix_jax.summary.comparison import Row, Section, Summary, images_in_words
from chimeramix_jax.summary.trials import METRICS, Status

NOTHING = "-"
_ONE_SEED = "one seed"

EXPLANATION = (
    "Accuracies are percentages: mean ± sample standard deviation over seeds. Differences are in percentage points "
    "between classifiers of the same seed, which share their training images. Intervals are Student's 95 % confidence "
    "intervals of the mean over seeds, clipped to the possible range and not corrected for multiple comparisons. A "
    "single seed has neither a standard deviation nor an interval. Unfinished seeds are not part of any mean. Settings "
    "that differ from those of the shipped experiment are listed after its name."
)


@dataclass(frozen=True)
class Table:
    """A table of text cells; ``alignment`` has "l" or "r" for each column."""

    header: tuple[str, ...]
    alignment: str
    lines: tuple[tuple[str, ...], ...]


def overview(section: Section, summary: Summary) -> Table:
    """Returns the table of a section with the statistics of each row over its seeds."""
    header = (
        "images per class",
        "experiment",
        "seeds",
        f"{METRICS[summary.metric]} (%)",
        "95 % interval",
        f"difference to {summary.baseline}",
        "95 % interval",
        "pairs",
    )
    return Table(header, "rlrrrrrr", tuple(_overview_line(row) for row in section.rows))


def _overview_line(row: Row) -> tuple[str, ...]:
    return (
        images_in_words(row.images_per_class),
        row.title,
        _seed_count(row),
        _mean(row.accuracy, ".2f"),
        _interval(row.accuracy, ".2f"),
        _mean(row.difference, "+.2f"),
        _interval(row.difference, "+.2f"),
        str(len(row.differences)) if row.differences else NOTHING,
    )


def _seed_count(row: Row) -> str:
    finished, expected = len(row.finished), len(row.trials)
    return str(finished) if finished == expected else f"{finished} of {expected}"


def every_seed(section: Section) -> Table:
    """Returns the table of a section with each seed's accuracy in percent, or its status."""
    seeds = section.seeds
    lines = []
    for row in section.rows:
        cells = {trial.address.seed: str(trial.status) for trial in row.trials}
        cells |= {trial.address.seed: f"{100 * trial.accuracy:.2f}" for trial in row.finished}
        by_seed = [cells.get(seed, NOTHING) for seed in seeds]
        lines.append((images_in_words(row.images_per_class), row.title, *by_seed))
    return Table(("images per class", "experiment", *map(str, seeds)), "rl" + "r" * len(seeds), tuple(lines))


def notes(summary: Summary) -> list[tuple[str, tuple[str, ...]]]:
    """Returns the notes on the figures: headings, each with its lines; empty groups are left out."""
    groups = [
        ("Unreadable files", summary.damaged),
        ("Runs without results (failed, stopped or still running)", summary.unfinished),
        ("Missing runs", summary.missing),
        ("Warnings", summary.warnings),
    ]
    return [(heading, lines) for heading, lines in groups if lines]


def totals(summary: Summary) -> str:
    """Returns the number of classifiers with each status, as text."""
    counts = [(summary.count(status), str(status)) for status in Status]
    return ", ".join(f"{count} {word}" for count, word in counts if count or word == Status.FINISHED)


def markdown(summary: Summary, *, seeds: bool = True) -> str:
    """Returns the whole summary as Markdown; ``seeds`` includes the tables of all seeds."""
    parts = [f"Classifiers: {totals(summary)}."]
    for section in summary.sections:
        parts += [f"## {section.title}", _markdown_table(overview(section, summary))]
        if seeds:
            parts += ["All seeds:", _markdown_table(every_seed(section))]
    for heading, lines in notes(summary):
        parts += [f"## {heading}", "\n".join(f"- {_markdown_cell(line)}" for line in lines)]
    parts += [EXPLANATION, *(["Trained with: " + "; ".join(environments(summary)) + "."] if seeds else [])]
    return "\n\n".join(parts) + "\n"


def environments(summary: Summary) -> list[str]:
    """Returns the devices and versions that classifiers were trained with, the most frequent first."""
    ranked = sorted(summary.environments.items(), key=lambda item: (-item[1], item[0]))
    return [f"{environment} ({count})" for environment, count in ranked]


def _markdown_table(table: Table) -> str:
    lines = [[_markdown_cell(cell) for cell in line] for line in (table.header, *table.lines)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(table.header))]
    pad = {"l": str.ljust, "r": str.rjust}
    padded = [
        [pad[side](cell, width) for cell, width, side in zip(line, widths, table.alignment, strict=True)]
        for line in lines
    ]
    rule = [
        "-" * width if side == "l" else "-" * (width - 1) + ":"
        for width, side in zip(widths, table.alignment, strict=True)
    ]
    padded.insert(1, rule)
    return "\n".join("| " + " | ".join(line) + " |" for line in padded)


def _markdown_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


def latex(summary: Summary) -> str:
    r"""Returns LaTeX tables for ``\input``, with a row per experiment and a column per number of images.

    Each section has three: mean and standard deviation, interval of the mean, and difference to the baseline. The
    document needs ``\usepackage{booktabs}``.
    """
    parts = ["% needs \\usepackage{booktabs}"]
    contents: list[tuple[str, Callable[[Row], str]]] = [
        (f"{METRICS[summary.metric]} (%), mean ± standard deviation (finished/all seeds)", _latex_accuracy),
        (f"{METRICS[summary.metric]} (%), 95 % interval of the mean", lambda row: _interval(row.accuracy, ".2f")),
        (f"difference to {summary.baseline} (percentage points), mean and 95 % interval", _latex_difference),
    ]
    for section in summary.sections:
        parts += [_latex_table(f"{section.title}: {caption}", section, cell) for caption, cell in contents]
    return "\n\n".join(parts) + "\n"


def _latex_accuracy(row: Row) -> str:
    finished, expected = len(row.finished), len(row.trials)
    return _mean(row.accuracy, ".2f") + (f" ({finished}/{expected})" if 0 < finished < expected else "")


def _latex_difference(row: Row) -> str:
    if row.difference is None:
        return NOTHING
    return f"{100 * row.difference.mean:+.2f} [{_interval(row.difference, '+.2f').replace(' to ', ', ')}]"


def _latex_table(caption: str, section: Section, cell: Callable[[Row], str]) -> str:
    sizes = list(dict.fromkeys(row.images_per_class for row in section.rows))
    cells = {(row.title, row.images_per_class): cell(row) for row in section.rows}
    titles = dict.fromkeys(title for title, _ in cells)
    lines = [[title, *(cells.get((title, size), NOTHING) for size in sizes)] for title in titles]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex_cell(caption)}}}",
            rf"\begin{{tabular}}{{l{'r' * len(sizes)}}}",
            r"\toprule",
            rf" & \multicolumn{{{len(sizes)}}}{{c}}{{images per class}} \\",
            _latex_line(["experiment", *map(images_in_words, sizes)]),
            r"\midrule",
            *map(_latex_line, lines),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_line(cells: Iterable[str]) -> str:
    return " & ".join(map(_latex_cell, cells)) + r" \\"


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _latex_cell(text: str) -> str:
    if text == NOTHING:
        return "--"
    escaped = "".join(_LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w.])[+-]\d+(\.\d+)?", lambda number: f"${number[0]}$", escaped)


def csv_rows(summary: Summary) -> str:
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
                | {str(status): _seeds(row, status) for status in Status}
            )
    return _csv(lines)


def csv_trials(summary: Summary) -> str:
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
    text = io.StringIO()
    writer = csv.DictWriter(text, lines[0] if lines else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _mean(estimate: Estimate | None, form: str) -> str:
    if estimate is None:
        return NOTHING
    mean = format(100 * estimate.mean, form)
    return mean if estimate.standard_deviation is None else f"{mean} ± {100 * estimate.standard_deviation:.2f}"


def _interval(estimate: Estimate | None, form: str) -> str:
    if estimate is None:
        return NOTHING
    if estimate.interval is None:
        return _ONE_SEED
    return " to ".join(format(100 * end, form) for end in estimate.interval)
