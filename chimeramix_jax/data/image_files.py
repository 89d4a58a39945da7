"""Any image file that Pillow reads -> an RGB image, as it is or square and of a given size."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from chimeramix_jax.errors import InputError, one_line

_WHITE = (255, 255, 255, 255)


def read_square_rgb(path: Path, side: int, *, named_by: str = "dataset.directory") -> Image.Image:
    """Reads an image as ``read_rgb`` does, and makes it square by ``squared``."""
    return squared(read_rgb(path, named_by=named_by), side)


def squared(image: Image.Image, side: int) -> Image.Image:
    """Returns the largest square at an image's centre, ``side`` pixels wide, resized bilinearly with antialiasing.

    That is the shorter side resized to ``side`` and then a centre crop, without making the long side on the way.
    """
    return ImageOps.fit(image, (side, side), Image.Resampling.BILINEAR)


def read_rgb(path: Path, *, named_by: str = "dataset.directory") -> Image.Image:
    """Reads an image, upright, in RGB.

    Of an animation the first frame is taken. Transparent places become white. A rotation in the EXIF data is applied.

    Args:
      path: the file.
      named_by: the setting or flag that errors name.

    Raises:
      InputError: the file cannot be opened, is no image, is damaged, or has more pixels than Pillow deems harmless.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; the pixels are what counts here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                image.load()
                return _to_rgb(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise InputError(f"{named_by}: {path} is not an image that Pillow can read") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(
            f"{named_by}: {path} has more than {Image.MAX_IMAGE_PIXELS} pixels; make it smaller first"
        ) from None
    except PermissionError:
        raise InputError(f"{named_by}: {path} cannot be read: permission denied") from None
    except FileNotFoundError:
        raise InputError(f"{named_by}: {path} does not exist") from None
    except Exception as error:  # Pillow's readers raise errors of many kinds over a damaged file
        reason = one_line(error)
        raise InputError(f"{named_by}: {path} is damaged or of an unknown kind ({reason})") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _wide_grey_to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, _WHITE)
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    if image.mode == "LAB":  # Pillow's convert() does not know it
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # None only where the image is changed in place
        return converted
    return image.convert("RGB")  # 1, L, P, RGB, CMYK, YCbCr, HSV


def _wide_grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Scales grey values of more than 8 bits. Pillow's own conversion would clip them at 255.

    Whole numbers are taken as 16 bits wide (Pillow gives some 16-bit files as mode I), fractions as shares of white.
    """
    grey = np.asarray(image).astype(np.float64)
    white = 1.0 if image.mode == "F" else 65535.0
    if not (grey.min() >= 0 and grey.max() <= white):  # also catches not-a-number
        raise ValueError(f"grey values from {grey.min():g} to {grey.max():g}, known is 0 to {white:g}")
    return Image.fromarray(np.round(grey * (255 / white)).astype(np.uint8))
