"""Locates the shipped config files: in ``configs/`` of a checkout, or inside the installed package."""

import os
import re
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
_SOURCE = re.compile(r"(.*?\.py|.*?)(?::([^/]*))?", re.DOTALL)  # a file's path or a name, and an experiment


def package() -> Path:
    """Returns the folder of this package, in a checkout or installed."""
    return _PACKAGE


def folder() -> Path:
    """Returns the folder of the shipped config files."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """Returns the names of the shipped config files for ``--config``, such as ``digits``."""
    return sorted(path.stem for path in folder().glob("*.py"))


def as_path(source: str) -> str:
    """Returns a value of ``--config`` with the name of a shipped file replaced by its path, which means one file only.

    The path is relative to the current folder. Values that are paths already are returned as they are.
    """
    name, experiment = separated(source)
    return joined(os.path.relpath(folder() / f"{name}.py") if name in names() else name, experiment)


def separated(source: str) -> tuple[str, str | None]:
    """Returns the file, or the name of a shipped one, and the experiment of a value of ``--config``, if it has one.

    The experiment stands behind the last ":". Folders and files may have a ":" in their names, too: it belongs to the
    path if a ".py" or a "/" follows.
    """
    match = _SOURCE.fullmatch(source)
    assert match is not None, "everything is at least a name"
    return match[1], match[2]


def joined(file: str, experiment: str | None) -> str:
    """Returns the value of ``--config`` for a file, or the name of a shipped one, and an experiment or None."""
    return file if experiment is None else f"{file}:{experiment}"
