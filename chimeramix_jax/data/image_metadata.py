"""Removes the metadata of image files, and reads their orientation.

Pillow rejects an image if its metadata are damaged, or very long (as a protection against files that fill the memory).
"""

import struct
from collections.abc import Iterator

from PIL import ExifTags, Image

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_CHUNKS_OF_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_START_OF_SCAN = 0xDA
# Comment and application segments, except JFIF's (0xE0) and Adobe's (0xEE), which determine the colour space.
_METADATA_SEGMENTS = frozenset({*range(0xE1, 0xF0), 0xFE} - {0xEE})
_EXIF = b"Exif\0\0"


def can_be_left_out(start: bytes) -> bool:
    """Returns whether ``without`` supports a file that begins with ``start``."""
    return start.startswith((_PNG, _JPEG))


def without(content: bytes) -> bytes | None:
    """Returns a PNG or JPEG file's bytes without metadata; None if the file is neither or its structure is damaged."""
    try:
        if content.startswith(_PNG):
            return _PNG + b"".join(chunk for kind, chunk in _chunks(content) if kind in _CHUNKS_OF_PIXELS)
        if content.startswith(_JPEG):
            segments, rest = _segments(content)
            return _JPEG + b"".join(segment for kind, segment in segments if kind not in _METADATA_SEGMENTS) + rest
    except (struct.error, IndexError):
        pass
    return None


def orientation(content: bytes) -> int | None:
    """Returns the orientation in a PNG or JPEG file's EXIF data; None if there is none or it cannot be read."""
    try:
        if content.startswith(_PNG):
            blocks = [_EXIF + chunk[8:-4] for kind, chunk in _chunks(content) if kind == b"eXIf"]
        else:
            segments, _ = _segments(content)
            blocks = [part[4:] for kind, part in segments if kind == 0xE1 and part[4:].startswith(_EXIF)]
        exif = Image.Exif()
        exif.load(blocks[0])
        return exif.get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises errors of many classes for damaged EXIF data
        return None


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields type and bytes of each chunk of a PNG file."""
    start = len(_PNG)
    while start < len(content):
        (length,) = struct.unpack_from(">I", content, start)
        yield content[start + 4 : start + 8], content[start : start + length + 12]
        start += length + 12


def _segments(content: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Returns type and bytes of each segment before a JPEG file's pixels, and the rest of the file."""
    segments, start = [], len(_JPEG)
    while content[start + 1] != _START_OF_SCAN:
        marker, kind, length = struct.unpack_from(">BBH", content, start)
        if marker != 0xFF:
            raise IndexError("no segment begins here")
        segments.append((kind, content[start : start + length + 2]))
        start += length + 2
    return segments, content[start:]
