import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.config import defaults
from chimeramix_jax.errors import InputError


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("", ()),
        ("7", (7,)),
        ("0,1,4", (0, 1, 4)),
        ("4, 0", (4, 0)),
        ("0:5", (0, 1, 2, 3, 4)),
        ("10:12,3,5:6", (10, 11, 3, 5)),
        ("2147483647", (2147483647,)),
    ],
)
def test_seeds_are_parsed_in_order_and_ranges_exclude_their_end(text, seeds):
    assert settings.parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("0,1,0", "names 0 twice"),
        ("0:3,2", "names 2 twice"),
        ("a", "whole numbers from 0"),
        ("1.5", "whole numbers from 0"),
        ("-1", "whole numbers from 0"),
        ("1,,2", "whole numbers from 0"),
        ("0:2:4", "whole numbers from 0"),
        ("5:5", "empty range"),
        ("5:2", "empty range"),
        ("2147483648", "2147483647"),
        ("0:2000000000", "10000 at most"),
        ("٣", "whole numbers from 0"),
    ],
)
def test_invalid_seeds_are_refused_in_one_line(text, part):
    config = defaults.get_config()
    config.seeds = text
    with pytest.raises(InputError) as caught:
        settings.check(config)
    assert str(caught.value).startswith("seeds: ") and part in str(caught.value) and "\n" not in str(caught.value)


def test_the_settings_of_a_seed_equal_those_of_a_single_run():
    together, alone = defaults.get_config(), defaults.get_config()
    together.seeds = "0:5"
    alone.seed = 3
    own = settings.config_of_seed(together, 3)
    assert settings.to_json(own) == settings.to_json(alone)
    assert together.seeds == "0:5" and together.seed == 0


def test_the_division_of_seeds_over_calls_and_devices_makes_no_other_run():
    changed = defaults.get_config()
    changed.update({"devices": 2, "seeds_per_call": 3, "seeds": "1,2"})
    assert settings.differences(defaults.get_config(), changed) == []
