"""The pictures of mixing, laid out again from a run's sheets, which are files for any viewer: wide, labelled, on white.

The page takes only their tiles. It has its own labels and colours, so that they fit a phone and the dark.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.mixing import pictures as sheets
from chimeramix_jax.report import embedding
from chimeramix_jax.reporting import pictures
from chimeramix_jax.reporting.picture_folder import pictures_by_epoch
from chimeramix_jax.reporting.stage_files import PICTURES
from chimeramix_jax.runs.workdir import Workdir

MOST_COLUMNS = 5
MOST_EPOCHS = 4  # of the generator's training


@dataclass(frozen=True)
class PictureRow:
    """A row of pictures, as data URIs; ``kind`` is a CSS class."""

    label: str
    kind: str
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """Rows of at most ``MOST_COLUMNS`` pictures; ``names`` are those of the columns, if they have any."""

    names: tuple[str, ...]
    rows: list[PictureRow]


@dataclass(frozen=True)
class MixingFigures:
    """The figures of mixing; each is empty if its sheet is missing."""

    pairs: list[Block]
    images: tuple[str, ...]  # the two images that ``masks`` mixes
    masks: list[Block]
    training: list[Block]  # the mixes of the same pairs during the generator's training
    whole: dict[str, str]  # sheets that are laid out differently, and are shown as they are: their captions and URIs


def prepare(workdir: Workdir, dataset: FewShotDataset) -> MixingFigures:
    """Cuts the sheets of a run into tiles."""
    labels = np.unique(dataset.train.labels)[: sheets.MOST_PAIRS]
    names = [dataset.class_names[label] for label in labels]
    whole: dict[str, str] = {}
    pairs = _tiles_of_pairs(workdir.picture, len(names))
    rows = {} if pairs is None else {label: (_kind(label), _uris(tiles)) for label, tiles in pairs.items()}
    if pairs is None and _opened(workdir.picture) is not None:
        whole["Pairs of images of one class, mixed with random masks"] = embedding.file_uri(workdir.picture)
    masks, sheet = None, _opened(workdir.masks_picture)
    if sheet is not None:
        masks = pictures.tiles_of_masks_sheet(sheet, sheets.MASKS_PER_PAIR + 2)
        if masks is None:
            whole["One pair, mixed with several masks"] = embedding.file_uri(workdir.masks_picture)
    shown = {} if masks is None else {label: (_kind(label), _uris(masks[label])) for label in pictures.MASK_ROWS[1:]}
    images = () if masks is None else tuple(_uris(masks[pictures.MASK_ROWS[0]]))
    training = _during_training(workdir, len(names)) if pairs else {}
    return MixingFigures(_blocks(names, rows), images, _blocks([], shown), _blocks(names, training), whole)


def _during_training(workdir: Workdir, columns: int) -> dict[str, tuple[str, list[str]]]:
    """Returns the mixes drawn after some epochs, as rows."""
    earlier = pictures_by_epoch(workdir.generator_home().generator / PICTURES, sheets.PAIRS)
    epochs = list(earlier)
    chosen = np.linspace(0, len(epochs) - 1, min(len(epochs), MOST_EPOCHS)).round().astype(int)
    rows = {}
    for epoch in (epochs[index] for index in chosen):
        tiles = _tiles_of_pairs(earlier[epoch], columns)
        if tiles is not None:
            rows[f"epoch {epoch}"] = ("", _uris(tiles["mix"]))
    return rows


def _tiles_of_pairs(path: Path, columns: int) -> dict[str, list[Image.Image]] | None:
    sheet = _opened(path)
    return None if sheet is None else pictures.tiles_of_mixing_sheet(sheet, columns)


def _opened(path: Path) -> Image.Image | None:
    """Returns a sheet; None if it is missing or damaged, for which the report does without it."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, SyntaxError, ValueError):  # Pillow has an error of its own for each kind of damage
        return None


def _kind(label: str) -> str:
    """Returns the CSS class of a row: the pair's images have the colours that the masks show them in."""
    return {"image a": "of-a", "image b": "of-b"}.get(label, "")


def _uris(tiles: list[Image.Image]) -> list[str]:
    return [embedding.tile_uri(np.asarray(tile)) for tile in tiles]


def _blocks(names: list[str], rows: dict[str, tuple[str, list[str]]]) -> list[Block]:
    """Divides rows into blocks of at most ``MOST_COLUMNS`` columns, as equal in width as possible."""
    columns = max((len(uris) for _, uris in rows.values()), default=0)
    if not columns:
        return []
    width = -(-columns // -(-columns // MOST_COLUMNS))
    return [
        Block(
            tuple(names[start : start + width]),
            [PictureRow(label, kind, tuple(uris[start : start + width])) for label, (kind, uris) in rows.items()],
        )
        for start in range(0, columns, width)
    ]
