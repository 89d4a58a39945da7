"""Images for pages: from the user's own files, as sharp as these are, or from the data set's copies."""

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps

from chimeramix_jax.data.dataset import FewShotDataset, LabelledImages
from chimeramix_jax.data.identity import HELD_OUT, TRAIN, image_digest
from chimeramix_jax.data.image_files import UnreadableImageError, read_rgb
from chimeramix_jax.data.photo_views import PICTURE_SIDE, PhotoView


def held_out_pixels(dataset: FewShotDataset, position: int) -> UInt8[np.ndarray, "height width 3"]:
    """Returns the part of a held-out image that the classifier sees, at most ``PICTURE_SIDE`` pixels wide and high.

    Of photos that are not cropped, that is the whole photo, in its own proportions.

    A file that has been moved, changed or damaged since the run began is replaced by the data set's smaller copy.
    """
    original = _original(dataset, HELD_OUT, position)
    if original is None:
        return dataset.held_out.images[position]
    if dataset.fit != "crop":
        original.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.LANCZOS)
        return np.asarray(original)
    side = min(PICTURE_SIDE, *original.size)
    return np.asarray(ImageOps.fit(original, (side, side), Image.Resampling.LANCZOS))


def view(dataset: FewShotDataset, split: str, position: int, largest: int) -> PhotoView:
    """Returns the part of an image that the classifier sees, as sharp as its file is, about ``largest`` pixels wide.

    The data set's smaller copy replaces a file that was moved, changed or damaged since the run began.

    Args:
        dataset: the run's data.
        split: ``identity.TRAIN`` or ``identity.HELD_OUT``.
        position: the image's, in the split.
        largest: about how many pixels wide the picture is, or high if that is more.
    """
    copy = Image.fromarray(_images(dataset, split).images[position])
    original = _original(dataset, split, position)
    if original is None:
        return PhotoView.of_square(copy, largest)
    return PhotoView.of_photo(original, largest, copy.width, dataset.fit)


def _original(dataset: FewShotDataset, split: str, position: int) -> Image.Image | None:
    """Reads an image's file; returns None if there is none, or not the one that the run began with."""
    if dataset.directory is None:
        return None
    try:
        original = read_rgb(dataset.directory / _images(dataset, split).names[position])
    except UnreadableImageError:
        return None
    content = dataset.content
    if content is not None and image_digest(np.asarray(original)) != content.split(split).images[position]:
        return None
    return original


def _images(dataset: FewShotDataset, split: str) -> LabelledImages:
    return {TRAIN: dataset.train, HELD_OUT: dataset.held_out}[split]
