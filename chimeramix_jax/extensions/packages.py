"""Installed packages that register own ideas through entry points."""

import functools
import hashlib
import importlib.metadata
import sys
from pathlib import Path

from chimeramix_jax.errors import InputError, one_line

GROUP = "chimeramix_jax.extensions"  # of the entry points


@functools.cache
def load_all() -> None:
    """Imports the packages that have entry points for this program, once; raises InputError if one cannot be.

    An entry point is a module, or a function without arguments, which is called.
    """
    for entry in _entry_points():
        try:
            loaded = entry.load()
            if callable(loaded):
                loaded()
        except InputError:
            raise
        except (Exception, SystemExit) as error:
            file, line = _innermost(error)
            package = entry.dist.name if entry.dist is not None else entry.module
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise InputError(f"package {package}: cannot be loaded: {file}:{line}: {reason}") from error


@functools.cache
def described(package: str, file: str) -> tuple[str, str]:
    """Returns the label of an installed package and the digest of its Python files; raises InputError for others.

    Args:
        package: the name of the top-level package.
        file: the file that registers something, for the message.
    """
    distributions = {entry.module.partition(".")[0]: entry.dist for entry in _entry_points()}
    distribution = distributions.get(package)
    if distribution is None:
        names = importlib.metadata.packages_distributions().get(package, [])
        if not names:
            raise InputError(
                f"{file}: is part of {package}, a package that is not installed, of which a run could keep no copy; "
                "put everything that is registered into one file, or install the package"
            )
        distribution = importlib.metadata.distribution(names[0])
    digest = hashlib.sha256()
    for folder in map(Path, sys.modules[package].__path__):
        for path in sorted(folder.rglob("*.py")):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return f"package {distribution.name} {distribution.version}", digest.hexdigest()


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    return sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: (entry.value, entry.name))


def _innermost(error: BaseException) -> tuple[str, int]:
    """Returns file and line of the innermost call in the traceback of an error."""
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno or 0
    trace, place = error.__traceback__, ("?", 0)
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith("<frozen"):
            place = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    return place
