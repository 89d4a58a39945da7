"""Which differences between settings matter, and how they are shown."""

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.config import comparing
from tests.config.changed_settings import changed


def test_equal_settings_do_not_differ_even_after_json(config):
    assert settings.differences(settings.config_to_dict(config), config) == []
    assert settings.differences(settings.from_json(settings.to_json(config)), config) == []


def test_a_difference_shows_the_key_and_both_values(config):
    other = changed(config, "generator.epochs", 100)
    assert settings.differences(config, other) == ["generator.epochs: 200 stored, 100 requested"]


def test_a_setting_on_one_side_only_is_a_difference(config):
    without = settings.config_to_dict(config)
    del without["generator"]["channels"]
    assert settings.differences(without, config) == ["generator.channels: not set stored, 64 requested"]
    assert settings.differences(config, without) == ["generator.channels: 64 stored, not set requested"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("checkpoint.keep", 9),
        ("dataset.data_dir", "/data"),
        ("dataset.directory", "elsewhere/photos"),
        ("steps_per_call", 7),
        ("compare_with_baseline", True),
        ("on_nonfinite", "rollback"),
    ],
)
def test_settings_without_effect_on_results_make_no_difference(config, key, value):
    assert settings.differences(config, changed(config, key, value)) == []


def test_settings_of_measuring_alone_make_a_difference_only_to_training(config):
    other = changed(config, "evaluation.mirror", True)
    assert settings.differences(config, other) == ["evaluation.mirror: False stored, True requested"]
    other.evaluation.crops = 5
    assert "evaluation.crops: 1 stored, 5 requested" in settings.differences(config, other)
    assert settings.differences(config, other, measuring=True) == []
    other.generator.epochs = 3
    assert settings.differences(config, other, measuring=True) == ["generator.epochs: 200 stored, 3 requested"]


def test_details_of_pretraining_make_a_difference_only_to_runs_that_have_it(config):
    config, longer = (changed(config, "pretraining.epochs", epochs) for epochs in (200, 7))
    assert settings.differences(config, longer) == []
    assert comparing.in_digests(settings.flatten(longer)) == comparing.in_digests(settings.flatten(config))
    before = {key: value for key, value in settings.flatten(config).items() if not key.startswith("pretraining.")}
    assert comparing.in_digests(before) == comparing.in_digests(settings.flatten(config))
    some, others = (changed(one, "pretraining.method", "simclr") for one in (config, longer))
    assert settings.differences(some, others) == ["pretraining.epochs: 200 stored, 7 requested"]


def test_all_keys_listed_without_effect_on_results_exist(config):
    keys = settings.flatten(config)
    for prefix in settings.NO_EFFECT_ON_RESULTS:
        assert any(key == prefix or key.startswith(f"{prefix}.") for key in keys), prefix


def test_a_long_list_of_differences_is_shortened():
    assert settings.shortened(["a", "b", "c"]) == "a; b; c"
    assert settings.shortened(["a", "b", "c", "d", "e"]) == "a; b; c; and 2 more"
