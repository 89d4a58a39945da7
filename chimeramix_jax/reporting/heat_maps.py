"""Draws heat maps over pictures."""

import math

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw, ImageOps

from chimeramix_jax.reporting import lettering
from chimeramix_jax.reporting.pictures import COLOUR_A, COLOUR_B, GAP, INK, PAPER

Place = tuple[float, float, float, float]  # left, top, right and bottom, as shares of a square's side
WHOLE: Place = (0.0, 0.0, 1.0, 1.0)

FOR, AGAINST = COLOUR_B, COLOUR_A  # orange and blue, which are distinguishable with any colour vision
STRONGEST_OPACITY = 0.8  # of the strongest place

_PALEST, _DARKEST = 70, 235  # grey levels of the picture below the colours, so that they show on black and on white


def square_picture(image: Image.Image, side: int) -> Image.Image:
    """Returns the central square of an image, about ``side`` pixels wide.

    That is the part of a cropped photo which a classifier sees. Larger images are reduced, and smaller ones enlarged by
    a whole factor without smoothing, so that their pixels can be seen.
    """
    own = min(image.size)
    if own > side:
        return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)
    enlarged = own * max(round(side / own), 1)
    return ImageOps.fit(image, (own, own), Image.Resampling.NEAREST).resize((enlarged,) * 2, Image.Resampling.NEAREST)


def whole_picture(image: Image.Image, side: int) -> Image.Image:
    """Returns a whole image in its own proportions, with about ``side`` pixels along its longer side.

    Images are reduced or enlarged as by ``square_picture``.
    """
    longer = max(image.size)
    if longer > side:
        width, height = (max(round(length * side / longer), 1) for length in image.size)
        return image.resize((width, height), Image.Resampling.BILINEAR)
    factor = max(round(side / longer), 1)
    return image.resize((factor * image.width, factor * image.height), Image.Resampling.NEAREST)


def overlay(picture: Image.Image, heat: Float[np.ndarray, "map_height map_width"], place: Place = WHOLE) -> Image.Image:
    """Returns a grey copy of a picture, coloured orange where the map is positive and blue where it is negative.

    The picture shows the part of the map's square that is at ``place``. The opacity is proportional to the absolute
    value; the strongest place of the whole map has ``STRONGEST_OPACITY``. Values lie at the centres of the map's cells
    and are interpolated linearly between them.
    """
    strongest = float(np.max(np.abs(heat)))
    relative = heat / strongest if strongest > 0 else np.zeros_like(heat)
    cells = Image.fromarray(relative.astype(np.float32))
    left, top, right, bottom = place
    part = left * cells.width, top * cells.height, right * cells.width, bottom * cells.height
    smooth = np.asarray(cells.resize(picture.size, Image.Resampling.BILINEAR, box=part))[..., None]
    grey = np.asarray(picture.convert("L"), np.float32)[..., None] / 255 * (_DARKEST - _PALEST) + _PALEST
    colour = np.where(smooth > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    opacity = STRONGEST_OPACITY * np.abs(smooth)
    return Image.fromarray(np.round((1 - opacity) * grey + opacity * colour).astype(np.uint8))


def captioned_pair(picture: Image.Image, overlaid: Image.Image, speaks_for: str, speaks_against: str) -> Image.Image:
    """Draws a picture beside its overlay, with a line below for what orange and blue stand for."""
    line, start = lettering.FONT_SIZE + GAP, 2 * GAP + lettering.FONT_SIZE
    captions = [(colour, *_drawable(text)) for colour, text in ((FOR, speaks_for), (AGAINST, speaks_against))]
    longest = max(math.ceil(font.getlength(label)) for _, label, font in captions)
    width = max(picture.width + GAP + overlaid.width, start + longest + GAP)  # pictures may be narrower than captions
    height = picture.height + 2 * line + 2 * GAP
    sheet = Image.new("RGB", (width, height), PAPER)
    sheet.paste(picture, (0, 0))
    sheet.paste(overlaid, (picture.width + GAP, 0))
    pen = ImageDraw.Draw(sheet)
    for row, (colour, label, font) in enumerate(captions):
        top = picture.height + GAP + row * line
        pen.rectangle((GAP, top + 1, GAP + lettering.FONT_SIZE, top + lettering.FONT_SIZE - 1), fill=colour)
        pen.text((start, top), label, INK, font)
    return sheet


def _drawable(text: str) -> tuple[str, lettering.Font]:
    """Returns a text and its font; if no installed font has all of its letters, they become question marks."""
    ((label, font),) = lettering.labels([text])
    return (text.encode("ascii", "replace").decode(), font) if lettering.legend([text]) else (label, font)
