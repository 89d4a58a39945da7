"""Lists a user's own images from a CSV file.

The first line names the columns: ``path`` and ``label``, and optionally ``split`` with ``train``, ``val`` or ``test``,
and ``group``, whose images no division separates (an empty cell is no group). Other columns are ignored. Paths are
relative to the CSV file's folder, or to another that is given. Columns are separated by commas, semicolons or tabs; a
line such as ``sep=;`` may precede the first, as Excel wants it. The published order, to which few-shot splits refer,
is that of the lines; classes are sorted by name.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from chimeramix_jax.data.builders.contents import SPLIT_NAMES, TRAIN, Contents, named_if_unreadable
from chimeramix_jax.data.builders.listed_images import ListedImage, contents_of
from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.paths import by_name, in_any_form

_SEPARATOR_LINE = re.compile(r'"?sep=(?P<separator>[,;\t])"?([\r\n]|$)', re.IGNORECASE)  # for Excel
_PATH, _LABEL, _SPLIT, _GROUP = "path", "label", "split", "group"


def scan_table(table: Path, root: Path) -> Contents:
    """Lists the images of a CSV file, without opening them; raises InputError, which names lines, if it is unusable.

    ``root`` is the folder to which paths are relative.
    """
    rows = _rows(table)
    class_names = tuple(sorted({row.label for row in rows if row.split == TRAIN}, key=by_name))
    return contents_of(table, root, rows, class_names, lambda path: in_any_form(root / path))


def _rows(table: Path) -> list[ListedImage]:
    """Reads the lines; raises InputError if a column or a value is missing."""
    with named_if_unreadable(table):
        content = table.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"dataset.directory: {table} is not text in UTF-8; save it as CSV in UTF-8") from None
    separator = _separator(text)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    try:
        if _SEPARATOR_LINE.match(text):
            next(lines)
        header = next(lines, [])
        columns = _columns(table, header)
        rows = []
        for cells in lines:
            if any(map(str.strip, cells)):
                _refuse_cells_without_column(table, lines.line_num, cells, header, separator)
                rows.append(_row(table, lines.line_num, columns, cells))
    except csv.Error as error:
        raise InputError(f"dataset.directory: {table}, line {lines.line_num}, is not valid CSV: {error}") from None
    if not rows:
        raise InputError(f"dataset.directory: {table} lists no images below its first line")
    return rows


def _separator(text: str) -> str:
    """Returns what separates the columns: what a first line such as ``sep=;`` says, or what the header has most of."""
    if named := _SEPARATOR_LINE.match(text):
        return named["separator"]
    return max(",;\t", key=text.partition("\n")[0].count)


def _columns(table: Path, header: Sequence[str]) -> dict[str, int]:
    """Returns the places of the columns by name."""
    names = [name.strip().lower() for name in header]
    for name in (_PATH, _LABEL):
        if name not in names:
            raise InputError(
                f"dataset.directory: {table} has no column {name!r}; its first line must name the columns path, label "
                f"and optionally split and group, but is {', '.join(header)!r}"
            )
    for name in (_PATH, _LABEL, _SPLIT, _GROUP):
        if names.count(name) > 1:
            raise InputError(f"dataset.directory: {table} has {names.count(name)} columns called {name!r}; keep one")
    return {name: names.index(name) for name in (_PATH, _LABEL, _SPLIT, _GROUP) if name in names}


def _refuse_cells_without_column(
    table: Path, number: int, cells: Sequence[str], header: Sequence[str], separator: str
) -> None:
    """Raises InputError if a line has more values than there are columns: one of them has the separator in it."""
    if any(map(str.strip, cells[len(header) :])):
        sign = {",": "comma", ";": "semicolon", "\t": "tab"}[separator]
        raise InputError(
            f"dataset.directory: {table}, line {number}, has {len(cells)} values for {len(header)} columns; put a "
            f"value that contains a {sign} in double quotes"
        )


def _row(table: Path, number: int, columns: dict[str, int], cells: Sequence[str]) -> ListedImage:
    """Returns a line's values, without spaces at their ends."""
    values = {_SPLIT: TRAIN, _GROUP: ""}
    for name, place in columns.items():
        values[name] = cells[place].strip() if place < len(cells) else ""
        if not values[name] and name != _GROUP:
            raise InputError(f"dataset.directory: {table}, line {number}, has no {name}")
    split = SPLIT_NAMES.get(values[_SPLIT].casefold())
    if split is None:
        raise not_one_of(f"dataset.directory: {table}, line {number}, split", values[_SPLIT], ("train", "val", "test"))
    label, group = (unicodedata.normalize("NFC", values[name]) for name in (_LABEL, _GROUP))
    return ListedImage(str(number), values[_PATH], label, split, group)
