"""Bit-identical results on a GPU, where XLA's fastest operations add numbers in no fixed order."""

from ml_collections import ConfigDict

from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime import backend, xla_flags

_FLAG = "--xla_gpu_deterministic_ops=true"


def ask_for(config: ConfigDict) -> None:
    """Makes XLA use deterministic operations only, if ``config.deterministic``. Must be called before JAX computes."""
    if config.deterministic:
        xla_flags.add(_FLAG)


def check(config: ConfigDict) -> None:
    """Raises InputError if a run with ``config.deterministic`` is on a GPU, and XLA's flag was not set."""
    if config.deterministic and backend.determinism_needs_flag() and _FLAG not in xla_flags.given():
        raise InputError(f"deterministic: true, but on a GPU it needs XLA_FLAGS={_FLAG} set before JAX is imported")
