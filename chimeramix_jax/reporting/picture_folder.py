"""Pictures of a stage on its way, as files."""

import os
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from chimeramix_jax.reporting import pictures as drawing
from chimeramix_jax.reporting.sinks import Sink


class PictureFolder(Sink):
    """Keeps pictures as ``<folder>/<name>-epoch-0010.png``: their names sort as they were made."""

    def __init__(self, folder: str | os.PathLike[str]):
        """Names the folder; it is created by the first picture."""
        self._folder = Path(folder)

    def write_pictures(self, pictures: Mapping[str, Image.Image], *, epoch: int, step: int) -> None:
        """Writes the pictures; those that a resumed run draws again replace their equals."""
        for name, picture in pictures.items():
            drawing.save_png(self._folder / f"{name}-epoch-{epoch:04d}.png", picture)


def kept(folder: str | os.PathLike[str], name: str) -> dict[int, Path]:
    """The pictures of a name that a folder holds, by epoch."""
    paths = sorted(Path(folder).glob(f"{name}-epoch-*.png"))
    return {int(path.stem.rpartition("-")[2]): path for path in paths}
