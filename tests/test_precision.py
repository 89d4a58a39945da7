import jax
import jax.numpy as jnp
import pytest

from chimeramix_jax.precision import computation_dtype


@pytest.mark.parametrize("backend", ["cpu", "gpu", "tpu"])
@pytest.mark.parametrize(("precision", "dtype"), [("float32", None), ("bfloat16", jnp.bfloat16)])
def test_a_precision_that_is_asked_for_is_used_on_every_backend(precision, dtype, backend, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert computation_dtype(precision) == dtype


@pytest.mark.parametrize(("backend", "dtype"), [("cpu", None), ("gpu", jnp.bfloat16), ("tpu", jnp.bfloat16)])
def test_auto_is_bfloat16_except_on_cpu(backend, dtype, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert computation_dtype("auto") == dtype


def test_another_precision_is_an_error():
    with pytest.raises(KeyError):
        computation_dtype("float16")
