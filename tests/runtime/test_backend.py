import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from conftest import ROOT
from jaxprs import products

from chimeramix_jax.errors import InputError
from chimeramix_jax.models import convolution, normalization
from chimeramix_jax.runtime import backend
from chimeramix_jax.runtime.precision import computation_dtype

# Prints every answer, and whether a convolution and a norm have the CPU's form; imports JAX last.
ANSWERS = """
from chimeramix_jax.runtime import backend
print(backend.on_accelerator(), backend.automatic_precision(), backend.uses_cpu_lowering(),
      backend.shortens_float32_products(), backend.runs_several_steps_per_call(), backend.vectorizes_seeds(),
      backend.determinism_needs_flag())
"""


@pytest.fixture
def fresh_answers():
    """Lets a test change what the answers depend on."""
    backend.on_accelerator.cache_clear()
    yield
    backend.on_accelerator.cache_clear()


def on(monkeypatch, name):
    monkeypatch.delenv("CHIMERAMIX_BACKEND", raising=False)
    monkeypatch.setattr(jax, "default_backend", lambda: name)


@pytest.mark.parametrize("name", ["gpu", "tpu"])
def test_on_an_accelerator_xla_gets_large_programs_in_few_bits(name, monkeypatch, fresh_answers):
    on(monkeypatch, name)
    assert backend.on_accelerator() and backend.shortens_float32_products()
    assert backend.automatic_precision() == "bfloat16"
    assert backend.runs_several_steps_per_call() and backend.vectorizes_seeds()
    assert not backend.uses_cpu_lowering()


def test_on_cpu_programs_are_small_and_in_float32_with_convolutions_of_our_own(monkeypatch, fresh_answers):
    on(monkeypatch, "cpu")
    assert not backend.on_accelerator() and not backend.shortens_float32_products()
    assert backend.automatic_precision() == "float32"
    assert not backend.runs_several_steps_per_call() and not backend.vectorizes_seeds()
    assert backend.uses_cpu_lowering()


@pytest.mark.parametrize(("name", "needed"), [("cpu", False), ("gpu", True), ("tpu", False)])
def test_only_a_gpu_needs_a_flag_for_determinism(name, needed, monkeypatch, fresh_answers):
    on(monkeypatch, name)
    assert backend.determinism_needs_flag() == needed


def test_the_environment_variable_makes_a_cpu_answer_as_an_accelerator_in_all_but_determinism():
    environment = os.environ | {"CHIMERAMIX_BACKEND": "accelerator", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", ANSWERS]
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert process.stdout.split() == ["True", "bfloat16", "False", "True", "True", "True", "False"], process.stderr


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            RuntimeError("Unable to initialize backend 'foo': unknown\nand more"),
            "Unable to initialize backend 'foo': unknown",
        ),
        (AssertionError(), "it is not installed"),  # of a platform whose package is missing, such as cuda
    ],
)
def test_a_platform_that_jax_cannot_use_is_named_with_the_reason_in_one_line(monkeypatch, error, reason):
    def fail():
        raise error

    monkeypatch.setattr(jax, "default_backend", fail)
    monkeypatch.setenv("JAX_PLATFORMS", "foo")
    expected = f"JAX_PLATFORMS: 'foo' cannot be used: {reason}; leave it out, or set it to cpu"
    with pytest.raises(InputError, match=f"^{expected}$"):
        backend.check()


def test_answers_do_not_change_within_a_process(monkeypatch, fresh_answers):
    on(monkeypatch, "cpu")
    assert not backend.on_accelerator()
    monkeypatch.setenv("CHIMERAMIX_BACKEND", "accelerator")
    assert not backend.on_accelerator() and backend.uses_cpu_lowering()


def test_another_value_of_the_environment_variable_is_refused(monkeypatch, fresh_answers):
    monkeypatch.setenv("CHIMERAMIX_BACKEND", "gpu")
    with pytest.raises(InputError, match="CHIMERAMIX_BACKEND: 'gpu' is not allowed; it must be accelerator"):
        backend.on_accelerator()


def test_as_on_an_accelerator_a_cpu_traces_xlas_own_convolutions_and_sums(monkeypatch, fresh_answers):
    monkeypatch.setenv("CHIMERAMIX_BACKEND", "accelerator")
    images, kernel = jnp.ones((1, 14, 14, 3)), jnp.ones((7, 7, 3, 8))

    def convolved(images, kernel):
        numbers = ("NHWC", "HWIO", "NHWC")
        return convolution.conv_general_dilated(images, kernel, (1, 1), ((3, 3), (3, 3)), dimension_numbers=numbers)

    (traced,) = products(jax.make_jaxpr(convolved)(images, kernel).jaxpr)
    assert traced.params["window_strides"] == (1, 1) and traced.invars[1].aval.shape == kernel.shape
    summed = jax.make_jaxpr(lambda values: normalization.sum_over(values, (0, 1, 2)))(images)
    assert not list(products(summed.jaxpr))
    assert computation_dtype("auto") == jnp.bfloat16


def test_only_this_module_and_the_results_ask_jax_for_its_backend():
    modules = {
        str(path.relative_to(ROOT / "chimeramix_jax"))
        for path in (ROOT / "chimeramix_jax").rglob("*.py")
        if "default_backend(" in path.read_text()
    }
    allowed = {"runtime/backend.py", "runs/provenance.py", "sweep/local.py"}  # the latter asks in another process
    assert modules <= allowed
