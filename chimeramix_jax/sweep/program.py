"""The program that does one run, and its config files: what a sweep has to know of both."""

import sys
from collections.abc import Sequence
from pathlib import Path

from configs.experiments import EXPERIMENTS

_ROOT = Path(__file__).parents[2]

EXPERIMENT_NAMES = tuple(EXPERIMENTS)


def command(arguments: Sequence[str]) -> list[str]:
    """The command line of a run."""
    return [sys.executable, str(_ROOT / "main.py"), *arguments]


def config_files() -> dict[str, Path]:
    """The data sets' config files, by name."""
    of_all = ("__init__", "common", "experiments")
    return {path.stem: path for path in sorted((_ROOT / "configs").glob("*.py")) if path.stem not in of_all}
