"""The config files that come with the program: in ``configs/`` beside the package, and within it once installed."""

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent


def folder() -> Path:
    """Where they lie."""
    installed = _PACKAGE / "configs"
    return installed if installed.is_dir() else _PACKAGE.parent / "configs"


def names() -> list[str]:
    """What ``--config`` may call them, such as ``digits``."""
    return sorted(path.stem for path in folder().glob("*.py"))
