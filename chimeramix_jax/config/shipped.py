"""Locates the shipped config files: in ``configs/`` of a checkout, or inside the installed package."""

import os
from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


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
    name, *experiment = source.split(":", 1)
    path = os.path.relpath(folder() / f"{name}.py") if name in names() else name
    return ":".join([path, *experiment])
