"""Any image file that Pillow reads -> an RGB image, as it is or square and of a given size."""

import functools
import io
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from chimeramix_jax.data import image_metadata
from chimeramix_jax.errors import InputError, one_line

_WHITE = (255, 255, 255, 255)


# By what the orientation in the EXIF data says.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableImageError(InputError):
    """A file cannot be read as an image; ``path`` is which, and ``reason`` why, to follow the path in a sentence."""

    def __init__(self, named_by: str, path: Path, reason: str):
        """Makes the line; ``named_by`` is the setting or flag that the file comes from."""
        super().__init__(f"{named_by}: {path} {reason}")
        self.path, self.reason = path, reason


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

    Of an animation the first frame is taken. Transparent places become white. A rotation in the EXIF data is applied
    where it can be read; what else stands beside the pixels may be damaged.

    Args:
      path: the file.
      named_by: the setting or flag that errors name.

    Raises:
      UnreadableImageError: the file cannot be opened, is no image, is damaged, or has more pixels than Pillow deems
        harmless.
    """
    unreadable = functools.partial(UnreadableImageError, named_by, path)
    reads_heic = _read_heic_where_possible()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; the pixels are what counts here
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _upright_rgb(path)
    except UnidentifiedImageError:
        if _is_heic(path) and reads_heic:
            raise unreadable("is a HEIC photo, but damaged or of a kind that pillow-heif does not read") from None
        if _is_heic(path):
            raise unreadable("is a HEIC photo, which the package pillow-heif reads: pip install pillow-heif") from None
        raise unreadable("is not an image that Pillow can read") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise unreadable(f"has more than {Image.MAX_IMAGE_PIXELS} pixels; make it smaller first") from None
    except PermissionError:
        raise unreadable("cannot be read: permission denied") from None
    except FileNotFoundError:
        raise unreadable("does not exist") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise errors of many kinds over a damaged file
        raise unreadable(f"is damaged or of an unknown kind ({one_line(error)})") from error


def _upright_rgb(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return _to_rgb(_upright(image))
    except Exception as error:  # perhaps only of what stands beside the pixels
        if isinstance(error, OSError) and not isinstance(error, UnidentifiedImageError):
            raise  # the file is cut off, or cannot be opened
        content = path.read_bytes() if image_metadata.can_be_left_out(_start(path)) else b""
        bare = image_metadata.without(content)
        if bare is None or isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
            raise
        with Image.open(io.BytesIO(bare)) as image:
            image.load()
            return _to_rgb(_turned(image, image_metadata.orientation(content)))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return _turned(image, image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # too damaged to say what is up; Pillow raises errors of many kinds here too
        return image


def _turned(image: Image.Image, orientation: object) -> Image.Image:
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


@functools.cache
def _read_heic_where_possible() -> bool:
    """Lets Pillow read HEIC photos, as phones take them; False where the package for that is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _is_heic(path: Path) -> bool:
    start = _start(path)
    return start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


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


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(12)
