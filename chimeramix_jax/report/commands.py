"""The commands that use a trained run, for the reader of its page to copy."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import invocation


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
    subcommand: str | None = None  # takes the run itself, in place of ``--workdir``, and no flags


_CLASSIFY = _Use("Classify photos", {"stage": "predict", "images": "new-photos"}, of_file=True)
_USES = (
    _CLASSIFY,
    _Use("Try it on a page in the browser", {}, subcommand="serve", of_file=True),
    _Use(
        "Export the classifier as one file, for ONNX Runtime",
        {"stage": "export", "output": "classifier.onnx"},
        lambda config: not config.classifier.model_code,
    ),
    _Use(
        "Export the classifier as one file, for JAX",
        {"stage": "export", "output": "classifier.stablehlo"},
        lambda config: bool(config.classifier.model_code),  # ONNX has no custom networks
    ),
    _Use(
        "Write mixed images",
        {"stage": "generate", "count": "100"},
        lambda config: config.mixing.mask != "none",
    ),
)


def commands(workdir: Workdir, config: ConfigDict) -> list[Command]:
    """Returns the commands that are possible for a run with these settings."""
    program, folder = invocation.from_anywhere(), os.path.abspath(workdir.path)
    return [_command(program, use, folder) for use in _USES if use.possible(config)]


def classify_photos(workdir: Workdir) -> str:
    """Returns the command that classifies photos, for the current folder."""
    return " ".join(_command(invocation.from_here(), _CLASSIFY, os.fspath(workdir.path)).words)


def classify_with_old(workdir: Workdir) -> Command:
    """Returns the command that classifies photos with the run that an update replaced."""
    use = replace(_CLASSIFY, purpose="Classify photos with the old model")
    return _command(invocation.from_anywhere(), use, os.path.abspath(workdir.path))


def commands_of_file(name: str) -> list[Command]:
    """Returns the commands that are possible with only the model file of this name, which is in the current folder."""
    return [_command([invocation.COMMAND], use, name) for use in _USES if use.of_file]


def commands_of_file_here(path: Path) -> list[Command]:
    """Returns the commands that are possible with only this model file on this machine, for any current folder."""
    return [_command(invocation.from_anywhere(), use, os.path.abspath(path)) for use in _USES if use.of_file]


def _command(program: Sequence[str], use: _Use, workdir: str) -> Command:
    if use.subcommand is not None:
        words: tuple[str, ...] = (*program, use.subcommand, workdir)
    else:
        stage, *others = (f"--{flag}={value}" for flag, value in use.flags.items())
        words = (*program, stage, f"--workdir={workdir}", *others)
    return Command(use.purpose, tuple(map(shlex.quote, words)))
