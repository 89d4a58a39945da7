"""A summary as LaTeX."""

import re
from collections.abc import Callable, Container, Iterable, Sequence

from chimeramix_jax.summary import tables
from chimeramix_jax.summary.sections import Row, Section, Summary
from chimeramix_jax.summary.tables import NOTHING
from chimeramix_jax.summary.trials import METRICS
from chimeramix_jax.summary.wording import images_in_words


def summary_text(summary: Summary) -> str:
    r"""Returns LaTeX tables for ``\input``, with a row per experiment and a column per number of images.

    Each section has five: mean and standard deviation, interval of the mean, difference to the baseline, and p-values
    before and after Holm's correction. A last table has the settings that letters stand for. The document needs
    ``\usepackage{booktabs}``.
    """
    parts = ["% needs \\usepackage{booktabs}"]
    contents: list[tuple[str, Callable[[Row], str]]] = [
        (f"{METRICS[summary.metric]} (%), mean ± standard deviation (finished/all seeds)", _accuracy),
        (f"{METRICS[summary.metric]} (%), 95 % interval of the mean", lambda row: tables.interval(row.accuracy, ".2f")),
        (f"difference to {summary.baseline} (percentage points), mean and 95 % interval", _difference),
        (f"p-value of the paired t-test against {summary.baseline}", lambda row: tables.p_value(row.p_value)),
        ("the same p-value after Holm's correction", lambda row: tables.p_value(row.corrected_p)),
    ]
    for section in summary.sections:
        for number, (caption, cell) in enumerate(contents):
            best = section.best if number == 0 else []
            parts.append(_table(f"{section.title}: {caption}", section, summary, cell, best))
    settings = tables.letters(summary)
    if settings is not None:
        parts.append(_tabular("Settings that differ", settings.alignment, settings.header, settings.lines))
    return "\n\n".join(parts) + "\n"


def _accuracy(row: Row) -> str:
    finished, expected = len(row.finished), len(row.trials)
    return tables.mean(row.accuracy, ".2f") + (f" ({finished}/{expected})" if 0 < finished < expected else "")


def _difference(row: Row) -> str:
    if row.difference is None:
        return NOTHING
    return f"{100 * row.difference.mean:+z.2f} [{tables.interval(row.difference, '+z.2f').replace(' to ', ', ')}]"


def _table(caption: str, section: Section, summary: Summary, cell: Callable[[Row], str], best: Sequence[Row]) -> str:
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
    return _tabular(caption, "l" + "r" * len(sizes), header, lines, over, bold_cells)


def _tabular(
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
            rf"\caption{{{_cell(caption)}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            *([] if over is None else [over]),
            _line(header),
            r"\midrule",
            *(
                _line(line, [column for column in range(len(line)) if (number, column) in bold])
                for number, line in enumerate(lines)
            ),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _line(cells: Iterable[str], bold: Container[int] = ()) -> str:
    escaped = map(_cell, cells)
    return " & ".join(rf"\textbf{{{text}}}" if column in bold else text for column, text in enumerate(escaped)) + r" \\"


_ESCAPED = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


def _cell(text: str) -> str:
    if text == NOTHING:
        return "--"
    escaped = "".join(_ESCAPED.get(character, character) for character in text)
    return re.sub(r"(?<![\w.])[+-]\d+(\.\d+)?", lambda number: f"${number[0]}$", escaped)
