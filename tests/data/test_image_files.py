import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from chimeramix_jax.data.image_files import read_square_rgb
from chimeramix_jax.errors import InputError


def read(path, side=8):
    return np.asarray(read_square_rgb(path, side))


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
def test_every_mode_becomes_the_rgb_that_one_sees(tmp_path, image, name, expected):
    pixels = read(saved(tmp_path, image, name))
    assert pixels.shape == (8, 8, 3)
    assert (pixels == expected).all()


def test_palettes_are_resolved_and_their_transparent_colour_is_white(tmp_path):
    image = plain("P", 0)
    image.putpalette([255, 0, 0, 0, 255, 0])
    image.paste(1, (4, 0, 8, 8))
    path = saved(tmp_path, image, "x.png", transparency=1)
    assert read(path)[0].tolist() == [[255, 0, 0]] * 4 + [[255, 255, 255]] * 4


def test_a_jpeg_in_cmyk_has_its_colours(tmp_path):
    pixels = read(saved(tmp_path, plain("CMYK", (0, 255, 255, 0)), "x.jpg")).astype(int)
    assert np.abs(pixels - (255, 0, 0)).max() < 8


def test_lab_is_converted(tmp_path):
    rgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.profileToProfile(plain("RGB", (200, 40, 60)), rgb, lab, outputMode="LAB")
    assert np.abs(read(saved(tmp_path, image, "x.tif")).astype(int) - (200, 40, 60)).max() < 6


def test_the_rotation_that_a_camera_noted_is_applied(tmp_path):
    image = plain("RGB", (255, 255, 255))
    image.paste((0, 0, 0), (0, 0, 8, 4))  # upper half black, to be turned clockwise by 90 degrees
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = read(saved(tmp_path, image, "x.png", exif=exif))
    assert (pixels[:, :4] == 255).all()
    assert (pixels[:, 4:] == 0).all()


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
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


def test_a_thin_long_image_is_enlarged_without_its_length(tmp_path):
    assert read(saved(tmp_path, plain("L", 7, (60000, 1)), "x.png"), side=64).shape == (64, 64, 3)


@pytest.mark.parametrize("name", ["x.jpg", "x.png", "x.gif", "x.tif"])
def test_a_truncated_file_is_named(tmp_path, random_images, name):
    path = saved(tmp_path, Image.fromarray(random_images(1, 64)[0]), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"dataset.directory: \S*/{name} is ") as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_image_is_named(tmp_path):
    (tmp_path / "notes.jpg").write_text("not an image")
    with pytest.raises(InputError, match=r"/notes.jpg is not an image that Pillow can read"):
        read(tmp_path / "notes.jpg")


@pytest.mark.parametrize("limit", [100, 40])  # Pillow warns above its limit and refuses above twice its limit
def test_an_image_with_more_pixels_than_pillow_allows_is_named(tmp_path, monkeypatch, limit):
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


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(InputError, match=r"/x.png cannot be read: permission denied"):
        read(tmp_path / "x.png")


@pytest.mark.parametrize("value", [-1.0, 2.0, float("nan")])
def test_grey_values_of_unknown_scale_are_refused(tmp_path, value):
    path = saved(tmp_path, Image.fromarray(np.full((8, 8), value, np.float32)), "x.tif")
    with pytest.raises(InputError, match="grey values from"):
        read(path)
