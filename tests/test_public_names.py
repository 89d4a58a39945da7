"""The names that ``import chimeramix_jax`` offers."""

import pytest

import chimeramix_jax


@pytest.mark.parametrize("name", chimeramix_jax.__all__)
def test_every_public_name_is_a_documented_function_or_class(name):
    function = getattr(chimeramix_jax, name)
    assert callable(function) and function.__name__ == name and function.__doc__


def test_another_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = chimeramix_jax.nosuch
