"""The version number of the stored formats: settings, results, plans and checkpoints.

Every stored object has it under the key ``format``; objects without that key are from before it existed and have
version 0. The program reads all formats up to its own version and refuses later ones instead of misreading them.

::

    1  the first
    2  model files have digests of the training images (runs/model_archive.py)

An object has the version in which its kind last changed, so that earlier programs read all that they understand.
"""

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from chimeramix_jax.errors import InputError

FORMAT = 2  # the latest
OF_MODEL_FILES = 2
KEY = "format"

_OF_ALL_OTHERS = 1


def marked(content: Mapping[str, Any], version: int = _OF_ALL_OTHERS) -> dict[str, Any]:
    """Returns the content with the format version of its kind as its first entry."""
    return {KEY: version, **content}


def unmarked(content: Mapping[str, Any], source: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the content without its format version; raises InputError, naming ``source``, if it is a later one."""
    version = content.get(KEY, 0)
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= FORMAT:
        raise InputError(
            f"{source}: {KEY} {version!r} cannot be read by this version of chimeramix_jax, which reads formats up "
            f"to {FORMAT}; install the version that wrote it, or a later one"
        )
    return {key: value for key, value in content.items() if key != KEY}


def read(path: str | os.PathLike[str], advice: str = "") -> dict[str, Any] | None:
    """Returns the content of a stored JSON object without its format version; None if the file does not exist.

    Raises InputError, which names the file and ends with the advice, if it cannot be read.
    """
    try:
        with open(path, "rb") as file:
            content = json.load(file)
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}; it must hold a JSON object")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}{advice}") from None
    except (ValueError, RecursionError) as error:  # not text, not JSON, or nested too deeply
        raise InputError(f"{path}: cannot be read: {error}{advice}") from None
    return unmarked(content, path)


@contextlib.contextmanager
def checked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raises InputError, which names the file, where the ``with`` statement finds that its content lacks something."""
    try:
        yield
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(f"{path}: cannot be read: {type(error).__name__}: {error}") from None
