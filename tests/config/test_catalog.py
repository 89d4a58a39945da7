import pytest

from chimeramix_jax.config.catalog import DATASET_NAMES, dataset_entry, native_image_side
from chimeramix_jax.errors import InputError


def test_an_unknown_name_is_refused_with_the_allowed_names_and_a_suggestion():
    with pytest.raises(InputError) as caught:
        dataset_entry("cifar-10")
    message = str(caught.value)
    assert message.startswith("dataset.name: 'cifar-10'")
    assert all(name in message for name in DATASET_NAMES)
    assert "did you mean 'cifar10'?" in message
    assert "\n" not in message


def test_a_name_unlike_all_others_gets_no_suggestion():
    with pytest.raises(InputError) as caught:
        dataset_entry("mnist")
    assert "did you mean" not in str(caught.value)


def test_properties_equal_those_of_the_published_data_sets():
    traits = {name: (dataset_entry(name).image_side, dataset_entry(name).classes) for name in DATASET_NAMES}
    assert traits == {
        "digits": (8, 10),
        "cifair10": (32, 10),
        "cifair100": (32, 100),
        "cifar10": (32, 10),
        "cifar100": (32, 100),
        "stl10": (96, 10),
        "image_folder": (None, None),
        "cub": (None, 200),
        "isic2018": (None, 7),
        "eurosat": (None, 10),
        "clamm": (None, 12),
    }
    assert native_image_side("stl10") == 96
