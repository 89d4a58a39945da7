import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY
from flax import nnx
from jaxprs import products

from chimeramix_jax import config as settings
from chimeramix_jax.runtime import backend
from chimeramix_jax.runtime.precision import computation_dtype, computing
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.generator import GeneratorStage
from chimeramix_jax.training.networks import build_generator
from chimeramix_jax.training.stage_data import load_stage_data


@pytest.mark.parametrize("accelerator", [False, True])
@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", None), ("tensorfloat32", None), ("bfloat16", jnp.bfloat16)]
)
def test_an_explicit_precision_is_used_on_every_backend(precision, dtype, accelerator, monkeypatch):
    monkeypatch.setattr(backend, "on_accelerator", lambda: accelerator)
    assert computation_dtype(precision) == dtype


@pytest.mark.parametrize(("accelerator", "dtype"), [(False, None), (True, jnp.bfloat16)])
def test_auto_is_bfloat16_except_on_cpu(accelerator, dtype, monkeypatch):
    monkeypatch.setattr(backend, "on_accelerator", lambda: accelerator)
    assert computation_dtype("auto") == dtype


def test_an_unknown_precision_is_an_error():
    with pytest.raises(KeyError):
        computation_dtype("float16")


def stages(precision):
    """Yields both stages, with tiny networks on a few black images."""
    config = settings.load("digits")
    config.update_from_flattened_dict(TINY | {"precision": precision, "classifier.image_side": 32})
    pixels, labels = np.zeros((4, 32, 32, 3), np.uint8), np.arange(4) % 2
    yield GeneratorStage(config, load_stage_data(config, "generator", pixels, labels, 2))
    generator = build_generator(config, nnx.Rngs(0))
    data = load_stage_data(config, "classifier", pixels, labels, 2)
    yield ClassifierStage(config, data, 2, TestSet(pixels, labels, 4), True, generator)


@pytest.mark.parametrize(
    ("precision", "exactness"),
    [("float32", jax.lax.Precision.HIGHEST), ("tensorfloat32", jax.lax.Precision.HIGH), ("bfloat16", None)],
)
def test_an_accelerator_multiplies_in_the_requested_precision_forward_and_backward(precision, exactness, monkeypatch):
    monkeypatch.setattr(backend, "on_accelerator", lambda: True)
    for stage in stages(precision):
        key = jax.random.key(0)
        state = jax.eval_shape(stage.initial_state, key)
        step = jax.jit(stage.train_step).trace(state, stage.inputs, jnp.arange(4), None, key, key)
        requested = {equation.params["precision"] for equation in products(step.jaxpr.jaxpr)}
        expected = None if exactness is None else (exactness,) * 2
        assert expected in requested
        always_float32 = (jax.lax.Precision.HIGHEST,) * 2  # resizes and blurs
        assert requested <= {expected, always_float32}


def test_on_cpu_matrix_products_request_no_precision():
    with computing("float32"):
        traced = jax.jit(jnp.matmul).trace(jnp.ones((2, 2)), jnp.ones((2, 2)))
    assert {equation.params["precision"] for equation in products(traced.jaxpr.jaxpr)} == {None}
