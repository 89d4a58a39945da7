"""Writes tables as CSV that every reader splits into the same rows and cells."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence


def csv_rows(rows: Iterable[Iterable[object]]) -> str:
    """Returns rows of cells as CSV, the header first, each row ending in a line feed; None is an empty cell.

    A carriage return in a cell, as file names may have it, ends a row for ``csv.reader`` unless the cell is quoted.
    Python's writer quotes it only if it is a part of the line ending, so rows are written with that of Windows first.
    """
    return "".join(f"{_line(row)}\n" for row in rows)


def csv_records(columns: Sequence[str], records: Iterable[Mapping[str, object]]) -> str:
    """Returns records as CSV, with a header; each must have all columns."""
    return csv_rows([columns, *([record[column] for column in columns] for record in records)])


def _line(row: Iterable[object]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(row)
    return text.getvalue().removesuffix("\r\n")
