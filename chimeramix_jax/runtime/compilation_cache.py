"""Compiled programs kept for later runs, so that only the first run of a configuration waits for the compiler."""

import hashlib
import os
import platform
from pathlib import Path

WORTH_KEEPING = 0.5  # seconds of compilation from which on a program is kept


def directory() -> Path | None:
    """Where compiled programs are kept: in the user's cache, apart for every kind of processor; None: there is none.

    What XLA compiles for one processor may not run on another that shares the home directory.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if cache.startswith("~"):  # no HOME, and a user that the system does not know, as in many containers
        return None
    return Path(cache) / "chimeramix_jax" / f"compiled-{_processor()}"


def enable() -> None:
    """Makes JAX keep what it compiles, unless the user has told JAX where (``JAX_COMPILATION_CACHE_DIR``).

    Programs are kept from ``WORTH_KEEPING`` on, or from what ``JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS`` says.
    """
    import jax

    kept_in = directory()
    if jax.config.values["jax_compilation_cache_dir"] is None and kept_in is not None:
        jax.config.update("jax_compilation_cache_dir", str(kept_in))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)


def _processor() -> str:
    """A short name of the processor's kind and the instructions that it has."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        described = "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    except OSError:  # not Linux
        described = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {described}".encode()).hexdigest()[:12]
