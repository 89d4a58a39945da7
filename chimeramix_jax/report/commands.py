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
    of_file: bool = False  # whether a model file suffices, without the run's images


_USES = (
    _Use("Classify photos", {"stage": "predict", "images": "new-photos"}, of_file=True),
    _Use("Take the classifier along as one file, for ONNX Runtime", {"stage": "export", "output": "classifier.onnx"}),
    _Use(
        "Write mixed images",
        {"stage": "generate", "count": "100"},
        lambda config: config.mixing.mask != "none",
    ),
)


def commands(workdir: Workdir, config: ConfigDict) -> list[Command]:
    """Returns the commands that are possible for a run with these settings."""
    return [_command(use, os.path.abspath(workdir.path)) for use in _USES if use.possible(config)]


def commands_of_file(name: str) -> list[Command]:
    """Returns the commands that are possible with only the model file of this name, which is in the current folder."""
    return [_command(use, name) for use in _USES if use.of_file]


def _command(use: _Use, workdir: str) -> Command:
    stage, *others = (f"--{flag}={value}" for flag, value in use.flags.items())
    words = ("chimeramix", stage, f"--workdir={workdir}", *others)
    return Command(use.purpose, tuple(map(shlex.quote, words)))
