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


@pytest.mark.parametrize("text", ["{", "", "[1, 2]"])
def test_damaged_stored_settings_are_refused(text):
    with pytest.raises(InputError, match="stored settings"):
        settings.from_json(text)
