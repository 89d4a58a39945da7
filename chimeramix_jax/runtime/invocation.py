"""How to start this program again, and how to install packages for it: words of commands that it prints."""

import os
import shlex
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
    main = Path(__file__).parents[2] / "main.py"
    return [_python(), str(main)] if main.exists() else [_python(), "-m", "chimeramix_jax"]


def from_here() -> list[str]:
    """Returns the same words for the current folder, with paths below it made relative, which is easier to read."""
    return [*map(_shortened, from_anywhere())]


def installing(*packages: str) -> str:
    """Returns the command that installs packages into this Python's environment, also if that is not active."""
    return shlex.join([_shortened(_python()), "-m", "pip", "install", *packages])


def _python() -> str:
    """Returns ``python`` if the shell finds this Python by that name, else its path."""
    return "python" if _is_found("python", Path(sys.executable)) else sys.executable


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
