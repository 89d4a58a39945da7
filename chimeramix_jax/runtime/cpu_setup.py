"""Settings of the C library, XLA and JAX that make training on CPU fast. They must be made before JAX computes."""

from chimeramix_jax.runtime import host_memory, xla_flags


def prepare() -> None:
    """Applies all CPU settings. Must be called before JAX first computes; has no effect on a GPU."""
    host_memory.keep_freed_memory()
    xla_flags.keep_convolutions_from_ynnpack()
    compute_in_the_calling_thread()


def compute_in_the_calling_thread() -> None:
    """Makes JAX run CPU programs in the calling thread, which waits for them anyway.

    By default JAX runs them in a thread of its own. glibc then returns the temporaries of every step to the system
    whatever ``host_memory`` has set, because it keeps the memory of all threads but the first in pools of at most
    64 MB.
    """
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
