"""Every decision that depends on JAX's backend: CPU on one side, accelerators (GPU, TPU) on the other.

On an accelerator the networks compute in bfloat16 by default, XLA lowers every convolution and norm itself, several
training steps run in one call, and all seeds of a group share a call. XLA:CPU is slow at each of these
(``docs/performance.md``).

For tests, the environment variable ``CHIMERAMIX_BACKEND=accelerator`` makes a CPU take the accelerator's side in all of
this, so that the programs of an accelerator can be traced and run without one. The variable is read once, so all
answers are constant within a process, and programs compiled under different answers cannot be confused.

This module imports JAX only inside its functions, so that a wrong setting is reported without waiting for the import.
"""

import functools
import os

from chimeramix_jax.errors import InputError

_VARIABLE, _ACCELERATOR = "CHIMERAMIX_BACKEND", "accelerator"


@functools.cache
def on_accelerator() -> bool:
    """Returns whether JAX computes on a GPU or TPU, or ``CHIMERAMIX_BACKEND`` says to treat it as if it did."""
    import jax

    forced = os.environ.get(_VARIABLE, "")
    if forced not in ("", _ACCELERATOR):
        raise InputError(f"{_VARIABLE}: {forced!r} is not allowed; it must be {_ACCELERATOR}, or not be set")
    return forced == _ACCELERATOR or jax.default_backend() != "cpu"


def check() -> None:
    """Raises InputError if JAX cannot compute on the platform that it was asked to use."""
    import jax

    try:
        jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # JAX raises the latter where the platform's package is missing
        reason = str(error).strip().partition("\n")[0] or "it is not installed"
        requested = os.environ.get("JAX_PLATFORMS", "")
        raise InputError(
            f"JAX_PLATFORMS: {requested!r} cannot be used: {reason}; leave it out, or set it to cpu"
        ) from None


def automatic_precision() -> str:
    """Returns what ``config.precision`` "auto" stands for."""
    return "bfloat16" if on_accelerator() else "float32"


def shortens_float32_products() -> bool:
    """Returns whether JAX multiplies float32 numbers in fewer bits unless a precision is requested."""
    return on_accelerator()


def uses_cpu_lowering() -> bool:
    """Returns whether convolutions and norms take the forms that are fast on CPU, instead of XLA's own lowering."""
    return not on_accelerator()


def runs_several_steps_per_call() -> bool:
    """Returns whether a call runs as many training steps as fit its time; on CPU it runs a single step.

    XLA:CPU runs the body of a loop on one core.
    """
    return on_accelerator()


def vectorizes_seeds() -> bool:
    """Returns whether all seeds of a group train in one call; on CPU each seed has calls of its own.

    Vectorizing over seeds makes grouped convolutions, at which XLA:CPU is slow.
    """
    return on_accelerator()


def determinism_needs_flag() -> bool:
    """Returns whether XLA needs a flag to use deterministic operations only.

    This is a property of the hardware, so ``CHIMERAMIX_BACKEND`` has no influence on it.
    """
    import jax

    return jax.default_backend() == "gpu"
