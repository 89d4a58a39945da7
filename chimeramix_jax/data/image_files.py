"""Reads image files in any format that Pillow knows as RGB images."""

import functools
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin, UnidentifiedImageError

from chimeramix_jax.data import image_metadata, pillow_warnings
from chimeramix_jax.data.image_paths import MOST_NAMED, is_raw
from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.runtime import invocation

_WHITE = (255, 255, 255, 255)
_RUN_OTHER_PROGRAMS = ("EPS",)  # formats that Pillow leaves to another program, here Ghostscript
# What strangers may send. Pillow decodes others, such as FITS, in Python, which takes minutes for a small file.
_OF_PHOTOS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF")
_OF_PHOTOS_IN_WORDS = "JPEG, PNG, WebP, GIF, BMP (not compressed), TIFF, AVIF or HEIC"
_ROWS_TOGETHER = 64  # of a wide grey image that are converted in float64 at the same time
_START = 12  # bytes of a file that tell formats apart

_Source = Path | io.BytesIO  # a file, or the content of a file

# By the orientation in the EXIF data.
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
    """A file cannot be read as an image. ``reason`` continues a sentence that begins with ``path``."""

    def __init__(self, named_by: str, path: Path, reason: str, of_several: str, *, says_what_to_do: bool = False):
        """Creates the message.

        Args:
            named_by: the setting or flag that names the file.
            path: the file.
            reason: continues a sentence that begins with the path.
            of_several: the same for a sentence that begins with a number of files.
            says_what_to_do: whether the reason says what to do about it.
        """
        super().__init__(f"{named_by}: {path} {reason}")
        self.path, self.reason, self.of_several, self.says_what_to_do = path, reason, of_several, says_what_to_do


class UnreadableFilesError(InputError):
    """Some of a user's own images cannot be read; the message says why, and names the first."""


def unreadable_files(named_by: str, errors: Sequence[UnreadableImageError]) -> UnreadableFilesError:
    """Returns an error about all of a user's own images that cannot be read, by reason; it names at most five."""
    repair = "" if all(error.says_what_to_do for error in errors) else "repair or remove them, "
    advice = f"{repair}or skip them with --config.dataset.skip_unreadable"
    if len(errors) == 1:
        return UnreadableFilesError(f"{errors[0]} ({advice.replace('them', 'it')})")
    by_reason: dict[str, list[UnreadableImageError]] = {}
    for error in errors:
        by_reason.setdefault(error.reason, []).append(error)
    groups, left = list(by_reason.values()), MOST_NAMED
    listed = []
    for others, group in zip(reversed(range(min(len(groups), MOST_NAMED))), groups, strict=False):
        named = [str(error.path) for error in group[: left - others]]  # so that every other reason gets a file, too
        left -= len(named)
        more = f" and {len(group) - len(named)} more" if len(named) < len(group) else ""
        reason = group[0].reason if len(group) == 1 else group[0].of_several
        listed.append(f"{len(group)} {reason} ({', '.join(named)}{more})")
    if other := sum(map(len, groups[MOST_NAMED:])):
        listed.append(f"{other} cannot be read for other reasons")
    if len(errors) > MOST_NAMED:
        advice += "; --stage=check lists all of them in check.json"
    return UnreadableFilesError(f"{named_by}: {len(errors)} files cannot be read: {'; '.join(listed)}; {advice}")


def read_rgb(path: Path, *, named_by: str = "dataset.directory") -> Image.Image:
    """Reads an image as RGB, upright; raises UnreadableImageError, which names a setting or flag, if it cannot.

    Returns the first frame of an animation. Transparent pixels become white. The orientation in the EXIF data is
    applied if it can be read; other metadata may be damaged.
    """
    return _read(path, path, named_by)


def read_uploaded_rgb(content: bytes, name: str, *, named_by: str) -> Image.Image:
    """Returns what ``read_rgb`` would return for a file with this content, which may come from anybody.

    Only common formats of photos are read.
    """
    return _read(io.BytesIO(content), Path(name), named_by, _OF_PHOTOS)


def read_rgb_content(content: bytes, name: str, *, named_by: str) -> Image.Image:
    """Returns what ``read_rgb`` would return for a file with this content.

    Formats that Pillow passes to other programs are not read.
    """
    return _read(io.BytesIO(content), Path(name), named_by)


def _read(source: _Source, name: Path, named_by: str, formats: Sequence[str] | None = None) -> Image.Image:
    """Reads an image, of these formats of Pillow only; in errors, its file is called ``name``."""
    unreadable = functools.partial(UnreadableImageError, named_by, name)
    if is_raw(name.name):  # Pillow would read the small preview in many of them
        convert = "to JPEG, PNG or TIFF first"
        raise unreadable(
            f"is a camera raw file, which is not read; convert it {convert}",
            f"are camera raw files, which are not read; convert them {convert}",
            says_what_to_do=True,
        )
    reads_heic = _enable_heic_if_installed()
    try:
        with pillow_warnings.handled():
            return _upright_rgb(source, formats)
    except UnidentifiedImageError:
        if _is_heic(source) and reads_heic:
            kind = "but damaged or of a kind that pillow-heif does not read"
            raise unreadable(f"is a HEIC photo, {kind}", f"are HEIC photos, {kind}") from None
        if _is_heic(source):
            # Who uploads a photo can install nothing here, and need not know where this program's Python is.
            at = " on the server; send a JPEG instead"
            here = f": {invocation.installing('pillow-heif')}" if formats is None else at
            package = f"the package pillow-heif{here}"
            raise unreadable(
                f"is a HEIC photo, which needs {package}",
                f"are HEIC photos, which need {package}",
                says_what_to_do=True,
            ) from None
        if formats is not None:
            kinds = _OF_PHOTOS_IN_WORDS
            raise unreadable(f"is not an image as {kinds}", f"are not images as {kinds}") from None
        raise unreadable("is not an image that Pillow can read", "are not images that Pillow can read") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        pixels = f"more than {Image.MAX_IMAGE_PIXELS} pixels"
        raise unreadable(
            f"has {pixels}; reduce its size first", f"have {pixels}; reduce their size first", says_what_to_do=True
        ) from None
    except PermissionError:
        denied = "cannot be read: permission denied"
        raise unreadable(denied, denied) from None
    except FileNotFoundError:
        raise unreadable("does not exist", "do not exist") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow's readers raise errors of many classes for a damaged file
        kind = f"damaged or of an unknown kind ({one_line(error)})"
        raise unreadable(f"is {kind}", f"are {kind}") from error


def upright_rgb(image: Image.Image) -> Image.Image:
    """Returns an image that has been opened or made with Pillow as ``read_rgb`` would return its file.

    Raises errors of many classes if it has not been loaded yet and its file is damaged.
    """
    with pillow_warnings.handled():
        image.load()
        turned = _upright(image)
        return _to_rgb(_inverted(turned) if _has_white_as_zero(image) else turned)


def _upright_rgb(source: _Source, formats: Sequence[str] | None) -> Image.Image:
    try:
        if isinstance(source, io.BytesIO):
            with Image.open(source, formats=_safe_formats(formats)) as image:
                if formats is not None and any(tile[0] in Image.DECODERS for tile in getattr(image, "tile", ())):
                    raise UnidentifiedImageError("a kind that Pillow decodes in Python, such as BMP with run lengths")
                return upright_rgb(image)
        # Given a path, Pillow maps some files into memory, and then reads TIFF files that are to be turned wrongly.
        with source.open("rb") as file, Image.open(file) as image:
            return upright_rgb(image)
    except Exception as error:  # perhaps only the metadata are damaged
        if isinstance(error, OSError) and not isinstance(error, UnidentifiedImageError):
            raise  # the file is truncated, or cannot be opened
        content = _bytes(source) if image_metadata.can_be_left_out(_bytes(source, _START)) else b""
        bare = image_metadata.without(content)
        if bare is None or isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
            raise
        with Image.open(io.BytesIO(bare), formats=_safe_formats(formats)) as image:
            image.load()
            return _to_rgb(_turned(image, image_metadata.orientation(content)))


def _has_white_as_zero(image: Image.Image) -> bool:
    """Whether an opened image is 16-bit grey whose values fall with brightness; Pillow only inverts those of 8 bits."""
    tags = getattr(image, "tag_v2", {})  # only TIFF has them
    return image.mode.startswith("I;16") and tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0


def _inverted(image: Image.Image) -> Image.Image:
    """Returns a 16-bit grey image with its values reversed."""
    return Image.fromarray(np.iinfo(np.uint16).max - np.asarray(image, np.uint16))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return _turned(image, image.getexif().get(ExifTags.Base.Orientation))
    except Exception:  # the EXIF data are damaged; Pillow raises errors of many classes here too
        return image


def _turned(image: Image.Image, orientation: object) -> Image.Image:
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


@functools.cache
def _enable_heic_if_installed() -> bool:
    """Makes Pillow read HEIC photos, a common format of phones; returns False if pillow-heif is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _safe_formats(among: Sequence[str] | None) -> list[str]:
    """Returns the formats that Pillow reads itself, all or those among the given ones."""
    Image.init()  # the formats are only known once all of Pillow's plugins are loaded
    return [name for name in Image.ID if name not in _RUN_OTHER_PROGRAMS and (among is None or name in among)]


def _is_heic(source: _Source) -> bool:
    start = _bytes(source, _START)
    return start[4:8] == b"ftyp" and start[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return _wide_grey_to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, _WHITE)
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    if image.mode == "LAB":  # not supported by Pillow's convert()
        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
        assert converted is not None  # None only if the image is changed in place
        return converted
    return image.convert("RGB")  # 1, L, P, RGB, CMYK, YCbCr, HSV


def _wide_grey_to_8_bits(image: Image.Image) -> Image.Image:
    """Scales grey values of more than 8 bits, which Pillow's own conversion would clip at 255.

    Integers are assumed to have 16 bits (Pillow reads some 16-bit files as mode I), and floats to be from 0 to 1.
    """
    grey, white = np.asarray(image), 1.0 if image.mode == "F" else 65535.0
    least, most = float(grey.min()), float(grey.max())
    if not (least >= 0 and most <= white):  # also catches not-a-number
        raise ValueError(f"grey values from {least:g} to {most:g}, expected 0 to {white:g}")
    scaled = np.empty(grey.shape, np.uint8)
    for start in range(0, len(grey), _ROWS_TOGETHER):  # as float64 takes eight bytes per pixel
        rows = slice(start, start + _ROWS_TOGETHER)
        scaled[rows] = np.round(grey[rows].astype(np.float64) * (255 / white))
    return Image.fromarray(scaled)


def _bytes(source: _Source, most: int | None = None) -> bytes:
    """Returns the first ``most`` bytes of a file; None: all of them."""
    if isinstance(source, io.BytesIO):
        return source.getvalue()[:most]
    with source.open("rb") as file:
        return file.read(-1 if most is None else most)
