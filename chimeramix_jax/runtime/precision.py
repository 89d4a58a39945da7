"""Which number format the networks compute in, and how exactly; parameters are float32 always."""

import contextlib

import jax
import jax.numpy as jnp

# What JAX calls how exactly float32 numbers are multiplied, by config.precision.
_EXACTNESS = {"float32": "float32", "tensorfloat32": "tensorfloat32"}


def computation_dtype(precision: str) -> jnp.dtype | None:
    """The dtype for ``config.precision``: "float32", "tensorfloat32", "bfloat16", or "auto" (bfloat16 except on CPU).

    None stands for the parameters' own type, float32.
    """
    return {"float32": None, "tensorfloat32": None, "bfloat16": jnp.dtype(jnp.bfloat16)}[_chosen(precision)]


def computing(precision: str) -> contextlib.AbstractContextManager[None]:
    """Makes matrix products and convolutions of float32 as exact as ``config.precision`` says, where they are traced.

    Left to itself JAX lets a GPU or TPU multiply float32 numbers in fewer bits, as in TensorFloat-32: 8 of the exponent
    and 10 of the fraction. On CPU all are multiplied whole, whatever is asked for.
    """
    chosen = _chosen(precision)
    if jax.default_backend() == "cpu" or chosen not in _EXACTNESS:
        return contextlib.nullcontext()
    return jax.default_matmul_precision(_EXACTNESS[chosen])


def _chosen(precision: str) -> str:
    if precision == "auto":
        return "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return precision
