"""Names in pictures: in a font that has their letters or, where none has, as numbers that a legend explains."""

import functools
import importlib.util
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from PIL import ImageFont, features

FONT_SIZE = 14

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own has little more than English; these are looked for on the system.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansThai-Regular.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
    "msyh.ttc",
)
_NOT_A_CHARACTER = "\U0010ffff"  # what a font draws for it, it draws for all that it lacks


def labels(names: Sequence[str]) -> list[tuple[str, Font]]:
    """What to write for each name, and in which font: the name, or else its number, from 1."""
    written = []
    for number, name in enumerate(names, start=1):
        text = unicodedata.normalize("NFC", name)
        font = _font_for(text)
        written.append((str(number), plain_font()) if font is None else (text, font))
    return written


def legend(names: Sequence[str]) -> list[tuple[str, str]]:
    """The numbers that ``labels`` writes, and the names that they stand for."""
    written = zip(labels(names), names, strict=True)
    return [(text, name) for (text, _), name in written if text != unicodedata.normalize("NFC", name)]


@functools.cache
def plain_font() -> Font:
    """Pillow's own font, which is always there."""
    return ImageFont.load_default(size=FONT_SIZE)


@functools.cache
def _fonts() -> list[Font]:
    fonts: list[Font] = [plain_font()]
    matplotlib = importlib.util.find_spec("matplotlib")
    brought = [] if matplotlib is None or matplotlib.origin is None else [Path(matplotlib.origin).parent]
    for name in (*(str(folder / "mpl-data/fonts/ttf/DejaVuSans.ttf") for folder in brought), *_SYSTEM_FONTS):
        try:
            fonts.append(ImageFont.truetype(name, FONT_SIZE))
        except (OSError, ImportError):  # there is no such font, or Pillow is built without FreeType
            continue
    return fonts


@functools.cache
def _font_for(text: str) -> Font | None:
    """The first font that has all letters; None where none has, or their places are more than a row of letters."""
    if not features.check("raqm") and any(_needs_shaping(character) for character in text):
        return None
    return next((font for font in _fonts() if all(_has(font, character) for character in text)), None)


def _needs_shaping(character: str) -> bool:
    """Whether a letter runs from right to left, or stands above, below or joined with its neighbours."""
    return unicodedata.bidirectional(character) in ("R", "AL", "NSM") or unicodedata.category(character) == "Mc"


@functools.cache
def _has(font: Font, character: str) -> bool:
    if character.isspace():
        return True
    if isinstance(font, ImageFont.ImageFont):
        return character.isascii()
    return _drawn(font, character) != _drawn(font, _NOT_A_CHARACTER)


@functools.cache
def _drawn(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
