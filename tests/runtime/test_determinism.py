import os
import subprocess
import sys

import pytest
from conftest import ROOT

from chimeramix_jax.config import defaults
from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime import backend, determinism

FLAG = "--xla_gpu_deterministic_ops=true"


@pytest.fixture
def config():
    config = defaults.get_config()
    config.deterministic = True
    return config


def test_the_flag_for_deterministic_operations_is_added_once_to_those_already_set(config, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    for _ in range(2):
        determinism.ask_for(config)
    assert os.environ["XLA_FLAGS"] == f"--xla_backend_optimization_level=0 {FLAG}"


def test_no_flag_is_set_by_default(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    determinism.ask_for(defaults.get_config())
    assert "XLA_FLAGS" not in os.environ


def test_the_installed_xla_knows_the_flag():
    program = "import jax; print(jax.numpy.ones(3).sum())"
    environment = os.environ | {"XLA_FLAGS": FLAG}
    process = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert process.returncode == 0, process.stderr
    environment["XLA_FLAGS"] = "--xla_gpu_no_such_operations=true"
    unknown = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert unknown.returncode != 0 and "Unknown flag" in unknown.stderr


def test_a_deterministic_run_on_a_gpu_without_the_flag_is_refused(config, monkeypatch):
    monkeypatch.setattr(backend, "determinism_needs_flag", lambda: True)
    monkeypatch.setenv("XLA_FLAGS", "")
    with pytest.raises(InputError, match=f"deterministic: true.*XLA_FLAGS={FLAG}"):
        determinism.check(config)
    determinism.ask_for(config)
    determinism.check(config)
