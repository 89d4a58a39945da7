"""Prepares the findings about a run's data (``check.json``) for ``templates/data_check.html.jinja``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chimeramix_jax.data.findings_text import file_of, lines, severity
from chimeramix_jax.data.identity import HELD_OUT, TRAIN, UNUSED
from chimeramix_jax.runs import data_check
from chimeramix_jax.runs.workdir import Workdir

MOST_GROUPS = 20  # of copies, of each kind
MOST_FILES_OF_A_GROUP = 6
MOST_FILES = 50  # unreadable, or of one colour


@dataclass(frozen=True)
class ClassCounts:
    """The numbers of images of a class; ``share`` is that of its training images in the largest class's."""

    name: str
    counts: tuple[int, ...]  # in the order of ``DataSection.splits``
    share: float


@dataclass(frozen=True)
class CopiesRow:
    """Images that are copies of one another."""

    files: tuple[str, ...]  # the first of them
    more: int  # files that are not in ``files``
    classes: tuple[str, ...]  # each once
    across_the_split: bool  # whether a classifier was evaluated on a copy of a training image
    across_folds: bool  # whether a fold's classifier predicted a copy of an image that it was trained on


@dataclass(frozen=True)
class CopiesTable:
    """The groups of copies of a kind, the worst first."""

    title: str
    rows: list[CopiesRow]
    total: int  # groups, including those that are not in ``rows``


@dataclass(frozen=True)
class FileList:
    """Files with a common problem."""

    title: str
    files: list[str]
    total: int  # files, including those that are not in ``files``


@dataclass(frozen=True)
class DataSection:
    """All values of the section, ready to be shown."""

    sentences: list[str]  # everything that was found, in short
    splits: tuple[str, ...]  # the columns of the table of classes
    classes: list[ClassCounts]
    has_held_out: bool  # whether there are images that copies of training images may be among
    has_folds: bool  # whether it is known which training images are in different folds
    copies: list[CopiesTable]  # kinds of which there are any
    files: list[FileList]  # problems of which there are any


def data_section(workdir: Workdir) -> DataSection | None:
    """Returns the section about a run's data; None for a run of an earlier version, which has no ``check.json``."""
    findings = data_check.read(workdir)
    if findings is None:
        return None
    splits = {TRAIN: "training", HELD_OUT: findings["evaluate_on"], UNUSED: "unused"}
    splits = {split: name for split, name in splits.items() if findings["images"][split]}
    largest = max(row[TRAIN] for row in findings["classes"])
    classes = [
        ClassCounts(row["name"], tuple(row[split] for split in splits), row[TRAIN] / largest)
        for row in findings["classes"]
    ]
    copies = [
        _copies(title, findings[key])
        for title, key in (("Exact duplicates", "exact_duplicates"), ("Near duplicates", "near_duplicates"))
        if findings[key]
    ]
    lists = [
        FileList(title, findings[key][:MOST_FILES], len(findings[key]))
        for title, key in (("Unreadable files", "unreadable"), ("Images of almost a single colour", "flat"))
        if findings[key]
    ]
    return DataSection(
        sentences=list(lines(findings, 0)),
        splits=tuple(splits.values()),
        classes=classes,
        has_held_out=bool(findings["images"][HELD_OUT]),
        has_folds=bool(findings.get("folds")),
        copies=copies,
        files=lists,
    )


def _copies(title: str, groups: Sequence[Mapping[str, Any]]) -> CopiesTable:
    rows = [
        CopiesRow(
            tuple(file_of(copy) for copy in group["files"][:MOST_FILES_OF_A_GROUP]),
            max(len(group["files"]) - MOST_FILES_OF_A_GROUP, 0),
            tuple(dict.fromkeys(copy["class"] for copy in group["files"])),
            group["across_the_split"],
            group.get("across_folds", False),
        )
        for group in sorted(groups, key=severity)[:MOST_GROUPS]
    ]
    return CopiesTable(title, rows, len(groups))
