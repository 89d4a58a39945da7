"""The command that starts one run, and the config files and experiments that it knows."""

import sys
from collections.abc import Sequence
from pathlib import Path

from chimeramix_jax.config import shipped
from chimeramix_jax.config.experiments import EXPERIMENTS, STUDY

_MAIN = shipped.folder().parent / "main.py"  # in a checkout

EXPERIMENT_NAMES = tuple(EXPERIMENTS)
EXPERIMENT_GROUPS = {"study": tuple(STUDY)}


def command(arguments: Sequence[str]) -> list[str]:
    """Returns the command line of a run."""
    program = [str(_MAIN)] if _MAIN.exists() else ["-m", "chimeramix_jax"]
    return [sys.executable, *program, *arguments]


def config_files() -> dict[str, Path]:
    """Returns the config files of the data sets, by name."""
    return {name: shipped.folder() / f"{name}.py" for name in shipped.names()}
