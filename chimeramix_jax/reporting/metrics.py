"""The metrics log of a run: one JSON line per measurement, in chronological order."""

import json
import math
import os
from pathlib import Path
from typing import Any

from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.sinks import Sink

_COUNTS = ("epoch", "step")


class MetricsLog(Sink):
    """Appends measurements to a JSON Lines file, and removes those that a resumed run will repeat.

    A line looks like ``{"stage": "classifier", "epoch": 3, "step": 750, "loss": 1.52}``. Every line is handed to the
    operating system at once, so a killed run loses at most the line it was writing. An incomplete last line is removed
    when the file is opened again.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens the log, which the first line creates; raises InputError for a file that is not a metrics log."""
        self.path = Path(path)
        if self.path.exists():
            self._keep(read(self.path))

    def write(self, **scalars: Any) -> None:
        """Appends ``stage``, ``epoch``, ``step`` and measurements: Python, NumPy or JAX scalars; NaN becomes null.

        Raises StorageError if the disk is full. At most an incomplete line is left, as after a kill.
        """
        line = json.dumps(files.plain(scalars), allow_nan=False) + "\n"
        with files.room_for(self.path, len(line)):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)

    def rewind(self, step: int) -> None:
        """Removes the measurements made after a step, because training resumes from there."""
        if self.path.exists():
            self._keep([line for line in read(self.path) if line.get("step", step) <= step])

    def _keep(self, lines: list[dict[str, Any]]) -> None:
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        if content != self.path.read_bytes():
            files.write_bytes(self.path, content)


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Returns all lines of a log, except empty ones and a last line that a killed run left incomplete.

    Raises InputError, with file and line, for a line that is not a JSON object of numbers.
    """
    *lines, last = Path(path).read_bytes().split(b"\n")
    if _parsed(last) is not None:  # an editor may have left out the line break
        lines.append(last)
    values = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        value = _parsed(line)
        if value is None:
            raise InputError(f"{path}: line {number}: {line[:60]!r} is not a JSON object; every line must be one")
        for key, measured in value.items():
            if not _is_allowed(key, measured):
                allowed = "a whole number" if key in _COUNTS else "a number or null"
                raise InputError(f"{path}: line {number}: {key}: {measured!r} is not allowed; it must be {allowed}")
        values.append(value)
    return values


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Returns the JSON object that a line holds; None if it holds anything else."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _is_allowed(key: str, value: object) -> bool:
    """Whether a value may stand in a log under this name."""
    if key in _COUNTS:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return key == "stage" or value is None or (isinstance(value, int | float) and math.isfinite(value))
