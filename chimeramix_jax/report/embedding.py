"""Pictures as data URIs, which embed them in the page."""

import base64
import io
import os
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

LARGEST_LOSSLESS_SIDE = 40  # in pixels; up to this size, images are embedded without loss
LARGEST_SIDE = (
    112  # in pixels; larger images are scaled down to it: twice their size on the page, for high-density screens
)
LARGEST_LOSSLESS_FILE = 400_000  # in bytes; a page of many megabytes opens slowly
JPEG_QUALITY = 88


def image_uri(pixels: UInt8[np.ndarray, "height width 3"]) -> str:
    """Returns the data URI of an image from a data set: a lossless PNG if it is small, otherwise a scaled-down JPEG."""
    image = Image.fromarray(pixels)
    if max(image.size) <= LARGEST_LOSSLESS_SIDE:
        return _uri(image, "png")
    image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    return _uri(image, "jpeg")


def picture_uri(picture: Image.Image) -> str:
    """Returns the data URI of a picture at its own size: a JPEG, or a lossless PNG if that is smaller."""
    return min((_uri(picture, kind) for kind in ("png", "jpeg")), key=len)


def file_uri(path: str | os.PathLike[str]) -> str:
    """Returns the data URI of a PNG file, converted to JPEG if it is large."""
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
