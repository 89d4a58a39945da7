"""What makes training on CPU fast, told the C library, XLA and JAX before anything is computed."""

from chimeramix_jax.runtime import host_memory, xla_flags


def prepare() -> None:
    """Keeps freed memory for the next step, and convolutions with XLA's own library. Changes nothing on a GPU.

    To be called before JAX first computes.
    """
    host_memory.keep_freed_memory()
    xla_flags.keep_convolutions_from_ynnpack()
    compute_in_the_calling_thread()


def compute_in_the_calling_thread() -> None:
    """Makes JAX start programs on CPU from the thread that calls them, which waits for their end anyway.

    Otherwise JAX starts them from a thread of its own, and glibc gives the temporaries of a step back to the system
    whatever it was told: the memory of any thread but the first is kept in pools of at most 64 MB.
    """
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
