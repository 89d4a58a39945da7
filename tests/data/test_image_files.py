import importlib.util
import io
import struct
import sys
import tracemalloc
import types
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from chimeramix_jax.data import image_files, image_metadata
from chimeramix_jax.data.fitting import squared
from chimeramix_jax.data.image_files import UnreadableImageError, read_rgb, read_rgb_content, read_uploaded_rgb
from chimeramix_jax.errors import InputError


def read(path, side=8):
    return np.asarray(squared(read_rgb(path), side))


def saved(tmp_path, image, name, **options):
    path = tmp_path / name
    image.save(path, **options)
    return path


def plain(mode, colour, size=(8, 8)):
    return Image.new(mode, size, colour)


@pytest.mark.parametrize(
    ("image", "name", "expected"),
    [
        (plain("RGB", (10, 20, 30)), "x.png", (10, 20, 30)),
        (plain("RGB", (10, 20, 30)), "x.bmp", (10, 20, 30)),
        (plain("L", 200), "x.png", (200, 200, 200)),
        (plain("1", 1), "x.png", (255, 255, 255)),
        (plain("RGBA", (10, 20, 30, 0)), "x.png", (255, 255, 255)),
        (plain("RGBA", (0, 0, 0, 127)), "x.png", (128, 128, 128)),
        (plain("LA", (0, 0)), "x.png", (255, 255, 255)),
        (plain("CMYK", (0, 255, 255, 0)), "x.tif", (255, 0, 0)),
        (Image.fromarray(np.full((8, 8), 25700, np.uint16)), "x.png", (100, 100, 100)),
        (Image.fromarray(np.full((8, 8), 25700, np.uint16)), "x.tif", (100, 100, 100)),
        (Image.fromarray(np.full((8, 8), 65535, np.int32)), "x.tif", (255, 255, 255)),
        (Image.fromarray(np.full((8, 8), 0.2, np.float32)), "x.tif", (51, 51, 51)),
    ],
)
def test_every_mode_is_converted_to_its_visible_colours(tmp_path, image, name, expected):
    pixels = read(saved(tmp_path, image, name))
    assert pixels.shape == (8, 8, 3)
    assert (pixels == expected).all()


def test_palettes_are_resolved_and_their_transparent_colour_is_white(tmp_path):
    image = plain("P", 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (4, 0, 8, 8))
    path = saved(tmp_path, image, "x.png", transparency=1)
    assert read(path)[0].tolist() == [[255, 0, 0]] * 4 + [[255, 255, 255]] * 4


def test_the_colours_of_a_cmyk_jpeg_are_converted(tmp_path):
    pixels = read(saved(tmp_path, plain("CMYK", (0, 255, 255, 0)), "x.jpg")).astype(int)
    assert np.abs(pixels - (255, 0, 0)).max() < 8


def test_lab_is_converted(tmp_path):
    rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(plain("RGB", (200, 40, 60)), rgb, lab, outputMode="LAB")
    assert np.abs(read(saved(tmp_path, image, "x.tif")).astype(int) - (200, 40, 60)).max() < 6


def test_the_exif_orientation_of_a_camera_is_applied(tmp_path):
    image = plain("RGB", (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 8, 4))  # upper half black, to be turned clockwise by 90 degrees
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = read(saved(tmp_path, image, "x.png", exif=exif))
    assert (pixels[:, :4] == 255).all()
    assert (pixels[:, 4:] == 0).all()


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    frames = [plain("RGB", colour) for colour in ((255, 0, 0), (0, 0, 255))]
    path = saved(tmp_path, frames[0], "x.gif", save_all=True, append_images=frames[1:])
    assert (read(path) == (255, 0, 0)).all()


@pytest.mark.parametrize("size", [(24, 8), (8, 24)])
def test_the_centre_of_a_long_image_is_kept(tmp_path, size):
    image = plain("RGB", (255, 0, 0), size)
    left, top = (size[0] - 8) // 2, (size[1] - 8) // 2
    image.paste((0, 0, 255), (left, top, left + 8, top + 8))
    assert (read(saved(tmp_path, image, "x.png")) == (0, 0, 255)).all()


def test_shrinking_averages_instead_of_skipping_pixels(tmp_path):
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    pixels = read(saved(tmp_path, Image.fromarray(stripes), "x.png"), side=8).astype(int)
    assert np.abs(pixels - 127).max() < 20


@pytest.mark.parametrize("orientation", [1, 6])
def test_grey_of_16_bits_whose_zero_is_white_is_read_like_that_of_8_bits(tmp_path, orientation):
    grey = np.linspace(0, 255, 48).astype(np.uint8).reshape(6, 8)
    black_is_zero, white_is_zero = tmp_path / "black.tif", tmp_path / "white.tif"
    Image.fromarray(grey.astype(np.uint16) * 257).save(black_is_zero, tiffinfo={262: 1, 274: orientation})
    Image.fromarray((255 - grey).astype(np.uint16) * 257).save(white_is_zero, tiffinfo={262: 0, 274: orientation})
    eight_bits = tmp_path / "eight.tif"
    Image.fromarray(grey).save(eight_bits, tiffinfo={274: orientation})
    expected = grey if orientation == 1 else np.rot90(grey, -1)
    for path in (black_is_zero, white_is_zero, eight_bits):
        np.testing.assert_array_equal(np.asarray(read_rgb(path))[..., 0], expected)


@pytest.mark.parametrize(("kind", "most"), [(np.uint16, 65535), (np.int32, 65535), (np.float32, 1)])
@pytest.mark.parametrize("height", [1, 63, 64, 65, 200])
def test_wide_grey_is_scaled_as_in_one_piece(kind, most, height):
    grey = (np.random.default_rng(height).random((height, 5)) * most).astype(kind)
    grey[0, :2] = 0, most
    expected = np.round(grey.astype(np.float64) * (255 / most)).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(image_files.upright_rgb(Image.fromarray(grey)))[..., 1], expected)


def test_wide_grey_takes_no_more_memory_than_a_few_copies_of_itself(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.full((2000, 1000), 40_000, np.uint16)), "x.tif")
    tracemalloc.start()
    assert read_rgb(path).getpixel((5, 5)) == (156, 156, 156)
    assert tracemalloc.get_traced_memory()[1] < 4 * 2 * 2000 * 1000
    tracemalloc.stop()


@pytest.mark.parametrize("value", [-0.01, 1.01, np.nan])
def test_wide_grey_of_another_range_is_refused(value):
    grey = np.full((100, 3), 0.5, np.float32)
    grey[99, 2] = value
    with pytest.raises(ValueError, match=r"grey values from \S+ to \S+, expected 0 to 1"):
        image_files.upright_rgb(Image.fromarray(grey))


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.webp", "x.gif", "x.bmp", "x.tif"])
def test_photos_of_common_formats_may_be_uploaded(tmp_path, name):
    content = saved(tmp_path, plain("L", 99), name).read_bytes()
    assert read_uploaded_rgb(content, "x", named_by="photo").getpixel((4, 4)) == pytest.approx((99, 99, 99), abs=1)


@pytest.mark.parametrize("name", ["x.ppm", "x.tga", "x.sgi", "x.ico", "x.pcx"])
def test_other_formats_may_not_be_uploaded_but_come_through_a_pipe(tmp_path, name):
    content = saved(tmp_path, plain("RGB", (9, 8, 7), (16, 16)), name).read_bytes()
    assert read_rgb_content(content, "x", named_by="--images").getpixel((4, 4)) == (9, 8, 7)
    with pytest.raises(UnreadableImageError, match=r"^photo: x is not an image as JPEG, PNG, WebP, "):
        read_uploaded_rgb(content, "x", named_by="photo")


def test_a_bitmap_of_run_lengths_which_takes_long_to_decode_may_not_be_uploaded():
    runs, colours = b"\x04\x01\x00\x00" * 4 + b"\x00\x01", bytes([0, 0, 0, 0, 7, 8, 9, 0])
    header = struct.pack("<IiiHHIIiiII", 40, 4, 4, 1, 8, 1, len(runs), 0, 0, 2, 0)
    start = 14 + len(header) + len(colours)
    content = b"BM" + struct.pack("<IHHI", start + len(runs), 0, 0, start) + header + colours + runs
    assert read_rgb_content(content, "x.bmp", named_by="--images").getpixel((3, 3)) == (9, 8, 7)
    with pytest.raises(UnreadableImageError, match=r"BMP \(not compressed\)"):
        read_uploaded_rgb(content, "x.bmp", named_by="photo")


@pytest.mark.parametrize("name", ["x.dng", "x.NEF", "x.cr3"])
def test_a_raw_file_is_refused_though_pillow_would_read_its_preview(tmp_path, name):
    Image.new("RGB", (16, 12)).save(tmp_path / name, "tiff")
    expected = "is a camera raw file, which is not read; convert it to JPEG, PNG or TIFF first"
    with pytest.raises(UnreadableImageError, match=expected):
        read_rgb(tmp_path / name, named_by="--images")
    with pytest.raises(UnreadableImageError, match=expected):
        read_uploaded_rgb((tmp_path / name).read_bytes(), name, named_by="photo")


def test_a_long_thin_image_is_enlarged_only_where_it_is_kept(tmp_path):
    assert read(saved(tmp_path, plain("L", 7, (60000, 1)), "x.png"), side=64).shape == (64, 64, 3)


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.gif", "x.tif"])
def test_a_truncated_file_is_named_in_the_error(tmp_path, random_images, name):
    path = saved(tmp_path, Image.fromarray(random_images(1, 64)[0]), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"dataset.directory: \S*/{name} is ") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_an_image_is_named_in_the_error(tmp_path):
    (tmp_path / "notes.jpg").write_text("not an image")
    with pytest.raises(InputError, match=r"/notes.jpg is not an image that Pillow can read"):
        read(tmp_path / "notes.jpg")


@pytest.mark.parametrize("limit", [100, 40])  # Pillow warns above its limit and refuses above twice its limit
def test_an_image_with_more_pixels_than_pillow_allows_is_refused(tmp_path, monkeypatch, limit):
    path = saved(tmp_path, plain("L", 0, (11, 10)), "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(InputError, match=rf"/x.png has more than {limit} pixels"):
        read(path)


def test_an_image_of_fifty_thousand_pixels_a_side_is_refused_before_it_takes_any_memory(tmp_path):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(150_001))), chunk(b"IEND", b""))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(InputError, match=r"/bomb.png has more than \d+ pixels"):
        read(tmp_path / "bomb.png")


@pytest.mark.parametrize("size", [(1, 1), (1, 5000)])
def test_an_image_one_pixel_wide_is_enlarged(tmp_path, size):
    path = saved(tmp_path, plain("RGB", (10, 20, 30), size), "x.png")
    np.testing.assert_array_equal(read(path), np.full((8, 8, 3), (10, 20, 30)))


def test_a_file_without_read_permission_is_named_in_the_error(tmp_path, monkeypatch):
    def refuse(path, *options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"/x.png cannot be read: permission denied"):
        read(tmp_path / "x.png")


@pytest.mark.parametrize("value", [-1.0, 2.0, float("nan")])
def test_grey_values_of_unknown_scale_are_refused(tmp_path, value):
    path = saved(tmp_path, Image.fromarray(np.full((8, 8), value, np.float32)), "x.tif")
    with pytest.raises(InputError, match="grey values from"):
        read(path)


def exif_of(*entries, tail=b""):
    """Builds EXIF data from entries (tag, type, count, four bytes)."""
    header = b"II*\0" + struct.pack("<IH", 8, len(entries))
    return b"Exif\0\0" + header + b"".join(struct.pack("<HHI", *one[:3]) + one[3] for one in entries) + bytes(4) + tail


SIDEWAYS = (0x0112, 3, 1, struct.pack("<HH", 6, 0))
CAMERA_FAR_AWAY = (0x010F, 2, 1000, struct.pack("<I", 99_999))


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    ("exif", "turned"),
    [
        (b"Exif\0\0garbage garbage garbage", False),
        (b"Exif\0\0II*\0\x08\0", False),
        (b"Exif\0\0", False),
        (exif_of((0x0112, 2, 4, b"six\0")), False),
        (exif_of(CAMERA_FAR_AWAY, SIDEWAYS), True),
        (exif_of(SIDEWAYS, (0x8769, 4, 1, struct.pack("<I", 99_999))), True),
        (exif_of(SIDEWAYS, (0x0131, 99, 1, b"\xff\xff\xff\xff")), True),
    ],
)
def test_damaged_exif_data_are_ignored_except_a_readable_orientation(tmp_path, ending, exif, turned):
    image = plain("RGB", (255, 255, 255), (64, 64))
    image.paste((0, 0, 0), (0, 0, 64, 32))
    pixels = read(saved(tmp_path, image, f"x.{ending}", exif=exif), side=64).astype(int)
    dark = pixels[:, 40:] if turned else pixels[:24]
    light = pixels[:, :24] if turned else pixels[40:]
    assert dark.max() < 50 and light.min() > 200


def with_chunk(png, kind, content, *, checksum=None):
    """Inserts a chunk before the pixels of a PNG file."""
    checksum = zlib.crc32(kind + content) if checksum is None else checksum
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
    return png[:33] + chunk + png[33:]


def test_long_and_damaged_comments_are_ignored(tmp_path):
    image = plain("RGB", (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 8, 4))
    png = saved(tmp_path, image, "x.png", exif=exif_of(SIDEWAYS)).read_bytes()
    long = b"Comment\0\0" + zlib.compress(bytes(3_000_000))
    for broken in (with_chunk(png, b"zTXt", long), with_chunk(png, b"tEXt", b"Comment\0text", checksum=1)):
        path = tmp_path / "broken.png"
        path.write_bytes(broken)
        pixels = read(path)
        assert (pixels[:, :4] == 255).all() and (pixels[:, 4:] == 0).all()


def test_damaged_pixels_beside_a_long_comment_are_still_damaged(tmp_path, random_images):
    png = saved(tmp_path, Image.fromarray(random_images(1, 64)[0]), "x.png").read_bytes()
    long = b"Comment\0\0" + zlib.compress(bytes(3_000_000))
    (tmp_path / "x.png").write_bytes(with_chunk(png, b"zTXt", long)[:-2000])
    with pytest.raises(InputError, match="damaged"):
        read(tmp_path / "x.png")


def test_unreadable_segments_of_a_jpeg_are_ignored(tmp_path, random_images):
    path = saved(tmp_path, Image.fromarray(random_images(1, 64)[0]), "x.jpg", comment=b"text", exif=exif_of(SIDEWAYS))
    content = path.read_bytes()
    bare = image_metadata.without(content)
    assert b"Exif" not in bare and b"text" not in bare and len(bare) < len(content)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(bare))), np.asarray(Image.open(path)))
    assert image_metadata.orientation(content) == 6
    assert image_metadata.without(b"GIF89a") is None and image_metadata.without(content[:30]) is None


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


@pytest.mark.parametrize("name", ["IMG_0001.HEIC", "IMG_0001.jpg"])
def test_a_heic_photo_is_refused_with_the_package_that_it_needs(tmp_path, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    image_files._enable_heic_if_installed.cache_clear()
    (tmp_path / name).write_bytes(HEIC)
    with pytest.raises(UnreadableImageError, match=f"{name} is a HEIC photo, .*pip install pillow-heif"):
        read(tmp_path / name)


def test_the_heic_package_is_used_if_installed(tmp_path, monkeypatch):
    registered = []
    package = types.SimpleNamespace(register_heif_opener=lambda: registered.append(True))
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    image_files._enable_heic_if_installed.cache_clear()
    for _ in range(2):
        read(saved(tmp_path, plain("L", 7), "x.png"))
    image_files._enable_heic_if_installed.cache_clear()
    assert registered == [True]


@pytest.mark.skipif(importlib.util.find_spec("pillow_heif") is None, reason="pillow-heif is not installed")
def test_heic_photos_are_read_upright_and_damaged_ones_named(tmp_path):
    import pillow_heif

    image = plain("RGB", (250, 250, 250), (64, 64))
    image.paste((10, 10, 200), (0, 0, 64, 32))
    sideways = Image.Exif()
    sideways[0x0112] = 6
    for name, exif in (("upright.heic", None), ("sideways.HEIC", sideways)):
        content = pillow_heif.from_pillow(image)
        content.save(tmp_path / name, quality=90, **({} if exif is None else {"exif": exif.tobytes()}))
        pixels = read(tmp_path / name, side=64).astype(int)
        blue, white = (pixels[:24], pixels[40:]) if exif is None else (pixels[:, 40:], pixels[:, :24])
        assert np.abs(blue - (10, 10, 200)).max() < 40 and np.abs(white - 250).max() < 20
    whole = (tmp_path / "upright.heic").read_bytes()
    (tmp_path / "cut.heic").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableImageError, match=r"/cut\.heic is a HEIC photo, but damaged"):
        read(tmp_path / "cut.heic")
