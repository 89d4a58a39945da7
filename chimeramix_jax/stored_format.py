"""The version of the form in which settings, results, plans and checkpoints are stored.

Every stored object names it under ``format``. What was stored before there were versions has none, and counts as 0. A
later version of the program reads all earlier forms; an earlier version refuses a later form instead of misreading it.
"""

import os
from collections.abc import Mapping
from typing import Any

from chimeramix_jax.errors import InputError

FORMAT = 1
KEY = "format"


def marked(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content with the version of its form, first."""
    return {KEY: FORMAT, **content}


def unmarked(content: Mapping[str, Any], source: str | os.PathLike[str]) -> dict[str, Any]:
    """The content without the version, which this program can read.

    Raises:
        InputError: it cannot; ``source`` says where the content is from.
    """
    version = content.get(KEY, 0)
    if isinstance(version, bool) or not isinstance(version, int) or not 0 <= version <= FORMAT:
        raise InputError(
            f"{source}: {KEY} {version!r} cannot be read by this version of chimeramix_jax, which reads up to "
            f"{FORMAT}; install the version that wrote it, or a later one"
        )
    return {key: value for key, value in content.items() if key != KEY}
