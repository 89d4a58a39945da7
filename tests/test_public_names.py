"""The names that ``import chimeramix_jax`` offers."""

import subprocess
import sys

import pytest
from conftest import ROOT

import chimeramix_jax

LISTED_WITHOUT_JAX = """
import sys
import chimeramix_jax
assert set(chimeramix_jax.__all__) <= set(dir(chimeramix_jax)), dir(chimeramix_jax)
assert "jax" not in sys.modules
"""


def test_dir_lists_the_public_names_before_anything_is_imported():
    command = [sys.executable, "-c", LISTED_WITHOUT_JAX]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("name", chimeramix_jax.__all__)
def test_every_public_name_is_a_documented_function_or_class(name):
    function = getattr(chimeramix_jax, name)
    assert callable(function) and function.__name__ == name and function.__doc__


def test_another_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = chimeramix_jax.nosuch
