"""Settings in stored files."""

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError


def test_settings_from_json_have_tuples_and_none_and_are_valid(config):
    back = settings.from_json(settings.to_json(config))
    assert settings.flatten(back) == settings.flatten(config)
    assert back.generator.learning_rate_drops == (0.3, 0.6, 0.8)
    assert back.max_labels_per_class is None
    settings.check(back)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({"classifier": 5}, "classifier: 5 is not allowed; it must be a group, with classifier."),
        ({"classifier": [1]}, "classifier: [1] is not allowed; it must be a group"),
        ({"seed": {"a": 1}}, "seed: is a group; it must be a whole number from 0"),
        ({"mixing": {"mask": {"a": {"b": 1}}}}, "mixing.mask: is a group; it must be one of"),
        ({"other": {"a": 1}, "other.a": {"b": 2}}, "other.a: 1 is not allowed; it must be a group, with other.a.b"),
        ({"seed": "x"}, "seed: 'x' is not allowed; it must be a whole number from 0"),
        ({"mixing": {"mask": "nosuch"}}, "mixing.mask: 'nosuch' is not allowed; it must be one of grid"),
        ({"seed": None}, "seed: None is not allowed; it must be a whole number from 0"),
        ({"mixing": {"mask_code": ["x"]}}, "mixing.mask_code: ('x',) is not allowed; it must be text"),
        ({"classifier": {"learning_rate": float("nan")}}, "classifier.learning_rate: nan is not allowed"),
        (5, "its settings are of the type int; they must be a JSON object"),
    ],
)
def test_stored_settings_of_another_structure_or_value_are_refused(stored, message):
    with pytest.raises(InputError) as error:
        settings.from_dict(stored, "runs/mine/config.json")
    assert str(error.value).startswith(f"runs/mine/config.json: {message}")


@pytest.mark.parametrize("text", ["{", "", "[1, 2]", "[" * 100_000])
def test_damaged_stored_settings_are_refused(text):
    with pytest.raises(InputError, match="stored settings"):
        settings.from_json(text)
