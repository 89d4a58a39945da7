"""Tables of text in columns."""

from collections.abc import Sequence


def aligned(table: Sequence[Sequence[str]]) -> str:
    """Formats rows of cells, the header first, as text; the first column is left-aligned, the others right-aligned."""
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = [
        "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))])
        for first, *rest in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)
