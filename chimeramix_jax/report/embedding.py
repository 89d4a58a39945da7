"""Pictures as text, so that the page holds them itself."""

import base64
import io
import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

LARGEST_LOSSLESS_SIDE = 40  # pixels up to which every one of them is to be seen as it is
LARGEST_SIDE = 112  # to which larger images are made smaller: twice what the page shows, for fine screens
LARGEST_LOSSLESS_FILE = 400_000  # bytes; a page of many megabytes opens slowly
JPEG_QUALITY = 88


def image_uri(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    """An image of a data set: small ones exactly, larger ones as a small JPEG."""
    image = Image.fromarray(pixels)
    if max(image.size) <= LARGEST_LOSSLESS_SIDE:
        return _uri(image, "png")
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return _uri(image, "jpeg")


def file_uri(path: str | os.PathLike[str]) -> str:
    """A PNG file as it is, or as JPEG where it is large."""
    content = Path(path).read_bytes()
    if len(content) <= LARGEST_LOSSLESS_FILE:
        return _encoded(content, "png")
    with Image.open(io.BytesIO(content)) as image:
        return _uri(image.convert("RGB"), "jpeg")


def _uri(image: Image.Image, kind: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, optimize=kind == "jpeg", quality=JPEG_QUALITY)
    return _encoded(buffer.getvalue(), kind)


def _encoded(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
