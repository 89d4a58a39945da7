"""Resizes stored images to the side that a network works at."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image


def resize(
    images: UInt8[np.ndarray, "examples height width 3"], side: int
) -> UInt8[np.ndarray, "examples side side 3"]:
    """Resizes images with Pillow, like the published program: bilinearly, antialiased, rounded to whole grey levels."""
    if images.shape[1:3] == (side, side):
        return images
    resized = (Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR) for image in images)
    return np.stack([np.asarray(image) for image in resized])
