"""Turns photos of any shape into squares, as ``dataset.fit`` says.

- "crop" keeps the largest central square.
- "pad" shows the whole photo: its longer side fills the square, and the rest is grey.
- "stretch" shows the whole photo, too, but resizes its sides independently, which changes its proportions.

Grey is 128 of 255, the whole level nearest to the middle. After normalisation to [-1, 1] it is 0.004, nearly the zero
that convolutions pad with and that Cutout leaves. Reflected or repeated edges would show what is not there, such as an
object twice. The photos' mean colour would depend on the data, so that every stored run and exported file would have to
carry it.
"""

from PIL import Image, ImageOps

from chimeramix_jax.config.rules import Fit

GREY = 128

Place = tuple[int, int, int, int]  # left, top, right and bottom, in pixels


def squared(image: Image.Image, side: int, fit: Fit = "crop") -> Image.Image:
    """Returns an RGB image as a square of ``side`` pixels, resized bilinearly with antialiasing.

    "crop" equals a resize of the shorter side to ``side`` followed by a centre crop, but computes only the crop.

    The other two resize the rows first and then the columns, in separate calls. In a single call, the order depends on
    Pillow's version, and with it some pixels would change by a grey level. Exported files use this order, too.
    """
    if fit == "crop":
        return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)
    left, top, right, bottom = place_of(image.size, side, fit)
    for size in ((right - left, image.height), (right - left, bottom - top)):
        image = image.resize(size, Image.Resampling.BILINEAR)
    if image.size == (side, side):
        return image
    square = Image.new("RGB", (side, side), (GREY, GREY, GREY))
    square.paste(image, (left, top))
    return square


def place_of(size: tuple[int, int], side: int, fit: Fit) -> Place:
    """Returns the place of a photo in its square, or of the part that is kept.

    Args:
        size: the photo's width and height in pixels.
        side: pixels per side of the square.
        fit: how the photo is fitted into the square.
    """
    if fit != "pad":
        return 0, 0, side, side
    longer = max(size)
    width, height = (max((2 * length * side + longer) // (2 * longer), 1) for length in size)
    left, top = (side - width) // 2, (side - height) // 2
    return left, top, left + width, top + height
