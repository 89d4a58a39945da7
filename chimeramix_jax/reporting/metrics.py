"""The record of a run: a line of JSON for every measurement, in the order in which they were made."""

import json
import os
from pathlib import Path
from typing import Any

from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.sinks import Sink


class MetricsLog(Sink):
    """Appends measurements to a file of JSON lines, and takes back those that a resumed run will make again.

    A line looks like ``{"stage": "classifier", "epoch": 3, "step": 750, "loss": 1.52}``. Every line is handed to the
    operating system as it is written, so a run that is killed loses at most the line it was writing; such a torn last
    line is removed when the file is opened again.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Opens the log; the file and the folders on the way to it are created by the first line.

        Args:
            path: the file, usually named ``metrics.jsonl``.

        Raises:
            InputError: the file is there and is not such a log.
        """
        self.path = Path(path)
        if self.path.exists():
            self._keep(read(self.path))

    def write(self, **scalars: Any) -> None:
        """Appends one line.

        Args:
            **scalars: ``stage`` (text), ``epoch`` and ``step`` (whole numbers; the step counts from the stage's start),
                and any measurements: Python, NumPy or JAX scalars. NaN and infinity are written as null.

        Raises:
            StorageError: there is no room for it; at most an unfinished line is left, as of a run that is killed.
        """
        line = json.dumps(files.plain(scalars), allow_nan=False) + "\n"
        with files.room_for(self.path, len(line)):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line)

    def rewind(self, step: int, stage: str | None = None) -> None:
        """Drops what was measured after a step, because the run continues from there.

        Args:
            step: the last step whose lines stay; lines without a step stay too.
            stage: only lines of this stage are dropped, as every stage counts its own steps; None: of all stages.

        Raises:
            InputError: the file is not such a log.
        """
        if not self.path.exists():
            return

        def stays(line: dict[str, Any]) -> bool:
            return (stage is not None and line.get("stage") != stage) or line.get("step", step) <= step

        self._keep([line for line in read(self.path) if stays(line)])

    def _keep(self, lines: list[dict[str, Any]]) -> None:
        content = "".join(json.dumps(line) + "\n" for line in lines).encode()
        if content != self.path.read_bytes():
            files.write_bytes(self.path, content)


def read(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Reads all lines of a log, but for a last one that a killed run left unfinished.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: a line is not a JSON object; the message names the file and the line.
    """
    *lines, torn = Path(path).read_bytes().split(b"\n")  # what follows the last line break was never finished
    del torn
    values = []
    for number, line in enumerate(lines, start=1):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        if not isinstance(value, dict):
            raise InputError(
                f"{path}: line {number} is {line[:60]!r}; a JSON object is wanted, as this program writes it"
            )
        values.append(value)
    return values
