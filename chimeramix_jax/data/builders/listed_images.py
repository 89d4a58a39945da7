"""A user's own images that a file lists, one a line: a CSV file (``image_table``) or split files (``image_list``)."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chimeramix_jax.data.builders.contents import (
    TEST,
    TRAIN,
    VALIDATION,
    Contents,
    ImageFile,
    fingerprint_of_files,
    named_if_unreadable,
    refuse_odd_names,
    refuse_single_images,
)
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import by_name

_MOST_NAMED = 3  # lines that an error message names


@dataclass(frozen=True)
class ListedImage:
    """A line of the list."""

    line: str  # its number, from 1, and the file if there are several: ``3`` or ``3 of test.txt``
    path: str
    label: str  # the name of the class
    split: str
    group: str = ""  # of images that no division may separate; empty: none


def contents_of(
    source: Path,
    root: Path,
    rows: Sequence[ListedImage],
    class_names: tuple[str, ...],
    find: Callable[[str], Path],
) -> Contents:
    """Returns the listed images; raises InputError, which names lines, if classes or files are missing.

    Args:
        source: the file that lists the images, for error messages.
        root: the folder to which paths are relative.
        rows: its lines.
        class_names: the classes with training images, in order.
        find: returns the file of a listed path; it need not exist.
    """
    _check_classes(source, rows, class_names)
    _refuse_groups_in_two_splits(source, rows)
    labels = {name: label for label, name in enumerate(class_names)}
    splits: dict[str, list[ImageFile]] = {}
    for row, path in zip(rows, _existing_files(source, root, rows, find), strict=True):
        name = row.path if path.name == Path(row.path).name else str(Path(row.path).with_name(path.name))
        splits.setdefault(row.split, []).append(ImageFile(path, labels[row.label], name))
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
        {split: tuple(row.group for row in rows if row.split == split) for split in splits},
    )


def _check_classes(source: Path, rows: Sequence[ListedImage], class_names: Sequence[str]) -> None:
    """Raises InputError unless there are two classes or more, and every held-out image is of a class in training."""
    if not class_names:
        raise InputError(f"dataset.directory: {source} lists no training images; some lines must have the split train")
    if len(class_names) == 1:
        raise InputError(
            f"dataset.directory: {source} contains only one class, {class_names[0]!r}; at least two are needed"
        )
    refuse_odd_names(class_names, "label", source)
    unknown = sorted({row.label for row in rows} - set(class_names), key=by_name)
    if unknown:
        listed = ", ".join(map(repr, unknown))
        raise InputError(f"dataset.directory: {source} has labels without a training image: {listed}")


def _refuse_groups_in_two_splits(source: Path, rows: Sequence[ListedImage]) -> None:
    """Raises InputError if images of a group are in different splits: a group is what must not be separated."""
    first = dict[str, ListedImage]()
    for row in rows:
        other = first.setdefault(row.group, row)
        if row.group and other.split != row.split:
            raise InputError(
                f"dataset.directory: {source} has group {row.group!r} in two splits, {other.split} (line {other.line}) "
                f"and {row.split} (line {row.line}); the images of a group must be in the same one"
            )


def _existing_files(source: Path, root: Path, rows: Sequence[ListedImage], find: Callable[[str], Path]) -> list[Path]:
    """Returns the lines' files; raises InputError if any is missing, not a file, or listed twice."""
    paths, missing, first_line = [], [], dict[Path, str]()
    real_folder = functools.cache(os.path.realpath)
    for row in rows:
        path = find(row.path)
        with named_if_unreadable(path):
            if not path.is_file():
                if path.exists():
                    raise InputError(
                        f"dataset.directory: {source} lists {row.path} (line {row.line}), which is not a file but a "
                        "folder, a pipe or a device; it must be the path of an image"
                    )
                missing.append(row)
                continue
        place = Path(real_folder(path.parent), path.name)  # several ways may lead to a folder
        if place in first_line:
            raise InputError(
                f"dataset.directory: {source} lists {row.path} twice, in lines {first_line[place]} and {row.line}; "
                "keep one"
            )
        first_line[place] = row.line
        paths.append(path)
    if missing:
        _refuse_missing(source, root, missing)
    return paths


def _refuse_missing(source: Path, root: Path, missing: Sequence[ListedImage]) -> None:
    """Raises InputError for lines whose files do not exist."""
    more = f" and {len(missing) - _MOST_NAMED} more" if len(missing) > _MOST_NAMED else ""
    listed = ", ".join(f"{row.path} (line {row.line})" for row in missing[:_MOST_NAMED])
    advice = f"paths must be relative to {root}, or to the folder that --config.dataset.image_directory names"
    if any(row.path.startswith("~") for row in missing):
        advice += "; ~ does not stand for the home folder in a list, so write the full path"
    if os.sep != "\\" and any("\\" in row.path for row in missing):
        advice += "; folders are separated by / and not by \\"
    raise InputError(f"dataset.directory: {source} lists files that do not exist: {listed}{more}; {advice}")
