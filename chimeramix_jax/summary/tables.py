"""Summaries as text: Markdown, LaTeX and CSV."""

import re
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from chimeramix_jax.reporting.csv_rows import csv_records
from chimeramix_jax.reporting.statistics import Estimate
from chimeramix_jax.summary.sections import Row, Section, Summary, images_in_words
from chimeramix_jax.summary.trials import METRICS, Status

NOTHING = "-"
_ACCURACY = 3  # the column of the overview with the mean accuracy
_ONE_SEED = "one seed"

EXPLANATION = (
    "Accuracies are percentages: mean ± sample standard deviation over seeds. Differences are in percentage points "
    "between classifiers of the same seed, which share their training images. Intervals are Student's 95 % confidence "
    "intervals of the mean over seeds, clipped to the possible range and not corrected for multiple comparisons. A "
    "single seed has neither a standard deviation nor an interval. p is of a paired t-test of the differences, and "
    "Holm's correction is for all tests of a table: at 0.05, the chance of any false alarm among them is at most 5 %. "
    "Tests and intervals cover the randomness of training and, where seeds have different training images, their "
    "choice, but no test images that all seeds share. Bold is the highest mean for its number of images, whether or "
    "not it differs significantly. Unfinished seeds are not part of any mean. A letter after an experiment stands for "
    "settings that differ from those of the shipped experiment."
)


@dataclass(frozen=True)
class Table:
    """A table of text cells; ``alignment`` has "l" or "r" for each column."""

    header: tuple[str, ...]
    alignment: str
    lines: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()  # cells by line and column: the best among comparable ones


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
        "p",
        "p, Holm",
    )
    best = section.best
    return Table(
        header,
        "rlrrrrrrrr",
        tuple(_overview_line(row, summary) for row in section.rows),
        frozenset((number, _ACCURACY) for number, row in enumerate(section.rows) if row in best),
    )


def _overview_line(row: Row, summary: Summary) -> tuple[str, ...]:
    return (
        images_in_words(row.images_per_class),
        summary.short_title(row),
        seed_count(row),
        mean(row.accuracy, ".2f"),
        interval(row.accuracy, ".2f"),
        mean(row.difference, "+.2f"),
        interval(row.difference, "+.2f"),
        str(len(row.differences)) if row.differences else NOTHING,
        _p(row.p_value),
        _p(row.corrected_p),
    )


def seed_count(row: Row) -> str:
    """Formats the number of finished seeds, and of all if some are not finished."""
    finished, expected = len(row.finished), len(row.trials)
    return str(finished) if finished == expected else f"{finished} of {expected}"


def letters(summary: Summary) -> Table | None:
    """Returns the table of the settings that letters stand for, with a column for each letter; None without letters."""
    if not summary.letters:
        return None
    rows = {row.variant: row for section in summary.sections for row in section.rows}
    variants = [rows[variant].distinct for variant in summary.letters]
    keys = dict.fromkeys(key for distinct in variants for key in distinct)
    lines = tuple((key, *(distinct.get(key, NOTHING) for distinct in variants)) for key in keys)
    return Table(("setting", *summary.letters.values()), "l" * (len(variants) + 1), lines)


def by_class(section: Section, images_per_class: int | None, summary: Summary) -> Table | None:
    """Returns the table of a section with the mean top-1 accuracy of each class, in percent, by experiment.

    Returns None if no run with this number of images has any.
    """
    rows = [row for row in section.rows_of(images_per_class) if row.class_accuracies]
    names = dict.fromkeys(name for row in rows for name in row.class_accuracies)
    if not names:
        return None
    lines, bold = [], set()
    for number, name in enumerate(names):
        accuracies = [row.class_accuracies.get(name) for row in rows]
        highest = max(accuracy for accuracy in accuracies if accuracy is not None)
        bold |= {(number, column) for column, accuracy in enumerate(accuracies, 1) if accuracy == highest}
        lines.append((name, *(NOTHING if accuracy is None else f"{100 * accuracy:.1f}" for accuracy in accuracies)))
    header = ("class", *map(summary.short_title, rows))
    return Table(header, "l" + "r" * len(rows), tuple(lines), frozenset(bold) if len(rows) > 1 else frozenset())


def every_seed(section: Section, summary: Summary) -> Table:
    """Returns the table of a section with each seed's accuracy in percent, or its status."""
    seeds = section.seeds
    lines = []
    for row in section.rows:
        cells = {trial.address.seed: str(trial.status) for trial in row.trials}
        cells |= {trial.address.seed: f"{100 * trial.accuracy:.2f}" for trial in row.finished}
        by_seed = [cells.get(seed, NOTHING) for seed in seeds]
        lines.append((images_in_words(row.images_per_class), summary.short_title(row), *by_seed))
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
        parts += [f"## {section.title}", markdown_table(overview(section, summary))]
        if seeds:
            parts += ["All seeds:", markdown_table(every_seed(section, summary))]
    settings = letters(summary)
    if settings is not None:
        parts += ["## Settings that differ", markdown_table(settings)]
    for heading, lines in notes(summary):
        parts += [f"## {heading}", "\n".join(f"- {_markdown_cell(line)}" for line in lines)]
    parts += [EXPLANATION, *(["Trained with: " + "; ".join(environments(summary)) + "."] if seeds else [])]
    return "\n\n".join(parts) + "\n"


def environments(summary: Summary) -> list[str]:
    """Returns the devices and versions that classifiers were trained with, the most frequent first."""
    ranked = sorted(summary.environments.items(), key=lambda item: (-item[1], item[0]))
    return [f"{environment} ({count})" for environment, count in ranked]


def markdown_table(table: Table) -> str:
    """Returns a table as Markdown."""
    lines = [[_markdown_cell(cell) for cell in line] for line in (table.header, *table.lines)]
    for line, column in table.bold:
        lines[line + 1][column] = f"**{lines[line + 1][column]}**"
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

    Each section has five: mean and standard deviation, interval of the mean, difference to the baseline, and p-values
    before and after Holm's correction. A last table has the settings that letters stand for. The document needs
    ``\usepackage{booktabs}``.
    """
    parts = ["% needs \\usepackage{booktabs}"]
    contents: list[tuple[str, Callable[[Row], str]]] = [
        (f"{METRICS[summary.metric]} (%), mean ± standard deviation (finished/all seeds)", _latex_accuracy),
        (f"{METRICS[summary.metric]} (%), 95 % interval of the mean", lambda row: interval(row.accuracy, ".2f")),
        (f"difference to {summary.baseline} (percentage points), mean and 95 % interval", _latex_difference),
        (f"p-value of the paired t-test against {summary.baseline}", lambda row: _p(row.p_value)),
        ("the same p-value after Holm's correction", lambda row: _p(row.corrected_p)),
    ]
    for section in summary.sections:
        for number, (caption, cell) in enumerate(contents):
            best = section.best if number == 0 else []
            parts.append(_latex_table(f"{section.title}: {caption}", section, summary, cell, best))
    settings = letters(summary)
    if settings is not None:
        parts.append(_latex_tabular("Settings that differ", settings.alignment, settings.header, settings.lines))
    return "\n\n".join(parts) + "\n"


def _latex_accuracy(row: Row) -> str:
    finished, expected = len(row.finished), len(row.trials)
    return mean(row.accuracy, ".2f") + (f" ({finished}/{expected})" if 0 < finished < expected else "")


def _latex_difference(row: Row) -> str:
    if row.difference is None:
        return NOTHING
    return f"{100 * row.difference.mean:+.2f} [{interval(row.difference, '+.2f').replace(' to ', ', ')}]"


def _latex_table(
    caption: str, section: Section, summary: Summary, cell: Callable[[Row], str], best: Sequence[Row]
) -> str:
    """Returns a table with a row per experiment and a column per number of images, with those of ``best`` in bold."""
    sizes = section.sizes
    cells = {(summary.short_title(row), row.images_per_class): cell(row) for row in section.rows}
    bold = {(summary.short_title(row), row.images_per_class) for row in best}
    titles = dict.fromkeys(title for title, _ in cells)
    lines = [[title, *(cells.get((title, size), NOTHING) for size in sizes)] for title in titles]
    bold_cells = {
        (number, column)
        for number, title in enumerate(titles)
        for column, size in enumerate(sizes, 1)
        if (title, size) in bold
    }
    over = rf" & \multicolumn{{{len(sizes)}}}{{c}}{{images per class}} \\"
    header = ["experiment", *map(images_in_words, sizes)]
    return _latex_tabular(caption, "l" + "r" * len(sizes), header, lines, over, bold_cells)


def _latex_tabular(
    caption: str,
    alignment: str,
    header: Sequence[str],
    lines: Iterable[Sequence[str]],
    over: str | None = None,
    bold: Container[tuple[int, int]] = (),
) -> str:
    """Returns a floating table; ``over`` is a line of LaTeX above the header, ``bold`` has cells by line and column."""
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex_cell(caption)}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            *([] if over is None else [over]),
            _latex_line(header),
            r"\midrule",
            *(
                _latex_line(line, [column for column in range(len(line)) if (number, column) in bold])
                for number, line in enumerate(lines)
            ),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _latex_line(cells: Iterable[str], bold: Container[int] = ()) -> str:
    escaped = map(_latex_cell, cells)
    return " & ".join(rf"\textbf{{{text}}}" if column in bold else text for column, text in enumerate(escaped)) + r" \\"


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


def csv_summary(summary: Summary) -> str:
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
                | {"p_value": row.p_value, "p_value_holm": row.corrected_p}
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
    return csv_records(list(lines[0]) if lines else [], lines)


def _p(p_value: float | None) -> str:
    if p_value is None:
        return NOTHING
    return f"{p_value:.2g}" if p_value >= 0.001 else "below 0.001"


def mean(estimate: Estimate | None, form: str) -> str:
    """Formats a mean with its standard deviation, in percent or percentage points; ``form`` is that of the mean."""
    if estimate is None:
        return NOTHING
    text = format(100 * estimate.mean, form)
    return text if estimate.standard_deviation is None else f"{text} ± {100 * estimate.standard_deviation:.2f}"


def interval(estimate: Estimate | None, form: str) -> str:
    """Formats the interval of a mean, in percent or percentage points."""
    if estimate is None:
        return NOTHING
    if estimate.interval is None:
        return _ONE_SEED
    return " to ".join(format(100 * end, form) for end in estimate.interval)
