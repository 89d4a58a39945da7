import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.config import defaults
from chimeramix_jax.errors import InputError


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", ()),
        ("16:0.5", ((16, 0.5),)),
        ("16:0.4,24:0.3", ((16, 0.4), (24, 0.3))),
        (" 8: .25, 28 :0.7", ((8, 0.25), (28, 0.7))),
        ("1/2:0.4,3/4:0.3", ((16, 0.4), (24, 0.3))),
        ("1/3:0.4,20:0.3", ((12, 0.4), (20, 0.3))),
    ],
)
def test_growing_sides_are_parsed_in_order(text, pairs):
    assert settings.parse_growing_sides(text, 32) == pairs


@pytest.mark.parametrize(
    ("image_side", "pairs"),
    [(96, ((48, 0.25), (72, 0.5))), (12, ((8, 0.75),)), (8, ())],
)
def test_fractions_follow_the_side_and_coincide_where_it_is_small(image_side, pairs):
    assert settings.parse_growing_sides("1/2:0.25,3/4:0.5", image_side) == pairs


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("16", "it must be growing sides"),
        ("16:", "it must be growing sides"),
        ("16:0", "it must be growing sides"),
        ("16:1", "it must be growing sides"),
        ("16:40%", "it must be growing sides"),
        ("16:-0.4", "it must be growing sides"),
        ("16:0.4,,24:0.3", "it must be growing sides"),
        ("١٦:0.4", "it must be growing sides"),
        ("16:0.4,24:0.3,32:0.3", "has a side of 32; it must be a multiple of 4 from 8 to 1024, below image_side (32)"),
        ("18:0.4", "has a side of 18"),
        ("4/4:0.4", "has a side of 4/4; a fraction of image_side must be below 1"),
        ("1/0:0.4", "it must be growing sides"),
        ("3/4:0.4,1/2:0.3", "has 16 after 24; the sides must grow"),
        ("1/2:0.7,3/4:0.3", "leaves no steps for image_side (32)"),
        ("4:0.4", "has a side of 4"),
        ("24:0.4,16:0.3", "has 16 after 24; the sides must grow"),
        ("16:0.4,16:0.3", "has 16 after 16; the sides must grow"),
        ("16:0.7,24:0.3", "leaves no steps for image_side (32)"),
    ],
)
def test_growing_sides_that_cannot_be_used_are_refused_in_one_line(text, part):
    config = defaults.get_config()
    config.classifier.growing_sides = text
    with pytest.raises(InputError) as caught:
        settings.check(config)
    message = str(caught.value)
    assert message.startswith(f"classifier.growing_sides: {text!r} ") and part in message and "\n" not in message


def test_the_side_that_the_sides_grow_to_is_the_classifiers():
    config = defaults.get_config()
    config.update_from_flattened_dict({"classifier.growing_sides": "48:0.9", "classifier.image_side": 96})
    settings.check(config)
