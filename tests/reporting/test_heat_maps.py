import numpy as np
from PIL import Image

from chimeramix_jax.reporting import heat_maps


def colours(heat, side=40):
    picture = Image.new("RGB", (side, side), (128, 128, 128))
    return np.asarray(heat_maps.overlay(picture, np.array(heat, np.float32))).astype(int)


def test_positive_places_are_orange_negative_ones_blue_and_neutral_ones_grey():
    pixels = colours([[2.0, 0.0], [0.0, -2.0]])
    red, _, blue = pixels[0, 0]
    assert red > blue + 100
    red, _, blue = pixels[-1, -1]
    assert blue > red + 100
    assert len(set(pixels[0, -1])) == len(set(pixels[-1, 0])) == 1


def test_the_colour_is_proportional_to_the_value_and_relative_to_the_strongest_place():
    def strength(pixels):
        return pixels[..., 0] - pixels[..., 2]

    whole, half = strength(colours([[4.0, 2.0]]))[0, [0, -1]]
    assert abs(half - whole / 2) <= 1
    np.testing.assert_array_equal(colours([[4.0, -2.0]]), colours([[0.4, -0.2]]))


def test_a_map_of_zeros_leaves_the_picture_grey():
    pixels = colours(np.zeros((3, 3)))
    assert np.ptp(pixels, axis=2).max() == 0 and np.ptp(pixels) == 0


def test_the_interpolation_keeps_the_balance_of_the_colours():
    values = np.random.default_rng(0).uniform(0, 1, (4, 4))
    values[0, 0] = 1.0
    strength = colours(values, side=64)
    share = (strength[..., 0] - strength[..., 2]).mean() / (strength[0, 0, 0] - strength[0, 0, 2])
    assert abs(share - values.mean()) < 0.01


def test_a_large_image_is_cropped_to_its_centre_and_reduced():
    image = Image.new("RGB", (900, 300), (255, 0, 0))
    image.paste((0, 0, 255), (300, 0, 600, 300))
    square = heat_maps.square_picture(image, 100)
    assert square.size == (100, 100)
    assert np.all(np.asarray(square)[:, 1:-1] == (0, 0, 255))


def test_a_small_image_is_enlarged_without_smoothing():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    square = heat_maps.square_picture(Image.fromarray(pixels), 320)
    assert square.size == (320, 320)
    np.testing.assert_array_equal(np.asarray(square)[::40, ::40], pixels[:, 1:9])


def test_names_that_no_font_can_draw_do_not_spoil_the_caption():
    picture = Image.new("RGB", (100, 100))
    drawn = heat_maps.captioned_pair(picture, picture, "speaks for \U00013000", "speaks for cat")
    asked = heat_maps.captioned_pair(picture, picture, "speaks for ?", "speaks for cat")
    assert drawn.width > 200 and drawn.height > 100
    assert np.array_equal(np.asarray(drawn), np.asarray(asked))
