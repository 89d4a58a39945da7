"""The files about a table: published beside measured, as a self-contained page, as Markdown and as CSV."""

from collections.abc import Container, Sequence
from pathlib import Path

from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting import web_page
from chimeramix_jax.reporting.csv_rows import csv_records
from chimeramix_jax.reproduce import beside
from chimeramix_jax.reproduce.beside import Comparison
from chimeramix_jax.reproduce.parts import Part
from chimeramix_jax.reproduce.published import ASPECTS, Protocol, Source
from chimeramix_jax.summary import tables
from chimeramix_jax.summary.markdown import summary_text, table_text
from chimeramix_jax.summary.page import Cell, TableLine, View, experiment_first, reports, view
from chimeramix_jax.summary.sections import Summary
from chimeramix_jax.summary.tables import NOTHING, Table

_OURS = range(3, 9)  # the columns of ``_beside_table`` that are empty without an experiment of this program

_CSV_COLUMNS = (
    "dataset",
    "protocol",
    "method",
    "images_per_class",
    "published",
    "published_deviation",
    "experiment",
    "settings",
    "runs",
    "measured",
    "interval_low",
    "interval_high",
    "verdict",
    "source",
    "note",
)


def write(part: Part, summary: Summary, folder: Path) -> list[Path]:
    """Writes the files into a folder and returns their paths; their names have that of the table."""
    contents = {
        "html": files.encoded(html(part, summary, folder)),
        "md": files.encoded(markdown(part, summary)),
        "csv": _csv(part, summary).encode(),
    }
    paths = {kind: folder / f"reproduce-{part.table.name}.{kind}" for kind in contents}
    try:
        for kind, content in contents.items():
            files.write_bytes(paths[kind], content)
    except OSError as error:
        raise InputError(f"{paths[kind]}: cannot be written: {error.strerror}") from None
    return list(paths.values())


def html(part: Part, summary: Summary, folder: Path) -> str:
    """Returns the page as HTML, to be stored in a folder; reports of the runs are linked relative to it."""
    environment = web_page.environment("chimeramix_jax", ".")
    sources = _sources(part)
    letters = tables.letters(summary)
    return environment.get_template("reproduce/page.html.jinja").render(
        title=part.table.title,
        name=part.table.name,
        standing=standing(part, summary),
        totals=tables.totals(summary),
        datasets=[
            {
                "title": title,
                "protocols": [
                    {
                        "title": protocol.title,
                        "table": _beside_view(comparisons, summary, sources),
                        "only_published": only_published(comparisons),
                        "notes": _notes(comparisons),
                    }
                    for protocol, comparisons in by_protocol
                ],
            }
            for title, by_protocol in beside.comparisons(part, summary).items()
        ],
        beside_explanation=beside.explanation(part),
        sources=sources,
        protocols=[(protocol, _prose(_protocol_table(part, protocol))) for protocol in _protocols(part)],
        sections=[
            (
                section.title,
                experiment_first(tables.overview(section, summary), {}),
                experiment_first(tables.every_seed(section, summary), reports(section, folder)),
            )
            for section in summary.sections
        ],
        letters=None if letters is None else view(letters),
        notes=tables.notes(summary),
        explanation=tables.EXPLANATION,
        environments=tables.environments(summary),
    )


def markdown(part: Part, summary: Summary, *, protocols: bool = True) -> str:
    """Returns everything as Markdown; ``protocols`` includes the protocols, sources and paired tests."""
    sources = _sources(part)
    blocks = [f"# {part.table.title}", *standing(part, summary)]
    for title, by_protocol in beside.comparisons(part, summary).items():
        for protocol, comparisons in by_protocol:
            blocks += [
                f"## {title}, protocol: {protocol.title}",
                table_text(_beside_table(comparisons, summary, sources)),
                *_notes(comparisons),
            ]
    blocks.append(beside.explanation(part))
    if protocols:
        blocks += ["Sources:", "\n".join(f"{n}. {one.title}, <{one.url}>" for n, one in enumerate(sources, 1))]
        for protocol in _protocols(part):
            blocks += [f"## Protocol: {protocol.title}", table_text(_protocol_table(part, protocol))]
        blocks += ["# The experiments of this program", summary_text(summary)]
    return "\n\n".join(block.rstrip("\n") for block in blocks) + "\n"


def standing(part: Part, summary: Summary) -> list[str]:
    """Returns sentences that say how far the table is filled, and where the published figures lie."""
    lines = [
        line for by_protocol in beside.comparisons(part, summary).values() for _, some in by_protocol for line in some
    ]
    measured = {line.figure for line in lines if line.measured is not None}
    verdicts = [line.verdict for line in lines if line.measured is not None and line.measured.interval is not None]
    inside = verdicts.count("inside it")
    have = "has" if len(measured) == 1 else "have"
    chosen = beside.of_the_table(part)
    sentences = [f"This is a part of the table: {', '.join(chosen)}."] if chosen else []
    sentences += [f"Published figures: {len(part.figures)}, of which {len(measured)} {have} finished runs beside them."]
    if verdicts:
        about = "the published figure inside the interval of our mean"
        have = "has" if inside == 1 else "have"
        sentences.append(f"Comparisons with at least two seeds: {len(verdicts)}, of which {inside} {have} {about}.")
    if part.not_filled:
        names = ", ".join(dataset.title for dataset in part.not_filled)
        sentences.append(f"Published figures only, since this program has no config file for the data set: {names}.")
    if changed := beside.changed_settings(part):
        sentences.append(f"Settings were changed, which the protocols below do not consider: {', '.join(changed)}.")
    return sentences


def _beside_table(comparisons: Sequence[Comparison], summary: Summary, sources: Sequence[Source]) -> Table:
    """Returns the table of published figures of one data set and one protocol beside measured ones."""
    header = (
        "published method",
        "images per class",
        "published (%)",
        "experiment here",
        "runs",
        "measured here (%)",
        "95 % interval",
        "published figure lies",
        "difference",
        "source",
    )
    lines = []
    for line in comparisons:
        figure, row = line.figure, line.row
        cells = (
            (NOTHING,) * 3
            if row is None
            else (
                _run_count(line),
                tables.mean(line.measured, ".2f"),
                tables.interval(line.measured, ".2f"),
            )
        )
        experiment = line.experiment or NOTHING
        lines.append(
            (
                figure.method,
                str(figure.images_per_class),
                f"{figure.percent:.2f}" + ("" if figure.deviation is None else f" ± {figure.deviation:.2f}"),
                experiment if row is None else summary.short_title(row),
                *cells,
                line.verdict,
                NOTHING if line.difference is None else f"{line.difference:+z.2f}",
                str(1 + sources.index(figure.source)),
            )
        )
    table = Table(header, "lrrlrrrlrr", tuple(lines))
    return _without(_OURS, table) if only_published(comparisons) else table


def _run_count(line: Comparison) -> str:
    expected = sum(len(row.trials) for row in line.rows)
    return str(expected) if line.finished == expected else f"{line.finished} of {expected}"


def only_published(comparisons: Sequence[Comparison]) -> bool:
    """Whether this program has none of the methods, or not the data set, so that nothing can stand beside them."""
    return all(line.experiment is None for line in comparisons)


def _without(columns: Container[int], table: Table) -> Table:
    kept = [column for column in range(len(table.header)) if column not in columns]
    return Table(
        tuple(table.header[column] for column in kept),
        "".join(table.alignment[column] for column in kept),
        tuple(tuple(line[column] for column in kept) for line in table.lines),
    )


def _beside_view(comparisons: Sequence[Comparison], summary: Summary, sources: Sequence[Source]) -> View:
    """Lays out a table of comparisons; the number in its last column links to the source."""
    table = _beside_table(comparisons, summary, sources)
    last = len(table.header) - 1
    numbers = [1 + sources.index(comparison.figure.source) for comparison in comparisons]
    return view(table, {(line, last): f"#source-{number}" for line, number in enumerate(numbers)})


def _prose(table: Table) -> View:
    """Lays out a table of sentences, in which no word is a status."""
    header = [Cell(text, "") for text in table.header]
    return View(header, [TableLine([Cell(text, "") for text in line], note="", new=False) for line in table.lines])


def _protocol_table(part: Part, protocol: Protocol) -> Table:
    """Returns the table of a protocol beside that of this program."""
    ours = beside.our_protocol(part)
    lines = tuple(
        (title, beside.differs(part, protocol, key), protocol.aspects[key].said, ours[key])
        for key, title in ASPECTS.items()
    )
    return Table(("aspect", "differs", "published", "here"), "llll", lines)


def _protocols(part: Part) -> list[Protocol]:
    shown = [figure.protocol for figure in part.figures]
    return [protocol for protocol in part.table.protocols if protocol in shown]


def _sources(part: Part) -> list[Source]:
    """Returns the sources of the figures and of the protocols, each once; their numbers are their places from 1."""
    of_figures = [figure.source for figure in part.figures]
    found: list[Source] = []
    for source in [*of_figures, *(protocol.source for protocol in _protocols(part))]:
        if source not in found:
            found.append(source)
    return found


def _notes(comparisons: Sequence[Comparison]) -> list[str]:
    """Returns what sources leave open, each with the figures that it is about."""
    about: dict[str, list[str]] = {}
    for line in comparisons:
        figure = line.figure
        if figure.note:
            name = f"{figure.method} with {figure.images_per_class}"
            if name not in about.setdefault(figure.note, []):
                about[figure.note].append(name)
    return [f"{', '.join(names)} images per class: {note}" for note, names in about.items()]


def _csv(part: Part, summary: Summary) -> str:
    """Returns all comparisons as CSV; published figures and measured means are in percent, with all digits."""
    records: list[dict[str, object]] = []
    for by_protocol in beside.comparisons(part, summary).values():
        for protocol, comparisons in by_protocol:
            for line in comparisons:
                figure, row, measured = line.figure, line.row, line.measured
                low, high = (measured and measured.interval) or (None, None)
                records.append(
                    {
                        "dataset": figure.dataset,
                        "protocol": protocol.title,
                        "method": figure.method,
                        "images_per_class": figure.images_per_class,
                        "published": figure.percent,
                        "published_deviation": figure.deviation,
                        "experiment": line.experiment,
                        "settings": row and row.variant,
                        "runs": row and line.finished,
                        "measured": measured and 100 * measured.mean,
                        "interval_low": None if low is None else 100 * low,
                        "interval_high": None if high is None else 100 * high,
                        "verdict": line.verdict,
                        "source": figure.source.url,
                        "note": figure.note,
                    }
                )
    return csv_records(_CSV_COLUMNS, records)
