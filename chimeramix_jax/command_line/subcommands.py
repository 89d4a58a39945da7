"""The subcommands: one place for their names and for what the program's help says of them."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Subcommand:
    """What the help says of a subcommand."""

    arguments: str
    summary: str  # what it does, in a sentence


SUBCOMMANDS: Mapping[str, Subcommand] = {
    "sweep": Subcommand(
        "--datasets=NAMES --experiments=NAMES [FLAGS]",
        "Run every combination of data sets, experiments, numbers of images and seeds.",
    ),
    "tune": Subcommand(
        "--config=FILE[:EXPERIMENT] [FLAGS]", "Search for better settings, judged by validation images or folds."
    ),
    "summarize": Subcommand(
        "FOLDER [FOLDER ...] [FLAGS]", "Average the runs in a folder over seeds, and write tables and curves."
    ),
    "reproduce": Subcommand("[TABLE] [FLAGS]", "Fill a published table, and show published and measured figures."),
    "serve": Subcommand("RUN [FLAGS]", "Try a classifier on a page in the browser."),
}


def usage(name: str) -> str:
    """Returns a subcommand with its arguments."""
    return f"{name} {SUBCOMMANDS[name].arguments}"


def module(name: str) -> ModuleType:
    """Returns the module of a subcommand, which is imported only when needed: runs start without it."""
    return importlib.import_module(f"chimeramix_jax.command_line.{name}")
