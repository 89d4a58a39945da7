"""Writes a picture for each classified image that shows which places speak for its class, and a table of them.

The maps are class activation maps, which decompose the classifier's logits exactly (``models/class_activation.py``).
``docs/explanations.md`` says how to read them and what they cannot show.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from ml_collections import ConfigDict

from chimeramix_jax import files
from chimeramix_jax.config import catalog
from chimeramix_jax.data.image_files import read_rgb
from chimeramix_jax.data.photo_views import PICTURE_SIDE, PhotoView
from chimeramix_jax.errors import InputError
from chimeramix_jax.models.classifier import Classifier
from chimeramix_jax.paths import local_path, printable
from chimeramix_jax.reporting import heat_maps, pictures
from chimeramix_jax.reporting.csv_rows import csv_rows
from chimeramix_jax.runtime import stopping
from chimeramix_jax.training.contrast_maps import ContrastMaps

TABLE = "explanations.csv"

_LONGEST_STEM = 150  # in bytes; file systems allow names of 255

_COLUMNS = ("image", "picture", "class", "probability", "against", "log_odds", "full_colour")


class PictureNames:
    """The names of the pictures in a folder; no two are the same, not even in other capitals."""

    def __init__(self) -> None:
        """Begins with the name of the table."""
        self._taken = {TABLE}
        self._numbers: dict[str, int] = {}  # the last number of a stem, so that many photos of one name take no time

    def unused(self, stem: str) -> str:
        """Returns a file name with this stem, or as much of it as file systems allow, that no other picture has."""
        stem = printable(stem).encode()[:_LONGEST_STEM].decode(errors="ignore")
        number, name = self._numbers.get(stem.casefold(), 0), TABLE
        while name.casefold() in self._taken:
            number += 1
            name = f"{stem}.png" if number == 1 else f"{stem}-{number}.png"
        self._numbers[stem.casefold()] = number
        self._taken.add(name.casefold())
        return name


class Explainer:
    """Draws the pictures of a folder, batch by batch."""

    def __init__(
        self, folder: Path, network: Classifier, class_names: Sequence[str], config: ConfigDict, temperature: float
    ):
        """Prepares for images that ``network`` classifies; nothing is compiled before the first batch."""
        self._folder, self._class_names, self._config = folder, class_names, config
        self._maps = ContrastMaps(network, config.precision, temperature)
        self._rows: list[tuple[str, ...]] = []
        self._names = PictureNames()

    def add(
        self,
        paths: Sequence[Path],
        pixels: UInt8[np.ndarray, "batch side side 3"],
        probabilities: Float[np.ndarray, "batch classes"],
        true_classes: Sequence[str | None],
        progress: Callable[[int], None],
    ) -> None:
        """Draws the images of a batch.

        Args:
            paths: the files of the first images of the batch; the others are padding.
            pixels: the batch as the network sees it.
            probabilities: of all classes.
            true_classes: the class of every file if it is known. A misclassified image is explained against it, any
                other against its second most probable class.
            progress: gets the number of pictures of all batches after each of them.
        """
        order = np.argsort(-probabilities, axis=1, kind="stable")
        classes, rivals = order[:, 0], order[:, 1].copy()
        for place, true in enumerate(true_classes):
            if true is not None and true != self._class_names[classes[place]]:
                rivals[place] = self._class_names.index(true)
        maps = self._maps(pixels, classes, rivals)
        for place, path in enumerate(paths):
            pair = int(classes[place]), int(rivals[place])
            self._draw(path, maps[place], pair, probabilities[place], by_folder=true_classes[place] is not None)
            progress(len(self._rows))
            stopping.raise_if_asked()

    def write_table(self) -> None:
        """Writes the table of all pictures; raises InputError if there are none."""
        if not self._rows:
            raise InputError("--images: none of them can be read")
        files.write_bytes(self._folder / TABLE, csv_rows([_COLUMNS, *self._rows]).encode())

    def _draw(
        self,
        path: Path,
        heat: Float[np.ndarray, "map_height map_width"],
        pair: tuple[int, int],
        probabilities: Float[np.ndarray, "classes"],
        *,
        by_folder: bool,
    ) -> None:
        """Draws one image, explained for the first class of the pair against the second.

        With ``by_folder``, the picture is also named after the image's folder, since that is the image's class.
        """
        photo, dataset = read_rgb(path, named_by="--images"), self._config.dataset
        view = PhotoView.of_photo(photo, PICTURE_SIDE, catalog.stored_image_side(dataset), dataset.fit)
        names, shares = [self._class_names[label] for label in pair], [float(probabilities[label]) for label in pair]
        captions = [f"speaks for {name} ({share:.1%})" for name, share in zip(names, shares, strict=True)]
        sheet = heat_maps.captioned_pair(view.picture, view.overlaid(heat), *captions)
        name = self._names.unused(f"{path.absolute().parent.name}-{path.stem}" if by_folder else path.stem)
        pictures.save_png(self._folder / name, sheet)
        figures = f"{shares[0]:.6g}", names[1], f"{np.mean(heat):.6g}", f"{np.max(np.abs(heat)):.6g}"
        self._rows.append((printable(path), name, names[0], *figures))


@contextlib.contextmanager
def explaining(
    folder: str | os.PathLike[str] | None,
    network: Classifier,
    class_names: Sequence[str],
    config: ConfigDict,
    temperature: float = 1.0,
) -> Iterator[Explainer | None]:
    """Provides an explainer that fills a new or empty folder; None without a folder.

    ``config`` are the settings of the classifier's run. The folder appears at the end of the ``with`` statement, or not
    at all after an error. Raises InputError if it is not empty or cannot be created.
    """
    if folder is None:
        yield None
        return
    with contextlib.ExitStack() as stack:
        unfinished = stack.enter_context(files.whole_folder(local_path(folder, "--explain")))
        stack.enter_context(stopping.before_ending(partial(shutil.rmtree, unfinished, ignore_errors=True)))
        explainer = Explainer(unfinished, network, class_names, config, temperature)
        yield explainer
        explainer.write_table()
