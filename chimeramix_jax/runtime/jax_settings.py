"""JAX's settings that decide which numbers are computed: those of this program, whatever the environment says."""

from typing import Any

from chimeramix_jax.errors import InputError

# Environment variables and other programs in the process may set these, too. They would change the results of a seed.
_SETTINGS: dict[str, Any] = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
    "jax_numpy_dtype_promotion": "standard",
    "jax_default_matmul_precision": None,  # ``precision.computing`` asks for one where it matters
    "jax_disable_jit": False,
}


def use_own() -> None:
    """Gives JAX this program's settings, in a process that only runs this program."""
    import jax

    for name, value in _SETTINGS.items():
        if _current(name) != value:
            jax.config.update(name, value)


def check() -> None:
    """Raises InputError if JAX has a setting with which a seed would have other results."""
    for name, value in _SETTINGS.items():
        if (current := _current(name)) != value:
            raise InputError(f"{name}: {current!r}, but a seed has its results only with {value!r}")


def _current(name: str) -> Any:
    """Returns JAX's present setting, or this program's if JAX has no such setting, as in another version."""
    import jax

    return getattr(jax.config, name, _SETTINGS[name])
