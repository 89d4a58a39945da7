"""Locates the shipped config files: in ``configs/`` of a checkout, or inside the installed package."""

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def folder() -> Path:
    """Returns the folder of the shipped config files."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """Returns the names of the shipped config files for ``--config``, such as ``digits``."""
    return sorted(path.stem for path in folder().glob("*.py"))
