"""Lists a user's own images from a CSV file.

The first line names the columns: ``path`` and ``label``, and optionally ``split`` with ``train``, ``val`` or ``test``;
other columns are ignored. Paths are relative to the CSV file's folder. Columns are separated by commas, semicolons or
tabs. The published order, to which few-shot splits refer, is that of the lines; classes are sorted by name.
"""

import csv
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from chimeramix_jax.data.builders.contents import (
    SPLIT_NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    Contents,
    ImageFile,
    fingerprint_of_files,
    named_if_unreadable,
    refuse_odd_name,
    refuse_single_images,
)
from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.paths import by_name, in_any_form

_PATH, _LABEL, _SPLIT = "path", "label", "split"
_MOST_NAMED = 3  # lines that an error message names


@dataclass(frozen=True)
class _Row:
    """A line of the table."""

    number: int  # of the line in the file, from 1
    path: str
    label: str
    split: str


def scan_table(table: Path) -> Contents:
    """Lists the images of a CSV file, without opening them; raises InputError, which names lines, if it is unusable."""
    rows = _rows(table)
    class_names = tuple(sorted({row.label for row in rows if row.split == TRAIN}, key=by_name))
    _check_classes(table, rows, class_names)
    paths = _existing_paths(table, rows)
    splits: dict[str, list[ImageFile]] = {}
    for row, path in zip(rows, paths, strict=True):
        splits.setdefault(row.split, []).append(ImageFile(path, class_names.index(row.label), row.path))
    train, validation, test = (splits.get(split) for split in (TRAIN, VALIDATION, TEST))
    assert train is not None
    if validation is None and test is None:
        refuse_single_images(train, class_names, "lines whose split is test")
    return Contents(
        class_names,
        tuple(train),
        None if validation is None else tuple(validation),
        None if test is None else tuple(test),
        fingerprint_of_files(class_names, [train, validation or (), test or ()]),
    )


def _rows(table: Path) -> list[_Row]:
    """Reads the lines; raises InputError if a column or a value is missing."""
    with named_if_unreadable(table):
        content = table.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"dataset.directory: {table} is not text in UTF-8; save it as CSV in UTF-8") from None
    header = text.partition("\n")[0]
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    try:
        columns = _columns(table, next(lines, []))
        rows = [_row(table, lines.line_num, columns, cells) for cells in lines if any(map(str.strip, cells))]
    except csv.Error as error:
        raise InputError(f"dataset.directory: {table}, line {lines.line_num}, is not valid CSV: {error}") from None
    if not rows:
        raise InputError(f"dataset.directory: {table} lists no images below its first line")
    return rows


def _columns(table: Path, header: Sequence[str]) -> dict[str, int]:
    """Returns the places of the columns by name."""
    names = [name.strip().lower() for name in header]
    for name in (_PATH, _LABEL):
        if name not in names:
            raise InputError(
                f"dataset.directory: {table} has no column {name!r}; its first line must name the columns path, label "
                f"and optionally split, but is {', '.join(header)!r}"
            )
    for name in (_PATH, _LABEL, _SPLIT):
        if names.count(name) > 1:
            raise InputError(f"dataset.directory: {table} has {names.count(name)} columns called {name!r}; keep one")
    return {name: names.index(name) for name in (_PATH, _LABEL, _SPLIT) if name in names}


def _row(table: Path, number: int, columns: dict[str, int], cells: Sequence[str]) -> _Row:
    """Returns a line's values, without spaces at their ends."""
    values = {_SPLIT: TRAIN}
    for name, place in columns.items():
        values[name] = cells[place].strip() if place < len(cells) else ""
        if not values[name]:
            raise InputError(f"dataset.directory: {table}, line {number}, has no {name}")
    split = SPLIT_NAMES.get(values[_SPLIT].casefold())
    if split is None:
        raise not_one_of(f"dataset.directory: {table}, line {number}, split", values[_SPLIT], ("train", "val", "test"))
    return _Row(number, values[_PATH], unicodedata.normalize("NFC", values[_LABEL]), split)


def _check_classes(table: Path, rows: Sequence[_Row], class_names: Sequence[str]) -> None:
    """Raises InputError unless there are two classes or more, and every held-out image is of a class in training."""
    if not class_names:
        raise InputError(f"dataset.directory: {table} lists no training images; some lines must have the split train")
    if len(class_names) == 1:
        raise InputError(
            f"dataset.directory: {table} contains only one class, {class_names[0]!r}; at least two are needed"
        )
    for name in class_names:
        refuse_odd_name(name, "label", table)
    unknown = sorted({row.label for row in rows} - set(class_names), key=by_name)
    if unknown:
        listed = ", ".join(map(repr, unknown))
        raise InputError(f"dataset.directory: {table} has labels without a training image: {listed}")


def _existing_paths(table: Path, rows: Sequence[_Row]) -> list[Path]:
    """Returns the lines' files; raises InputError if any is missing or listed twice."""
    paths, missing, first_line = [], [], dict[Path, int]()
    for row in rows:
        path = in_any_form(table.parent / row.path)
        with named_if_unreadable(path):
            if not path.is_file():
                missing.append(f"{row.path} (line {row.number})")
        if path in first_line:
            raise InputError(
                f"dataset.directory: {table} lists {row.path} twice, in lines {first_line[path]} and {row.number}; "
                "keep one"
            )
        first_line[path] = row.number
        paths.append(path)
    if missing:
        more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
        listed = ", ".join(missing[:_MOST_NAMED])
        raise InputError(
            f"dataset.directory: {table} lists files that do not exist: {listed}{more}; paths must be relative to "
            f"{table.parent}"
        )
    return paths
