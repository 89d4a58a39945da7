"""Tables of text in columns."""

from collections.abc import Sequence

from rich.cells import cell_len

from chimeramix_jax.errors import without_control


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Formats rows of cells, the header first, as text; the first column is left-aligned, the others right-aligned.

    Control characters in cells are escaped, so that a row is a line. Characters of double width count twice.
    """
    rows = [[without_control(cell) for cell in line] for line in table]
    widths = [max(cell_len(line[column]) for line in rows) for column in range(len(rows[0]))]
    lines = []
    for line in rows:
        blanks = [" " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True)]
        rest = (before + cell for before, cell in zip(blanks[1:], line[1:], strict=True))
        lines.append("  ".join([line[0] + blanks[0], *rest]))
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)
