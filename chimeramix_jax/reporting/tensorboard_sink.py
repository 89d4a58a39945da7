"""A sink for TensorBoard."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chimeramix_jax.files import plain
from chimeramix_jax.reporting.sinks import Sink


class TensorBoardSink(Sink):
    """Writes event files with tensorboardX, which does not need TensorFlow."""

    def __init__(self, folder: str | os.PathLike[str]):
        self._folder = Path(folder)

    def rewind(self, step: int) -> None:
        """Starts an event file. TensorBoard hides later steps that older event files hold."""
        from tensorboardX import SummaryWriter  # an optional package; config.check has made sure that it is installed

        # Event files are named by the second, and a run can be killed and resumed within one second: hence the suffix.
        purge_step = step + 1 if step else None
        self._writer = SummaryWriter(str(self._folder), purge_step=purge_step, filename_suffix=f".from-step-{step}")

    def write(self, *, stage: str, epoch: int, step: int, **scalars: Any) -> None:
        """Adds a point to every curve and flushes the file, so that a killed run loses nothing."""
        for name, value in (scalars | {"epoch": epoch}).items():
            number = plain(value)
            self._writer.add_scalar(f"{stage}/{name}", float("nan") if number is None else number, step)
        self._writer.flush()

    def write_pictures(self, pictures: Mapping[str, Image.Image], *, epoch: int, step: int) -> None:
        """Adds the pictures, each under its own name."""
        for name, picture in pictures.items():
            self._writer.add_image(name, np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        """Closes the event file."""
        self._writer.close()
