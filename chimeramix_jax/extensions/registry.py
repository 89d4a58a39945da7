"""What is registered, under which name, and by which code.

Code is identified by its content, so that a stored run uses what it was trained with even if the file has changed since
and both versions are loaded. A name stands for the version that was loaded last, unless a digest says otherwise.
"""

import dataclasses
import hashlib
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from chimeramix_jax.errors import InputError
from chimeramix_jax.extensions import packages

EXPERIMENT, AUGMENTATION, MASK, NETWORK, LOSS, DATASET = (
    "experiment",
    "augmentation",
    "mask",
    "network",
    "loss",
    "data set",
)

_NOT_AUTHORS = {"chimeramix_jax", "jaxtyping", "beartype"}  # packages whose frames lie between an author and this one


@dataclass(frozen=True)
class CodeSource:
    """Code that registers something."""

    label: str  # the name of a file, such as "mine.py", or of a package, such as "package ideas 1.0"
    digest: str  # SHA-256 of the code
    place: str  # the path of the file, or the package's label
    content: bytes | None = field(repr=False)  # of the file; None for a package

    @property
    def code(self) -> str:
        """How settings refer to this code: its label and its digest."""
        return f"{self.label} {self.digest}"


@dataclass(frozen=True)
class Experiment:
    """The settings that a custom experiment changes, with dotted keys, and the config file whose settings they are."""

    settings: Mapping[str, Any]
    config: str


@dataclass(frozen=True)
class Registration:
    """Something registered."""

    kind: str
    name: str
    value: Any
    source: CodeSource
    file: str
    line: int

    @property
    def place(self) -> str:
        """The file and line."""
        return f"{self.file}:{self.line}"


@dataclass
class _Registry:
    current: dict[tuple[str, str], Registration] = field(default_factory=dict)  # by kind and name
    by_digest: dict[tuple[str, str, str], Registration] = field(default_factory=dict)  # by digest, kind and name
    taken: dict[str, Callable[[str], bool]] = field(default_factory=dict)  # by kind: the names of the program
    running: dict[str, CodeSource] = field(default_factory=dict)  # files that are running, by path
    from_copies: bool = False  # whether what is running is a run's copy, to which names do not refer


STATE = _Registry()


def reserve(kind: str, taken: Callable[[str], bool]) -> None:
    """Declares which names of a kind the program itself uses."""
    STATE.taken[kind] = taken


def register(kind: str, name: str, value: Any) -> None:
    """Registers something that the nearest calling file provides; raises InputError, with file and line, if it cannot.

    A file that has changed and is loaded again replaces what it registered before.
    """
    frame = _author()
    file, line = frame.f_code.co_filename, frame.f_lineno
    if re.fullmatch(r"\w[\w.-]*", str(name)) is None:
        raise InputError(f"{file}:{line}: {kind} {name!r}: a name consists of letters, digits, '_', '-' and '.'")
    if kind != EXPERIMENT and not callable(value):
        raise InputError(f"{file}:{line}: {kind} {name!r} is a {type(value).__name__}; it must be a function")
    new = Registration(kind, name, value, _source_of(frame), file, line)
    if STATE.taken.get(kind, lambda name: False)(name):
        raise InputError(f"{new.place}: {kind} {name!r}: the program has one of this name; choose another name")
    known = STATE.by_digest.get((new.source.digest, kind, name))
    if known is not None and known.line != line:
        raise InputError(
            f"{new.place}: {kind} {name!r} is already registered in line {known.line}; choose another name"
        )
    if known is None:
        STATE.by_digest[new.source.digest, kind, name] = new
    if STATE.from_copies:
        return
    other = STATE.current.get((kind, name))
    if other is not None and new.source.place != other.source.place and new.source.digest != other.source.digest:
        raise InputError(f"{new.place}: {kind} {name!r} is already registered by {other.place}; choose another name")
    # The value stays the same object if the code is, so that what JAX has compiled for it is found again.
    STATE.current[kind, name] = new if known is None else dataclasses.replace(new, value=known.value)


def forget(place: str) -> None:
    """Lets no name refer to what a file has registered any more, before it runs again."""
    STATE.current = {key: known for key, known in STATE.current.items() if known.source.place != place}


def experiments_of(place: str) -> list[Registration]:
    """Returns the experiments that a file has registered."""
    return [known for known in STATE.current.values() if known.kind == EXPERIMENT and known.source.place == place]


def source_of_file(path: Path, content: bytes) -> CodeSource:
    """Describes a file."""
    return CodeSource(path.name, hashlib.sha256(content).hexdigest(), str(path), content)


def _author() -> FrameType:
    """Returns the frame of the code that called this package; raises InputError if that is not in a file."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        name, file = str(frame.f_globals.get("__name__", "")), frame.f_code.co_filename
        if name.partition(".")[0] not in _NOT_AUTHORS and not file.startswith("<@"):
            if file not in STATE.running and not Path(file).is_file():
                raise InputError(
                    f"{file}: own ideas are registered by a .py file, of which a run keeps a copy; write them into one"
                )
            return frame
        frame = frame.f_back
    raise AssertionError("register was called by nobody")


def _source_of(frame: FrameType) -> CodeSource:
    """Describes the file or the package that a frame's code belongs to."""
    file, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__", ""))
    if file in STATE.running:
        return STATE.running[file]
    if frame.f_globals.get("__package__"):
        label, digest = packages.described(module.partition(".")[0], file)
        return CodeSource(label, digest, label, None)
    return source_of_file(Path(file), Path(file).read_bytes())
