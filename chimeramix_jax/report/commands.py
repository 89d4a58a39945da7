"""The commands that use a trained run, for the reader of its page to copy."""

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ml_collections import ConfigDict

from chimeramix_jax.runs.workdir import Workdir


@dataclass(frozen=True)
class Command:
    """A command line and its purpose."""

    purpose: str
    words: tuple[str, ...]  # each quoted for the shell


@dataclass(frozen=True)
class _Use:
    """A use of a run: its purpose, its flags beside ``--workdir``, and the runs that it is possible for."""

    purpose: str
    flags: Mapping[str, str]
    possible: Callable[[ConfigDict], bool] = lambda config: True


_USES = (
    _Use("Classify photos", {"stage": "predict", "images": "new-photos"}),
    _Use("Take the classifier along as one file, for ONNX Runtime", {"stage": "export", "output": "classifier.onnx"}),
    _Use(
        "Write mixed images",
        {"stage": "generate", "count": "100"},
        lambda config: config.mixing.mask != "none",
    ),
)


def commands(workdir: Workdir, config: ConfigDict) -> list[Command]:
    """Returns the commands that are possible for a run with these settings."""
    folder = os.path.abspath(workdir.path)
    lines = []
    for use in _USES:
        if use.possible(config):
            stage, *others = (f"--{flag}={value}" for flag, value in use.flags.items())
            words = ("chimeramix", stage, f"--workdir={folder}", *others)
            lines.append(Command(use.purpose, tuple(map(shlex.quote, words))))
    return lines
