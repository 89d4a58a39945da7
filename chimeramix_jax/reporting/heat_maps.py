"""Draws heat maps over pictures."""

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageOps

from chimeramix_jax.reporting import lettering
from chimeramix_jax.reporting.pictures import COLOUR_A, COLOUR_B, GAP, INK, PAPER

FOR, AGAINST = COLOUR_B, COLOUR_A  # orange and blue, which are distinguishable with any colour vision
STRONGEST_OPACITY = 0.8  # of the strongest place

_PALEST, _DARKEST = 70, 235  # grey levels of the picture below the colours, so that they show on black and on white


def square_picture(image: Image.Image, side: int) -> Image.Image:
    """Returns the central square of an image, about ``side`` pixels wide.

    That is the part which a classifier sees. Larger images are reduced, and smaller ones enlarged by a whole factor
    without smoothing, so that their pixels can be seen.
    """
    own = min(image.size)
    if own > side:
        return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)
    enlarged = own * max(round(side / own), 1)
    return ImageOps.fit(image, (own, own), Image.Resampling.NEAREST).resize((enlarged,) * 2, Image.Resampling.NEAREST)


def overlay(picture: Image.Image, heat: Float[np.ndarray, "map_height map_width"]) -> Image.Image:
    """Returns a grey copy of a picture, coloured orange where the map is positive and blue where it is negative.

    The opacity is proportional to the absolute value; the strongest place of this map has ``STRONGEST_OPACITY``. Values
    lie at the centres of the map's cells and are interpolated linearly between them.
    """
    strongest = float(np.max(np.abs(heat)))
    relative = heat / strongest if strongest > 0 else np.zeros_like(heat)
    cells = Image.fromarray(relative.astype(np.float32))
    smooth = np.asarray(cells.resize(picture.size, Image.Resampling.BILINEAR))[..., None]
    grey = np.asarray(picture.convert("L"), np.float32)[..., None] / 255 * (_DARKEST - _PALEST) + _PALEST
    colour = np.where(smooth > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    opacity = STRONGEST_OPACITY * np.abs(smooth)
    return Image.fromarray(np.round((1 - opacity) * grey + opacity * colour).astype(np.uint8))


def captioned_pair(picture: Image.Image, overlaid: Image.Image, speaks_for: str, speaks_against: str) -> Image.Image:
    """Draws a picture beside its overlay, with a line below for what orange and blue stand for."""
    line = lettering.FONT_SIZE + GAP
    width, height = picture.width + GAP + overlaid.width, picture.height + 2 * line + 2 * GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    sheet.paste(picture, (0, 0))
    sheet.paste(overlaid, (picture.width + GAP, 0))
    pen = ImageDraw.Draw(sheet)
    for row, (colour, text) in enumerate(((FOR, speaks_for), (AGAINST, speaks_against))):
        top = picture.height + GAP + row * line
        pen.rectangle((GAP, top + 1, GAP + lettering.FONT_SIZE, top + lettering.FONT_SIZE - 1), fill=colour)
        label, font = _drawable(text)
        pen.text((2 * GAP + lettering.FONT_SIZE, top), label, INK, font)
    return sheet


def _drawable(text: str) -> tuple[str, lettering.Font]:
    """Returns a text and its font; if no installed font has all of its letters, they become question marks."""
    ((label, font),) = lettering.labels([text])
    return (text.encode("ascii", "replace").decode(), font) if lettering.legend([text]) else (label, font)
