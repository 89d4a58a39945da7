"""Images for pages: from the user's own files, as sharp as these are, or from the data set's copies."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from chimeramix_jax.data.identity import image_digest
from chimeramix_jax.data.image_files import UnreadableImageError, read_rgb
from chimeramix_jax.data.loading import FewShotDataset, LabelledImages
from chimeramix_jax.data.photo_views import PhotoView

SHARP_SIDE = 320  # in pixels: twice the size on the page, for high-density screens


def held_out_pixels(dataset: FewShotDataset, position: int) -> UInt8[np.ndarray, "height width 3"]:
    """Returns the part of a held-out image that the classifier sees, at most ``SHARP_SIDE`` pixels wide and high.

    Of photos that are not cropped, that is the whole photo, in its own proportions.

    A file that has been moved, changed or damaged since the run began is replaced by the data set's smaller copy.
    """
    copy = dataset.held_out.images[position]
    if dataset.directory is None:
        return copy
    try:
        original = read_rgb(dataset.directory / dataset.held_out.names[position])
    except UnreadableImageError:
        return copy
    if dataset.content is not None and image_digest(np.asarray(original)) != dataset.content.held_out.images[position]:
        return copy
    if dataset.fit != "crop":
        original.thumbnail((SHARP_SIDE, SHARP_SIDE), Image.Resampling.LANCZOS)
        return np.asarray(original)
    side = min(SHARP_SIDE, *original.size)
    return np.asarray(ImageOps.fit(original, (side, side), Image.Resampling.LANCZOS))


def view(dataset: FewShotDataset, images: LabelledImages, position: int, largest: int) -> PhotoView:
    """Returns the part of an image that the classifier sees, as sharp as its file is, about ``largest`` pixels wide.

    The data set's smaller copy replaces a file that was moved or damaged since the run began.
    """
    copy = Image.fromarray(images.images[position])
    if dataset.directory is None:
        return PhotoView.of_square(copy, largest)
    try:
        photo = read_rgb(dataset.directory / images.names[position])
    except UnreadableImageError:
        return PhotoView.of_square(copy, largest)
    return PhotoView.of_photo(photo, largest, copy.width, dataset.fit)
