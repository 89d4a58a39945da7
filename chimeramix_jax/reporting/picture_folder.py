"""A sink that stores the pictures of a training stage as files."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from chimeramix_jax.reporting import pictures as drawing
from chimeramix_jax.reporting.sinks import Sink


class PictureFolder(Sink):
    """Writes pictures as ``<folder>/<name>-epoch-0010.png``, so that names sort by epoch."""

    def __init__(self, folder: str | os.PathLike[str]):
        self._folder = Path(folder)

    def write_pictures(self, pictures: Mapping[str, Image.Image], *, epoch: int, step: int) -> None:
        """Writes the pictures. A resumed run that draws the same epoch again overwrites the earlier file."""
        for name, picture in pictures.items():
            drawing.save_png(self._folder / f"{name}-epoch-{epoch:04d}.png", picture)


def pictures_by_epoch(folder: str | os.PathLike[str], name: str) -> dict[int, Path]:
    """Returns the paths of all pictures with this name in a folder, by epoch."""
    pattern = re.compile(rf"{re.escape(name)}-epoch-([0-9]+)\.png")  # not of a copy, as "mixing-epoch-0010 (1).png"
    matches = ((pattern.fullmatch(path.name), path) for path in sorted(Path(folder).glob("*.png")))
    return {int(match[1]): path for match, path in matches if match is not None}
