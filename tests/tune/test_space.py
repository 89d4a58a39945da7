"""What may be searched, and how it is written."""

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.tune.space import Choice, Range, default, parse, space_of


@pytest.fixture(scope="module")
def config():
    return settings.load("digits:chimeramix_grid")


def test_ranges_and_choices_have_the_types_of_their_settings(config):
    text = (
        "classifier.learning_rate=0.003:0.3:log, classifier.epochs=5:20,augment.policy=none|trivialaugment,"
        "augment.cutout=true|false,classifier.batch_size=8|16,classifier.dropout_rate=0:0.5"
    )
    assert space_of(parse(text), config) == (
        Range("classifier.learning_rate", 0.003, 0.3, True, False),
        Range("classifier.epochs", 5, 20, False, True),
        Choice("augment.policy", ("none", "trivialaugment")),
        Choice("augment.cutout", (True, False)),
        Choice("classifier.batch_size", (8, 16)),
        Range("classifier.dropout_rate", 0.0, 0.5, False, False),
    )


def test_a_space_is_read_as_it_is_written(config):
    for dimension in space_of(default(config), config):
        assert space_of({dimension.key: dimension.text}, config) == (dimension,)


def test_a_config_file_may_list_values_that_have_commas(config):
    (sides,) = space_of({"classifier.growing_sides": ["", "8:0.4,12:0.3"]}, config)
    assert sides == Choice("classifier.growing_sides", ("", "8:0.4,12:0.3"))


def test_an_end_that_a_setting_excludes_is_left_out(config):
    (probability,) = space_of({"mixing.probability": "0:1"}, config)
    assert 0 < probability.low < 1e-300 and probability.high == 1 and probability.text == "0:1"
    (dropout,) = space_of({"classifier.dropout_rate": "0:1"}, config)
    assert dropout.low == 0 and 0.999 < dropout.high < 1


def test_numbers_that_were_drawn_are_rounded_within_the_range(config):
    (rate,) = space_of({"classifier.learning_rate": "0.0123456:0.5"}, config)
    assert rate.value(0.0123457) == 0.0123456 and rate.value(0.123456) == 0.123
    (epochs,) = space_of({"classifier.epochs": "1:2000"}, config)
    assert epochs.value(1234) == 1234 and isinstance(epochs.value(1234), int)


def test_the_default_space_has_the_probability_of_mixing_only_if_there_is_any(config):
    assert "mixing.probability" in default(config)
    baseline = settings.load("digits:baseline")
    described = default(baseline)
    assert "mixing.probability" not in described
    assert described["classifier.learning_rate"] == "0.01:1:log" and described["classifier.epochs"] == "10:40:log"
    assert len(space_of(described, baseline)) == 4


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "--search: is empty"),
        (" , ", "--search: is empty"),
        ("0.1:0.2", "--search: '0.1:0.2' is not allowed; it must be KEY="),
        ("classifier.learnin_rate=1:2", "did you mean classifier.learning_rate?"),
        ("classifier=1:2", "classifier: this is a group of settings"),
        ("classifier.epochs=1:2,classifier.epochs=3:4", "classifier.epochs: is given twice"),
        ("seed=0:5", "seed: cannot be searched"),
        ("max_labels_per_class=5:10", "max_labels_per_class: cannot be searched"),
        ("dataset.image_side=8:16", "dataset.image_side: cannot be searched"),
        ("generator.learning_rate_drops=0.1|0.2", "generator.learning_rate_drops: cannot be searched"),
        ("classifier.learning_rate=0.3:0.003", "classifier.learning_rate: '0.3:0.003' is empty"),
        ("classifier.learning_rate=0.3:0.3", "classifier.learning_rate: '0.3:0.3' is empty"),
        ("classifier.weight_decay=0:0.01:log", "classifier.weight_decay: '0:0.01:log' is not allowed; with :log"),
        ("classifier.learning_rate=-1:1", "classifier.learning_rate: -1.0 is not allowed; it must be a number above"),
        ("classifier.learning_rate=1:inf", "classifier.learning_rate: '1:inf' is not allowed"),
        ("classifier.learning_rate=low:high", "classifier.learning_rate: 'low:high' is not allowed"),
        ("classifier.learning_rate=0.1:0.2:0.3", "classifier.learning_rate: '0.1:0.2:0.3' is not allowed"),
        ("classifier.epochs=1.5:3", "classifier.epochs: '1.5:3' is not allowed; it must be LOW:HIGH or"),
        ("classifier.image_side=16:32", "classifier.image_side: 17 is not allowed; it must be a multiple of 4"),
        ("classifier.epochs=1|two", "classifier.epochs: 'two' is not allowed"),
        ("augment.policy=none|foo", "augment.policy: 'foo' is not allowed; it must be one of"),
        ("augment.policy=none|none", "augment.policy: 'none' is given twice"),
        ("augment.policy=none", "augment.policy: 'none' leaves nothing to search"),
        ("augment.policy=a:b", "augment.policy: 'a:b' is a range, but its values are not numbers"),
        ("augment.cutout=0:1", "augment.cutout: '0:1' is a range, but"),
        ("mixing.mix_size=2:64", "mixing.mix_size: cannot be 64 in this search, because"),
        ("classifier.model=wrn-10-1|wrn-11-1", "classifier.model: cannot be 'wrn-11-1' in this search"),
    ],
)
def test_what_cannot_be_searched_is_one_line_that_names_the_setting(config, text, named):
    with pytest.raises(InputError) as error:
        space_of(parse(text), config)
    assert named in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["mixing.probability=0.1:0.5", "generator.epochs=1:5", "classifier.tvmf_kappa=1:32"])
def test_settings_without_effect_are_refused(key):
    with pytest.raises(InputError, match="has no effect"):
        space_of(parse(key), settings.load("digits:baseline"))
