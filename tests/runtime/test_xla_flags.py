import os
import subprocess
import sys

import jax
import pytest
from conftest import ROOT

from chimeramix_jax.runtime import xla_flags

COMPILED_CONVOLUTION = """
import sys
from chimeramix_jax.runtime import xla_flags
print(xla_flags.keep_convolutions_from_ynnpack())
import jax, jax.numpy as jnp
convolve = jax.jit(lambda x, w: jax.lax.conv_general_dilated(
    x, w, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")))
print(convolve.lower(jnp.ones((32, 34, 34, 32)), jnp.ones((3, 3, 32, 32))).compile().as_text())
"""

PRODUCTS = """
from chimeramix_jax.runtime import xla_flags
xla_flags.keep_convolutions_from_ynnpack()
import jax, jax.numpy as jnp, numpy as np
values = np.random.default_rng(0).standard_normal((64, 1024), np.float32)
sides = {
    "a number": (lambda v: jnp.full((1024, 8), 2.0), np.full((1024, 8), 2.0)),
    "a number that is given": (lambda v: jnp.broadcast_to(v[0, 0], (1024, 8)), np.full((1024, 8), values[0, 0])),
    "a row": (lambda v: jnp.broadcast_to(v[0, :8], (1024, 8)), np.tile(values[0, :8], (1024, 1))),
    "a column": (lambda v: jnp.broadcast_to(v[0][:, None], (1024, 8)), np.tile(values[0][:, None], 8)),
}
for name, (side, same) in sides.items():
    right, left = jax.jit(lambda v: (v @ side(v), side(v).T @ v.T))(values)
    np.testing.assert_allclose(right, values @ same, rtol=1e-3, atol=1e-3, err_msg=name)
    np.testing.assert_allclose(left, same.T @ values.T, rtol=1e-3, atol=1e-3, err_msg=name)
"""


FLAGS_AFTER_A_PUBLIC_NAME = """
import os
from unittest import mock
from chimeramix_jax.runtime import xla_flags
mock.patch.object(xla_flags, "version", {"jaxlib": "0.10.2"}.__getitem__).start()
import chimeramix_jax
print(os.environ.get("XLA_FLAGS"))
chimeramix_jax.restore_classifier
print(os.environ.get("XLA_FLAGS"))
"""


@pytest.fixture(autouse=True)
def no_flags(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")


def installed(monkeypatch, version):
    monkeypatch.setattr(xla_flags, "version", {"jaxlib": version}.__getitem__)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="how convolutions are computed on CPU")
def test_the_installed_xla_accepts_the_flag_and_computes_convolutions_with_its_own_library():
    command = [sys.executable, "-c", COMPILED_CONVOLUTION]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr
    was_set, program = process.stdout.split("\n", 1)
    assert "convolution(" in program
    assert was_set == "True" or jax.version.__version_info__ < (0, 10), "this flag was not tested with this JAX"
    assert "__ynn_fusion" not in program


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="how products are computed on CPU")
def test_products_with_repeated_numbers_are_right():
    command = [sys.executable, "-c", PRODUCTS]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert process.returncode == 0, process.stderr


def test_existing_flags_are_kept_and_none_is_set_twice(monkeypatch):
    installed(monkeypatch, "0.10.2")
    xla_flags.add("--xla_backend_optimization_level=0")
    assert xla_flags.keep_convolutions_from_ynnpack()
    assert not xla_flags.keep_convolutions_from_ynnpack()
    first, second = os.environ["XLA_FLAGS"].split()
    assert first == "--xla_backend_optimization_level=0" and second.startswith(
        "--xla_cpu_experimental_ynn_fusion_type="
    )


def test_the_users_choice_is_kept(monkeypatch):
    installed(monkeypatch, "0.10.2")
    chosen = "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"
    monkeypatch.setenv("XLA_FLAGS", chosen)
    assert not xla_flags.keep_convolutions_from_ynnpack()
    assert os.environ["XLA_FLAGS"] == chosen


@pytest.mark.parametrize(
    ("version", "known"), [("0.9.2", False), ("0.10.0", True), ("0.12.0.1", True), ("0.13.0", False)]
)
def test_only_versions_that_know_the_flag_get_it(version, known, monkeypatch):
    installed(monkeypatch, version)
    assert xla_flags.keep_convolutions_from_ynnpack() == known
    assert bool(os.environ["XLA_FLAGS"]) == known


def test_the_first_use_of_a_public_function_sets_the_same_flags_as_the_command_line():
    command = [sys.executable, "-c", FLAGS_AFTER_A_PUBLIC_NAME]
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    before, after = process.stdout.splitlines()
    assert (before, after) == ("None", "--xla_cpu_experimental_ynn_fusion_type=LIBRARY_FUSION_TYPE_INDIVIDUAL_DOT"), (
        process.stderr
    )
