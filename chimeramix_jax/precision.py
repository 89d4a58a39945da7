"""Which number format the networks compute in; parameters are float32 always."""

import jax
import jax.numpy as jnp


def computation_dtype(precision: str) -> jnp.dtype | None:
    """The dtype for ``config.precision``: "float32", "bfloat16", or "auto" (bfloat16 except on CPU).

    None stands for the parameters' own type, float32.
    """
    if precision == "auto":
        precision = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    return {"float32": None, "bfloat16": jnp.dtype(jnp.bfloat16)}[precision]
