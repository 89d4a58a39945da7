"""Finds what is registered under a name: by a loaded file, an installed package, or the copy that a run keeps."""

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.extensions import packages, running
from chimeramix_jax.extensions.registry import STATE, Registration

_copies: dict[str, tuple[Path, bytes]] = {}  # by digest: path and content of the copies that runs keep


def names(kind: str) -> list[str]:
    """Returns the names of a kind that files and installed packages have registered."""
    packages.load_all()
    return [name for of_kind, name in STATE.current if of_kind == kind]


def current(kind: str, name: str) -> Registration | None:
    """Returns what a name stands for at present; None if nothing is registered under it."""
    if (kind, name) not in STATE.current:
        packages.load_all()
    return STATE.current.get((kind, name))


def is_loaded(kind: str, name: str, code: str) -> bool:
    """Whether code that settings record has been loaded, and registers this name."""
    return (digest_of(code), kind, name) in STATE.by_digest


def has_copy(code: str) -> bool:
    """Whether a copy that a run keeps of this code has been noted."""
    return digest_of(code) in _copies


def find(kind: str, name: str, code: str = "") -> Any:
    """Returns what is registered under a name.

    Args:
        kind: one of ``registry``.
        name: the name.
        code: the code that registers it, as settings record it; empty: that for which the name stands at present.

    Raises:
        InputError: there is no such thing, or the code is not at hand.
    """
    if not code:
        registration = current(kind, name)
        if registration is None:
            raise InputError(f"{kind} {name!r}: is not registered by any file or installed package")
        return registration.value
    digest = digest_of(code)
    if (digest, kind, name) not in STATE.by_digest:
        if digest in _copies:
            running.run_copy(*_copies[digest])
        else:
            packages.load_all()
    if (digest, kind, name) not in STATE.by_digest:
        raise InputError(f"{kind} {name!r}: {_how_to_get(kind, name, code)}")
    return STATE.by_digest[digest, kind, name].value


def place_of(kind: str, name: str, code: str) -> str:
    """Returns file and line of what ``find`` has found."""
    return STATE.by_digest[digest_of(code), kind, name].place


@contextlib.contextmanager
def failures_named(kind: str, name: str, code: str) -> Iterator[None]:
    """Turns any error of something that ``find`` has found into an InputError that names file and line."""
    known = STATE.by_digest[digest_of(code), kind, name]
    with running.failures_named(Path(known.file), known.place):
        yield


def remember_copies(folder: Path) -> None:
    """Notes the files in a folder in which a run keeps copies; they run when they are needed."""
    if folder.is_dir():
        for path in sorted(folder.glob("*.py")):
            content = path.read_bytes()
            _copies.setdefault(hashlib.sha256(content).hexdigest(), (path, content))


def keep_copies(folder: Path, codes: Sequence[str]) -> None:
    """Writes copies of the files that settings record into a folder, unless they are there."""
    contents = {known.source.digest: known.source.content for known in STATE.by_digest.values()}
    for code in filter(is_file, codes):
        digest = digest_of(code)
        content = contents.get(digest) or (_copies[digest][1] if digest in _copies else None)
        if content is None:
            continue
        path = folder / label_of(code)
        if path.exists() and path.read_bytes() != content:  # another file of the same name, which the run uses, too
            path = folder / f"{digest[:8]}-{label_of(code)}"
        if not path.exists():
            files.write_bytes(path, content)


def label_of(code: str) -> str:
    """Returns the name of the file or the package."""
    return code.rpartition(" ")[0]


def digest_of(code: str) -> str:
    """Returns the SHA-256 of the code."""
    return code.rpartition(" ")[2]


def is_file(code: str) -> bool:
    """Whether settings record a file, of which a run keeps a copy; otherwise it is a package."""
    return label_of(code).endswith(".py")


def _how_to_get(kind: str, name: str, code: str) -> str:
    """Says what is missing, and how to provide it."""
    label, short = label_of(code), digest_of(code)[:12]
    present = current(kind, name)
    if not is_file(code):
        instead = f", not {present.source.label}" if present is not None else "; install it"
        return f"needs {label} with exactly the code of that version (SHA-256 {short}...){instead}"
    instead = ", which has changed since" if present is not None else ""
    return f"needs {label} (SHA-256 {short}...){instead}; give the file of that time with --config={label}"
