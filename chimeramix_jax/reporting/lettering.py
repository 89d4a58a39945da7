"""Draws names in pictures: in a font that has their letters or, if no font does, as numbers explained in a legend."""

import functools
import importlib.util
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from PIL import ImageFont, features

FONT_SIZE = 14

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Pillow's own font covers little more than English, so these system fonts are tried as well.
_SYSTEM_FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansThai-Regular.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
    "msyh.ttc",
)
_NOT_A_CHARACTER = "\U0010ffff"  # a font draws this the way it draws every character that it lacks


def labels(names: Sequence[str]) -> list[tuple[str, Font]]:
    """Returns the text and the font for each name; the text is the name's number, from 1, if no font can draw it."""
    drawn = []
    for number, name in enumerate(names, start=1):
        text = unicodedata.normalize("NFC", name)
        font = _font_for(text)
        drawn.append((str(number), plain_font()) if font is None else (text, font))
    return drawn


def legend(names: Sequence[str]) -> list[tuple[str, str]]:
    """Returns the numbers that ``labels`` uses, each with the name that it stands for."""
    labelled = zip(labels(names), names, strict=True)
    return [(text, name) for (text, _), name in labelled if text != unicodedata.normalize("NFC", name)]


@functools.cache
def plain_font() -> Font:
    """Returns Pillow's own font, which is always available."""
    return ImageFont.load_default(size=FONT_SIZE)


@functools.cache
def _fonts() -> list[Font]:
    fonts: list[Font] = [plain_font()]
    matplotlib = importlib.util.find_spec("matplotlib")
    packages = [] if matplotlib is None or matplotlib.origin is None else [Path(matplotlib.origin).parent]
    for name in (*(str(folder / "mpl-data/fonts/ttf/DejaVuSans.ttf") for folder in packages), *_SYSTEM_FONTS):
        try:
            fonts.append(ImageFont.truetype(name, FONT_SIZE))
        except (OSError, ImportError):  # the font is not installed, or Pillow was built without FreeType
            continue
    return fonts


@functools.cache
def _font_for(text: str) -> Font | None:
    """Returns the first font that can draw the text; None if there is none, or if Pillow cannot shape the script."""
    if not features.check("raqm") and any(_needs_shaping(character) for character in text):
        return None
    return next((font for font in _fonts() if all(_has(font, character) for character in text)), None)


def _needs_shaping(character: str) -> bool:
    """Whether a letter is written from right to left, or is placed above, below or joined to its neighbours."""
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
