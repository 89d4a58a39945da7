"""A summary as a self-contained HTML page, which needs no network."""

import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from chimeramix_jax.reporting import web_page
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.summary import curves, tables
from chimeramix_jax.summary.sections import Section, Summary
from chimeramix_jax.summary.tables import Table
from chimeramix_jax.summary.trials import Status
from chimeramix_jax.summary.wording import images_in_words


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, its CSS classes, and the page that it links to, or nothing."""

    text: str
    style: str
    bold: bool = False
    link: str = ""


@dataclass(frozen=True)
class TableLine:
    """A line of a table. ``note`` says more about its first cell where columns are hidden; ``new`` starts a group."""

    cells: list[Cell]
    note: str
    new: bool


@dataclass(frozen=True)
class View:
    """A table laid out for the page."""

    header: list[Cell]
    lines: list[TableLine]


def html(summary: Summary, title: str, svg: bytes | None, folder: Path) -> str:
    """Returns the page as HTML, to be stored in a folder, with the curves from ``curves.svg``, if any.

    Reports of the runs are linked relative to the folder.
    """
    environment = web_page.environment("chimeramix_jax.summary", ".")
    letters = tables.letters(summary)
    return environment.get_template("page.html.jinja").render(
        title=title,
        totals=tables.totals(summary),
        picture=None if svg is None else _inline(svg),
        sections=[
            {
                "title": section.title,
                "overview": experiment_first(tables.overview(section, summary), {}),
                "seeds": experiment_first(tables.every_seed(section, summary), reports(section, folder)),
                "classes": [
                    (images_in_words(size), view(table))
                    for size in section.sizes
                    if (table := tables.by_class(section, size, summary)) is not None
                ],
            }
            for section in summary.sections
        ],
        letters=None if letters is None else view(letters),
        notes=tables.notes(summary),
        explanation=tables.EXPLANATION,
        environments=tables.environments(summary),
    )


def reports(section: Section, folder: Path) -> dict[tuple[int, int], str]:
    """Returns the addresses of the existing reports, by line and column of ``tables.every_seed``."""
    links = {}
    for number, row in enumerate(section.rows):
        for trial in row.trials:
            if trial.workdir is not None and (report := Workdir(trial.workdir).report).exists():
                relative = os.path.relpath(report.resolve(), folder.resolve())
                column = 2 + section.seeds.index(trial.address.seed)
                links[number, column] = urllib.parse.quote(os.fsencode(relative))
    return links


def view(table: Table, links: dict[tuple[int, int], str] | None = None) -> View:
    """Lays out a table for the page, with links by line and column."""
    header = [Cell(text, side) for text, side in zip(table.header, table.alignment, strict=True)]
    lines = [
        TableLine(
            [
                Cell(
                    text,
                    f"{side} {_status(text)}".strip(),
                    (number, column) in table.bold,
                    (links or {}).get((number, column), ""),
                )
                for column, (text, side) in enumerate(zip(line, table.alignment, strict=True))
            ],
            note="",
            new=False,
        )
        for number, line in enumerate(table.lines)
    ]
    return View(header, lines)


def experiment_first(table: Table, links: dict[tuple[int, int], str]) -> View:
    """Lays out a table with its second column, the experiments, before the first, the numbers of images per class.

    On a phone the first column stays in view, and it is all that says what a line is about.
    """
    laid_out = view(table, links)
    lines = []
    for number, line in enumerate(laid_out.lines):
        images, experiment, *rest = line.cells
        new = number > 0 and table.lines[number - 1][0] != images.text
        lines.append(TableLine([experiment, images, *rest], f"{images.text} per class", new))
    images, experiment, *rest = laid_out.header
    return View([experiment, images, *rest], lines)


def _status(text: str) -> str:
    """Returns the CSS class of a cell: the status of a trial, or "partly" for a row with unfinished ones."""
    if text in {str(status) for status in Status if status != Status.FINISHED}:
        return text
    return "partly" if " of " in text else ""


def _inline(svg: bytes) -> str:
    """Returns the SVG element of a picture, in the colours of the page."""
    text = svg.decode()
    element = text[text.index("<svg") :]  # HTML does not allow the XML declaration
    return element.replace(curves.INK, "currentColor").replace(curves.FAINT, "var(--rule)")
