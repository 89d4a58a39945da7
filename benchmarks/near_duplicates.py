"""Measures how well perceptual hashes find edited copies of photos, and how often they confuse different photos.

    python -m benchmarks.near_duplicates path/to/photos more/photos --sheet=pairs.png

Prints, for each folder and each bound of the distance, the share of edited copies within it, and the number of pairs of
different files within it. Whether such a pair is a false alarm must be judged by eye: ``--sheet`` draws them all, with
their distances.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance

from benchmarks.real_images import SUFFIXES
from chimeramix_jax.data.perceptual_hash import near_pairs, perceptual_hash

BOUNDS = (4, 8, 10, 12, 14, 16, 18, 20)
COPIES = 200  # photos of each folder that are edited
TILE, COLUMNS = 110, 7  # of the sheet


def _recompressed(photo: Image.Image) -> Image.Image:
    content = io.BytesIO()
    photo.save(content, "jpeg", quality=50)
    return Image.open(content).convert("RGB")


def _resized(photo: Image.Image, factor: float) -> Image.Image:
    return photo.resize((round(photo.width * factor), round(photo.height * factor)), Image.Resampling.BILINEAR)


def _trimmed(photo: Image.Image, share: float) -> Image.Image:
    x, y = round(photo.width * share), round(photo.height * share)
    return photo.crop((x, y, photo.width - x, photo.height - y))


EDITS: Mapping[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG of quality 50": _recompressed,
    "half the size": lambda photo: _resized(photo, 0.5),
    "twice the size": lambda photo: _resized(photo, 2.0),
    "15 % brighter": lambda photo: ImageEnhance.Brightness(photo).enhance(1.15),
    "20 % more contrast": lambda photo: ImageEnhance.Contrast(photo).enhance(1.2),
    "grey": lambda photo: photo.convert("L").convert("RGB"),
    "3 % cut off each edge": lambda photo: _trimmed(photo, 0.03),
    "6 % cut off each edge": lambda photo: _trimmed(photo, 0.06),
}


def main() -> None:
    """Prints a table per folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of JPEG and PNG files, searched at any depth")
    parser.add_argument("--sheet", type=Path, help="where to draw the pairs within the largest bound")
    arguments = parser.parse_args()
    pairs: list[tuple[int, Path, Path]] = []
    for folder in arguments.folders:
        pairs += _measure(folder)
    if arguments.sheet:
        _draw(pairs).save(arguments.sheet)


def _measure(folder: Path) -> list[tuple[int, Path, Path]]:
    """Prints the table of a folder; returns its pairs within the largest bound, with their distances."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        sys.exit(f"{folder}: no images; it must contain files that end in {', '.join(SUFFIXES)}")
    start = time.process_time()
    hashes = [perceptual_hash(_photo(path)) for path in paths]
    hashed = time.process_time()
    found = [(a, b) for array in near_pairs(hashes, most=max(BOUNDS)) for a, b in array.tolist()]
    searched = time.process_time()
    distances = [_distance(hashes[a], hashes[b]) for a, b in found]
    print(
        f"\n{folder.name}: {len(paths)} images; {1000 * (hashed - start) / len(paths):.2f} ms of CPU time per image to "
        f"read and hash, {searched - hashed:.1f} s to compare all pairs"
    )
    print(f"{'differing bits, of 128':24}", *(f"{f'<= {bound}':>7}" for bound in BOUNDS))
    chosen = np.random.default_rng(0).permutation(len(paths))[:COPIES]
    for name, edit in EDITS.items():
        edited = [_distance(hashes[number], perceptual_hash(edit(_photo(paths[number])))) for number in chosen]
        print(f"{name:24}", *(f"{np.mean([d <= bound for d in edited]):7.1%}" for bound in BOUNDS))
    print(f"{'pairs of different files':24}", *(f"{sum(d <= bound for d in distances):7}" for bound in BOUNDS))
    return sorted((d, paths[a], paths[b]) for d, (a, b) in zip(distances, found, strict=True))


def _photo(path: Path) -> Image.Image:
    with Image.open(path) as photo:
        return photo.convert("RGB")


def _distance(first: str, second: str) -> int:
    """Returns the number of differing bits; that of an image of one colour, which has no hash, is the largest."""
    return (int(first, 16) ^ int(second, 16)).bit_count() if first and second else 128


def _draw(pairs: Sequence[tuple[int, Path, Path]]) -> Image.Image:
    """Draws the pairs side by side, each with its distance."""
    rows = -(-max(len(pairs), 1) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * (2 * TILE + 10), rows * (TILE + 20)), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (distance, *both) in enumerate(pairs):
        left, top = number % COLUMNS * (2 * TILE + 10), number // COLUMNS * (TILE + 20)
        for place, path in enumerate(both):
            sheet.paste(_photo(path).resize((TILE, TILE)), (left + place * TILE, top))
        names = " and ".join("/".join(path.parts[-3:-1]) for path in both)
        pen.text((left, top + TILE), f"{distance}: {names}", fill="black")
    return sheet


if __name__ == "__main__":
    main()
