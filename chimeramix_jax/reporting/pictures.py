"""Labelled sheets of images: mixed pairs, one pair mixed by many masks, and rows of images in general."""

import io
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Array, Float, UInt8
from PIL import Image, ImageDraw

from chimeramix_jax import files
from chimeramix_jax.reporting import lettering

TILE_SIDE = 96  # approximate side, in pixels, to which small images are enlarged
GAP = 6  # between tiles, in pixels
MARGIN = 16  # around the sheet, in pixels
FRAME = 3  # width of the coloured frame around the two images of a pair, in pixels

PAPER = (255, 255, 255)
INK = (34, 34, 34)
RULE = (170, 170, 170)  # around names
COLOUR_A = (0, 114, 178)  # Okabe and Ito's blue and orange, which are distinguishable with any colour vision
COLOUR_B = (230, 159, 0)

IMAGE_ROWS = ("image a", "image b", "mask", "mix")  # the rows of a mixing sheet
RECONSTRUCTION_ROWS = ("reconstruction a", "reconstruction b")  # the rows that a sheet of mixed features adds
MASK_ROWS = ("image", "mask", "mix")  # the rows of a sheet of masks

Images = Float[np.ndarray | Array, "pairs height width channels"]


def mixing_sheet(
    images_a: Images,
    images_b: Images,
    masks: Float[np.ndarray | Array, "pairs mask_height mask_width 1"],
    mixes: Images,
    reconstructions_a: Images | None = None,
    reconstructions_b: Images | None = None,
    class_names: Sequence[str] | None = None,
) -> Image.Image:
    """Draws a labelled sheet with one column per pair, and rows for both images, mask, mix and both reconstructions.

    Image *a* has a blue frame and image *b* an orange frame. The mask is blue where the mix takes the features of *a*
    and orange where it takes those of *b*. Small images are enlarged by an integer factor, without smoothing.

    Args:
        images_a: the first image of every pair, in [-1, 1], greyscale or RGB; NumPy or JAX.
        images_b: the second image of every pair.
        masks: in [0, 1], where 1 keeps *a*; of any size, enlarged without smoothing.
        mixes: the mixed images.
        reconstructions_a: the generator's output for a mask of ones. Both rows are left out if either is None.
        reconstructions_b: the generator's output for a mask of zeros.
        class_names: a name for every pair, written above its column; see ``lettering.labels``.
    """
    mix_tiles = _tiles(mixes)
    tiles = (
        [_framed(tile, COLOUR_A) for tile in _tiles(images_a)],
        [_framed(tile, COLOUR_B) for tile in _tiles(images_b)],
        [_mask_tile(mask, mix_tiles[0].size) for mask in np.asarray(masks, np.float32)] if mix_tiles else [],
        mix_tiles,
    )
    rows = dict(zip(IMAGE_ROWS, tiles, strict=True))
    if reconstructions_a is not None and reconstructions_b is not None:
        decoded = (_tiles(reconstructions_a), _tiles(reconstructions_b))
        rows |= dict(zip(RECONSTRUCTION_ROWS, decoded, strict=True))
    return _sheet(rows, class_names)


def masks_sheet(
    image_a: Float[np.ndarray | Array, "height width channels"],
    image_b: Float[np.ndarray | Array, "height width channels"],
    masks: Float[np.ndarray | Array, "masks mask_height mask_width 1"],
    mixes: Float[np.ndarray | Array, "masks height width channels"],
) -> Image.Image:
    """Draws a labelled sheet of one pair with one column per mask, at least two, from most of *a* to most of *b*.

    The two images are shown above the first and the last column. Ranges and colours are those of ``mixing_sheet``.
    """
    masks = np.asarray(masks, np.float32)
    if len(masks) < 2:
        raise ValueError(f"needs at least two masks; got {len(masks)}")
    order = np.argsort(-masks.mean(axis=(1, 2, 3)), kind="stable")
    mix_tiles = _tiles(np.asarray(mixes, np.float32)[order])
    tile_a, tile_b = (_tiles(np.asarray(image)[None])[0] for image in (image_a, image_b))
    nothing = Image.new("RGB", tile_a.size, PAPER)
    tiles = (
        [_framed(tile_a, COLOUR_A), *[nothing] * (len(masks) - 2), _framed(tile_b, COLOUR_B)],
        [_mask_tile(mask, mix_tiles[0].size) for mask in masks[order]],
        mix_tiles,
    )
    return _sheet(dict(zip(MASK_ROWS, tiles, strict=True)), ["a", *[""] * (len(masks) - 2), "b"])


def image_sheet(rows: Mapping[str, Images], class_names: Sequence[str] | None = None) -> Image.Image:
    """Draws a labelled sheet of images in [-1, 1], greyscale or RGB, with one row per entry and one column per image.

    Raises:
        ValueError: the rows differ in length, or there is nothing to draw.
    """
    return _sheet({label: _tiles(images) for label, images in rows.items()}, class_names)


def tiles_of_mixing_sheet(sheet: Image.Image, columns: int) -> dict[str, list[Image.Image]] | None:
    """Cuts a sheet of ``mixing_sheet`` with class names into the tiles of each row, without their frames.

    Returns None if the sheet was laid out differently, as by another version or in another font.
    """
    for labels in ((*IMAGE_ROWS, *RECONSTRUCTION_ROWS), IMAGE_ROWS):
        tiles = _cut(sheet, labels, columns)
        if tiles is not None and [_frame(tiles[label][0]) for label in labels[:2]] == [COLOUR_A, COLOUR_B]:
            return {label: [_without_frame(tile) for tile in row] for label, row in tiles.items()}
    return None


def tiles_of_masks_sheet(sheet: Image.Image, columns: int) -> dict[str, list[Image.Image]] | None:
    """Cuts a sheet of ``masks_sheet`` like ``tiles_of_mixing_sheet``; its first row has only the two images."""
    tiles = _cut(sheet, MASK_ROWS, columns)
    if tiles is None or [_frame(tiles[MASK_ROWS[0]][column]) for column in (0, -1)] != [COLOUR_A, COLOUR_B]:
        return None
    tiles[MASK_ROWS[0]] = [tiles[MASK_ROWS[0]][column] for column in (0, -1)]
    return {label: [_without_frame(tile) for tile in row] for label, row in tiles.items()}


def contact_sheet(rows: Mapping[str, UInt8[np.ndarray, "_ height width 3"]], most_columns: int) -> Image.Image:
    """Draws a labelled sheet of RGB images in 0..255, with one row per entry; shorter rows end with empty places.

    A label that no installed font can draw is replaced by its row's number, from 1.
    """
    tiles = {name: _enlarged(images[:most_columns]) for name, images in rows.items()}
    columns = max(map(len, tiles.values()))
    nothing = Image.new("RGB", next(tile.size for row in tiles.values() for tile in row), PAPER)
    return _sheet({name: [*row, *[nothing] * (columns - len(row))] for name, row in tiles.items()}, None)


def save_png(path: str | os.PathLike[str], image: Image.Image) -> None:
    """Writes a picture as PNG, atomically; missing parent folders are created."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    files.write_bytes(path, buffer.getvalue())


def _tiles(images: Images) -> list[Image.Image]:
    """Converts images to enlarged RGB pictures."""
    levels = np.clip(np.round((np.asarray(images, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)
    return _enlarged(levels)


def _enlarged(levels: UInt8[np.ndarray, "images height width channels"]) -> list[Image.Image]:
    """Converts images in 0..255, greyscale or RGB, to RGB pictures, and enlarges small ones."""
    tiles = []
    for pixels in levels:
        picture = Image.fromarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)).copy())
        factor = max(round(TILE_SIDE / max(picture.size)), 1)
        size = (picture.width * factor, picture.height * factor)
        tiles.append(picture.resize(size, Image.Resampling.NEAREST))
    return tiles


def _mask_tile(mask: Float[np.ndarray, "mask_height mask_width 1"], size: tuple[int, int]) -> Image.Image:
    blend = np.clip(mask, 0, 1) * np.array(COLOUR_A) + (1 - np.clip(mask, 0, 1)) * np.array(COLOUR_B)
    return Image.fromarray(np.round(blend).astype(np.uint8)).resize(size, Image.Resampling.NEAREST)


def _framed(tile: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    framed = Image.new("RGB", (tile.width + 2 * FRAME, tile.height + 2 * FRAME), colour)
    framed.paste(tile, (FRAME, FRAME))
    return framed


def _frame(tile: Image.Image) -> tuple[int, int, int]:
    red, green, blue = np.asarray(tile)[0, 0].tolist()
    return red, green, blue


def _without_frame(tile: Image.Image) -> Image.Image:
    return tile.crop((FRAME, FRAME, tile.width - FRAME, tile.height - FRAME))


def _label_width(labels: Iterable[str]) -> int:
    return round(max(font.getlength(label) for label, font in lettering.labels(list(labels)))) + 2 * GAP


def _cut(sheet: Image.Image, labels: Sequence[str], columns: int) -> dict[str, list[Image.Image]] | None:
    """Reverses ``_sheet`` for a sheet with class names; returns None if cells of equal size do not fill the sheet."""
    left, top = MARGIN + _label_width(labels), MARGIN + lettering.FONT_SIZE + 2 * GAP
    (width, odd), (height, odd_too) = (
        divmod(side - start - MARGIN + GAP, count)
        for side, start, count in ((sheet.width, left, columns), (sheet.height, top, len(labels)))
    )
    if odd or odd_too or min(width, height) <= GAP + 2 * FRAME:
        return None
    return {
        label: [
            sheet.crop((x, y, x + width - GAP, y + height - GAP)) for x in range(left, left + columns * width, width)
        ]
        for label, y in zip(labels, range(top, top + len(labels) * height, height), strict=True)
    }


def _sheet(rows: dict[str, list[Image.Image]], class_names: Sequence[str] | None) -> Image.Image:
    counts = {len(tiles) for tiles in rows.values()} | ({len(class_names)} if class_names is not None else set())
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"every row needs the same number of images, at least 1; got {sorted(counts)}")
    sizes = [tile.size for tiles in rows.values() for tile in tiles]
    cell_width, cell_height = (max(side) for side in zip(*sizes, strict=True))
    labels, label_width = lettering.labels(list(rows)), _label_width(rows)
    header = lettering.FONT_SIZE + 2 * GAP if class_names is not None else 0
    columns = len(next(iter(rows.values())))
    width = 2 * MARGIN + label_width + columns * (cell_width + GAP) - GAP
    height = 2 * MARGIN + header + len(rows) * (cell_height + GAP) - GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, ((label, drawn_in), tiles) in enumerate(zip(labels, rows.values(), strict=True)):
        middle = MARGIN + header + row * (cell_height + GAP) + cell_height // 2
        pen.text((MARGIN + label_width - 2 * GAP, middle), label, INK, drawn_in, anchor="rm")
        for column, tile in enumerate(tiles):
            centre = MARGIN + label_width + column * (cell_width + GAP) + cell_width // 2
            sheet.paste(tile, (centre - tile.width // 2, middle - tile.height // 2))
    for column, (name, font) in enumerate(lettering.labels(class_names or ())):
        centre = MARGIN + label_width + column * (cell_width + GAP) + cell_width // 2
        text = _shortened(name, cell_width - 2 * GAP, font)
        if text:
            left, top, right, bottom = pen.textbbox((centre, MARGIN), text, font, anchor="ma")
            pen.rectangle(
                (left - GAP, min(top, MARGIN) - 2, right + GAP - 1, max(bottom, MARGIN + header - GAP)), outline=RULE
            )
        pen.text((centre, MARGIN), text, INK, font, anchor="ma")
    return sheet


def _shortened(text: str, width: int, font: lettering.Font) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
