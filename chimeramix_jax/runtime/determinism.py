"""The same bits every time on a GPU, where XLA's fastest operations add numbers up in no fixed order."""

from ml_collections import ConfigDict

from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime import xla_flags

_FLAG = "--xla_gpu_deterministic_ops=true"


def ask_for(config: ConfigDict) -> None:
    """Tells XLA to use deterministic operations only, if the settings want it. To be called before JAX starts."""
    if config.deterministic:
        xla_flags.add(_FLAG)


def check(config: ConfigDict) -> None:
    """Makes sure that a run gets the determinism that it asks for.

    Raises:
        InputError: it asks for it on a GPU, and XLA was not told in time.
    """
    import jax

    if config.deterministic and jax.default_backend() == "gpu" and _FLAG not in xla_flags.given():
        raise InputError(f"deterministic: true, but on a GPU it needs XLA_FLAGS={_FLAG} set before JAX is imported")
