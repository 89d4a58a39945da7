"""The number format that the networks compute in, and how exactly they multiply. Parameters are always float32."""

import contextlib

import jax
import jax.numpy as jnp

from chimeramix_jax.runtime import backend


def computation_dtype(precision: str) -> jnp.dtype | None:
    """Returns the dtype for ``config.precision``: "float32", "tensorfloat32", "bfloat16" or "auto".

    "auto" is bfloat16 on an accelerator and float32 on CPU. None stands for the parameters' own dtype, float32.
    """
    return {"float32": None, "tensorfloat32": None, "bfloat16": jnp.dtype(jnp.bfloat16)}[resolved(precision)]


def computing(precision: str) -> contextlib.AbstractContextManager[None]:
    """Returns a context in which float32 products are traced as exactly as ``config.precision`` says.

    By default JAX lets a GPU or TPU multiply float32 numbers in fewer bits, such as TensorFloat-32: 8 bits of exponent
    and 10 of fraction. A CPU always multiplies all bits.
    """
    name = resolved(precision)
    if name == "bfloat16" or not backend.shortens_float32_products():
        return contextlib.nullcontext()
    return jax.default_matmul_precision(name)  # JAX has the same names


def resolved(precision: str) -> str:
    """Returns the precision that ``config.precision`` means on this machine."""
    return backend.automatic_precision() if precision == "auto" else precision
