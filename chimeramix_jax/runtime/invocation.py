"""How to start this program again: the first words of the commands that it prints and puts into reports."""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

COMMAND = "chimeramix"  # after ``pip install``


def from_anywhere() -> list[str]:
    """Returns the words that start this program from any folder: the installed command, or this Python and checkout."""
    command = Path(sysconfig.get_path("scripts"), COMMAND)
    if command.exists():
        return [COMMAND if _is_found(COMMAND, command) else str(command)]
    python = "python" if _is_found("python", Path(sys.executable)) else sys.executable
    main = Path(__file__).parents[2] / "main.py"
    return [python, str(main)] if main.exists() else [python, "-m", "chimeramix_jax"]


def from_here() -> list[str]:
    """Returns the same words for the current folder, with paths below it made relative, which is easier to read."""
    return [*map(_shortened, from_anywhere())]


def _is_found(name: str, path: Path) -> bool:
    """Whether the shell finds this file by the name alone."""
    found = shutil.which(name)
    return found is not None and os.path.abspath(found) == os.path.abspath(path)


def _shortened(word: str) -> str:
    try:
        below = os.path.isabs(word) and Path(word).is_relative_to(Path.cwd())
    except FileNotFoundError:  # the current folder has been deleted
        return word
    return os.path.relpath(word) if below else word
