"""The check of every annotation while the tests run (``typechecking.py``)."""

import subprocess
import sys

import jax.numpy as jnp
import pytest
from conftest import ROOT
from jaxtyping import TypeCheckError

from chimeramix_jax.augment.geometry import normalize
from chimeramix_jax.mixing.blending import blend


def test_a_wrong_shape_is_refused():
    features = jnp.zeros((2, 4, 4, 3))
    with pytest.raises(TypeCheckError, match="mask"):
        blend(features, features, jnp.zeros((2, 4, 5, 1)))


def test_a_wrong_array_type_is_refused():
    with pytest.raises(TypeCheckError, match="images"):
        normalize(jnp.zeros((2, 4, 4, 3)))


def test_a_run_does_not_import_the_type_checker():
    program = "import sys, chimeramix_jax; chimeramix_jax.train_and_evaluate; sys.exit('beartype' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)
