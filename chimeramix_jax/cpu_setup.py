"""What makes training on CPU fast, told the C library and XLA before JAX starts."""

from chimeramix_jax import host_memory, xla_flags


def prepare() -> None:
    """Keeps freed memory for the next step, and convolutions with XLA's own library. Changes nothing on a GPU.

    To be called before JAX first computes.
    """
    host_memory.keep_freed_memory()
    xla_flags.keep_convolutions_from_ynnpack()
