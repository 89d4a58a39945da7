"""What stands in an image file beside the pixels: leaving it out where it is damaged, and which side is up.

Pillow gives up an image whose comments are damaged or, against files that fill the memory, very long.
"""

import struct
from collections.abc import Iterator

from PIL import ExifTags, Image

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_CHUNKS_OF_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_START_OF_SCAN = 0xDA
# Segments of comments and applications, but for those that tell the kind of colours: JFIF's and Adobe's.
_SEGMENTS_BESIDE_PIXELS = frozenset({*range(0xE1, 0xF0), 0xFE} - {0xEE})
_EXIF = b"Exif\0\0"


def can_be_left_out(start: bytes) -> bool:
    """Whether a file that begins so is of a kind that ``without`` knows."""
    return start.startswith((_PNG, _JPEG))


def without(content: bytes) -> bytes | None:
    """A PNG or JPEG file's bytes without what stands beside the pixels; None: it is neither, or not laid out so."""
    try:
        if content.startswith(_PNG):
            return _PNG + b"".join(chunk for kind, chunk in _chunks(content) if kind in _CHUNKS_OF_PIXELS)
        if content.startswith(_JPEG):
            segments, rest = _segments(content)
            return _JPEG + b"".join(one for kind, one in segments if kind not in _SEGMENTS_BESIDE_PIXELS) + rest
    except (struct.error, IndexError):
        pass
    return None


def orientation(content: bytes) -> int | None:
    """The orientation in a PNG or JPEG file's EXIF data; None: there is none, or it cannot be read."""
    try:
        if content.startswith(_PNG):
            blocks = [_EXIF + chunk[8:-4] for kind, chunk in _chunks(content) if kind == b"eXIf"]
        else:
            blocks = [one[4:] for kind, one in _segments(content)[0] if kind == 0xE1 and one[4:].startswith(_EXIF)]
        exif = Image.Exif()
        exif.load(blocks[0])
        return exif.get(ExifTags.Base.Orientation)
    except Exception:  # Pillow raises errors of many kinds over damaged EXIF data
        return None


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk of a PNG file: its kind, and all its bytes."""
    place = len(_PNG)
    while place < len(content):
        (length,) = struct.unpack_from(">I", content, place)
        yield content[place + 4 : place + 8], content[place : place + length + 12]
        place += length + 12


def _segments(content: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The segments of a JPEG file in front of its pixels, each with its kind and all its bytes, and the rest."""
    segments, place = [], len(_JPEG)
    while content[place + 1] != _START_OF_SCAN:
        marker, kind, length = struct.unpack_from(">BBH", content, place)
        if marker != 0xFF:
            raise IndexError("no segment begins here")
        segments.append((kind, content[place : place + length + 2]))
        place += length + 2
    return segments, content[place:]
