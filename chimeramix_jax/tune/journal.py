"""Optuna's journal of a search, ``search.log``: where it is, and what a killed process or a hand left in it."""

import json
import os
from pathlib import Path

from optuna.storages.journal import JournalFileSymlinkLock

from chimeramix_jax.errors import InputError

JOURNAL = "search.log"  # in the search's folder
ADVICE = "; restore the file from a backup, or choose another --workdir"


def journal_path(folder: Path) -> str:
    """Returns the full path of the journal: Optuna's lock is a link to it, which would dangle with a relative one."""
    return str((folder / JOURNAL).absolute())


def refuse_damaged_lines(journal: str) -> None:
    """Raises InputError, with file and line, for a line of the journal that Optuna has not written."""
    if not os.path.exists(journal):
        return
    *lines, _ = Path(journal).read_bytes().split(b"\n")  # the last one may be incomplete
    for number, line in enumerate(lines, start=1):
        try:
            written = "op_code" in json.loads(line)
        except (ValueError, TypeError):
            written = False
        if not written:
            raise damaged(journal, f"line {number}: {line[:60]!r} is not an entry of Optuna's journal")


def remove_incomplete_line(journal: str) -> None:
    """Removes what a process that was killed, or a full disk, left at the end of the journal."""
    if not os.path.exists(journal):
        return
    lock = JournalFileSymlinkLock(journal)
    lock.acquire()
    try:
        with open(journal, "rb+") as file:
            content = file.read()
            file.truncate(content.rfind(b"\n") + 1)
    finally:
        lock.release()


def damaged(journal: str, problem: str) -> InputError:
    """Returns the error of a journal that cannot be read, with the problem in words."""
    return InputError(f"{journal}: cannot be read: {problem}{ADVICE}")
