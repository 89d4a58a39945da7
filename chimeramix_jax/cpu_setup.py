"""What makes training on CPU fast, told the C library and XLA before JAX starts."""

from chimeramix_jax import host_memory, xla_flags


def prepare() -> None:
    """Keeps freed memory for the next step, and convolutions with XLA's own library. Changes nothing on a GPU.

    To be called before JAX is imported (``host_memory``), or at least before it first computes (``xla_flags``).
    """
    host_memory.keep_freed_memory()
    xla_flags.keep_convolutions_from_ynnpack()
