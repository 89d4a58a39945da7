"""Measurements and pictures as TensorBoard shows them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from chimeramix_jax.files import plain
from chimeramix_jax.reporting.sinks import Sink


class TensorBoardSink(Sink):
    """Writes event files by tensorboardX, which needs no TensorFlow."""

    def __init__(self, folder: str | os.PathLike[str]):
        """Names the folder; the event file in it is created when the training begins."""
        self._folder = Path(folder)

    def rewind(self, step: int) -> None:
        """Begins an event file; TensorBoard hides what older ones hold of later steps."""
        from tensorboardX import SummaryWriter  # an optional extra; config.check has made sure of it

        # The suffix: files are named by the second, and a run can be killed and continued within one.
        purge_step = step + 1 if step else None
        self._writer = SummaryWriter(str(self._folder), purge_step=purge_step, filename_suffix=f".from-step-{step}")

    def write(self, *, stage: str, epoch: int, step: int, **scalars: Any) -> None:
        """Adds a point to every curve, and brings it to the disk: a killed run loses nothing."""
        for name, value in (scalars | {"epoch": epoch}).items():
            number = plain(value)
            self._writer.add_scalar(f"{stage}/{name}", float("nan") if number is None else number, step)
        self._writer.flush()

    def write_pictures(self, pictures: Mapping[str, Image.Image], *, epoch: int, step: int) -> None:
        """Adds the pictures, each under its name."""
        for name, picture in pictures.items():
            self._writer.add_image(name, np.asarray(picture), step, dataformats="HWC")

    def close(self) -> None:
        """Ends the event file."""
        self._writer.close()
