"""Loads real images for measurements that depend on content: from a folder, a zip archive, or two sample photos."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

SUFFIXES = (".jpg", ".jpeg", ".png")


def load(source: str | None, count: int, side: int) -> UInt8[np.ndarray, "count side side 3"]:
    """Loads images evenly spread over those of ``source``, resized to squares of the given side as the package does.

    Args:
        source: a folder or zip archive, searched at any depth for JPEG and PNG files; None: random square pieces of
            scikit-learn's two sample photos.
        count: how many images; all of them if the source has fewer.
        side: the side in pixels.

    Raises:
        ValueError: the source holds no images.
    """
    pictures = _pieces_of_photos(count) if source is None else _files(Path(source), count)
    resized = (picture.convert("RGB").resize((side, side), Image.Resampling.BILINEAR) for picture in pictures)
    return np.stack([np.asarray(picture) for picture in resized])


def _files(source: Path, count: int) -> Iterator[Image.Image]:
    archive = None if source.is_dir() else zipfile.ZipFile(source)
    names = [str(path) for path in source.rglob("*")] if archive is None else archive.namelist()
    names = sorted(name for name in names if name.lower().endswith(SUFFIXES))
    if not names:
        raise ValueError(f"{source}: no images; it must contain files that end in {', '.join(SUFFIXES)}")
    for position in np.linspace(0, len(names), min(count, len(names)), endpoint=False, dtype=int):
        content = Path(names[position]).read_bytes() if archive is None else archive.read(names[position])
        yield Image.open(io.BytesIO(content))


def _pieces_of_photos(count: int) -> Iterator[Image.Image]:
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    random = np.random.default_rng(0)
    for number in range(count):
        photo = photos[number % len(photos)]
        side = int(random.integers(96, min(photo.shape[:2]) + 1))
        top, left = (int(random.integers(length - side + 1)) for length in photo.shape[:2])
        yield Image.fromarray(photo[top : top + side, left : left + side])
