"""A summary as Markdown."""

from chimeramix_jax.summary import tables
from chimeramix_jax.summary.sections import Summary
from chimeramix_jax.summary.tables import Table


def summary_text(summary: Summary, *, seeds: bool = True) -> str:
    """Returns the whole summary as Markdown; ``seeds`` includes the tables of all seeds."""
    parts = [f"Classifiers: {tables.totals(summary)}."]
    for section in summary.sections:
        parts += [f"## {section.title}", table_text(tables.overview(section, summary))]
        if seeds:
            parts += ["All seeds:", table_text(tables.every_seed(section, summary))]
    settings = tables.letters(summary)
    if settings is not None:
        parts += ["## Settings that differ", table_text(settings)]
    for heading, lines in tables.notes(summary):
        parts += [f"## {heading}", "\n".join(f"- {_cell(line)}" for line in lines)]
    parts.append(tables.EXPLANATION)
    if seeds:
        parts.append(f"Trained with: {'; '.join(tables.environments(summary))}.")
    return "\n\n".join(parts) + "\n"


def table_text(table: Table) -> str:
    """Returns a table as Markdown."""
    lines = [[_cell(cell) for cell in line] for line in (table.header, *table.lines)]
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


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
