"""Pictures as data URIs, which embed them in the page."""

import base64
import io
import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

LARGEST_LOSSLESS_SIDE = 40  # in pixels; up to this size, images are embedded without loss
THUMBNAIL_SIDE = 112  # in pixels: twice the size on the page, for high-density screens
MOST_COLOURS_OF_PNG = 256  # photos have more; their PNG is several times the size of WebP, and slow to write
LARGEST_LOSSLESS_FILE = 400_000  # in bytes; a page of many megabytes opens slowly

# WebP needs about two thirds of JPEG's bytes. A higher method takes twice the time and saves a few per cent.
_OPTIONS: dict[str, dict[str, int]] = {"png": {"optimize": True}, "webp": {"quality": 80, "method": 2}}


def image_uri(pixels: UInt8[np.ndarray, "height width 3"], side: int = THUMBNAIL_SIDE) -> str:
    """Returns the data URI of an image: a lossless PNG if it is small, otherwise scaled down to ``side`` as WebP."""
    image = Image.fromarray(pixels)
    if max(image.size) <= LARGEST_LOSSLESS_SIDE:
        return _uri(image, "png")
    image.thumbnail((side, side))
    return _uri(image, "webp")


def tile_uri(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    """Returns the data URI of an image that may have been enlarged without smoothing, which is undone."""
    for factor in range(min(pixels.shape[:2]), 1, -1):
        if any(side % factor for side in pixels.shape[:2]):
            continue
        small = np.ascontiguousarray(pixels[::factor, ::factor])
        if np.array_equal(small.repeat(factor, axis=0).repeat(factor, axis=1), pixels):
            return image_uri(small)
    return image_uri(pixels)


def picture_uri(picture: Image.Image) -> str:
    """Returns the data URI of a picture at its own size: WebP, or for few colours a lossless PNG if that is smaller."""
    webp = _uri(picture, "webp")
    if picture.getcolors(MOST_COLOURS_OF_PNG) is None:
        return webp
    return min(_uri(picture, "png"), webp, key=len)


def file_uri(path: str | os.PathLike[str]) -> str:
    """Returns the data URI of a PNG file, converted to WebP if it is large."""
    content = Path(path).read_bytes()
    if len(content) <= LARGEST_LOSSLESS_FILE:
        return _encoded(content, "png")
    with Image.open(io.BytesIO(content)) as image:
        return _uri(image.convert("RGB"), "webp")


def _uri(image: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **_OPTIONS[kind])
    return _encoded(buffer.getvalue(), kind)


def _encoded(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
