"""The program that does one run, and its config files: what a sweep has to know of both."""

import sys
from collections.abc import Sequence
from pathlib import Path

from chimeramix_jax.config import shipped
from chimeramix_jax.config.experiments import EXPERIMENTS

_MAIN = shipped.folder().parent / "main.py"  # in a checkout

EXPERIMENT_NAMES = tuple(EXPERIMENTS)


def command(arguments: Sequence[str]) -> list[str]:
    """The command line of a run."""
    program = [str(_MAIN)] if _MAIN.exists() else ["-m", "chimeramix_jax"]
    return [sys.executable, *program, *arguments]


def config_files() -> dict[str, Path]:
    """The data sets' config files, by name."""
    return {name: shipped.folder() / f"{name}.py" for name in shipped.names()}
