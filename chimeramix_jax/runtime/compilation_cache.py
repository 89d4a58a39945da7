"""Keeps compiled programs for later runs, so that only the first run of a configuration waits for the compiler."""

import functools
import hashlib
import os
import platform
from pathlib import Path

from chimeramix_jax.paths import printable

WORTH_KEEPING = 0.5  # seconds: programs that compile faster are not kept
_COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX's event for every program that is compiled, or read


def directory() -> Path | None:
    """Returns the folder for compiled programs in the user's cache, or None if nothing can be kept there.

    Every kind of processor has its own folder: what XLA compiles for one may not run on another that shares the home
    directory.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if cache.startswith("~"):  # HOME is not set and the system does not know the user, as in many containers
        return None
    if printable(cache) != cache:  # XLA takes no path that is not UTF-8
        return None
    folder = Path(cache) / "chimeramix_jax" / f"compiled-{_processor()}"
    nearest = next(parent for parent in (folder, *folder.absolute().parents) if os.path.exists(parent))
    return folder if os.access(nearest, os.W_OK | os.X_OK) else None  # JAX would warn of every program


def enable() -> None:
    """Makes JAX cache compiled programs in ``directory()``, unless ``JAX_COMPILATION_CACHE_DIR`` names another folder.

    Programs that took at least ``WORTH_KEEPING`` seconds to compile are cached, or those that took as long as
    ``JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS`` says.
    """
    import jax

    folder = directory()
    if jax.config.values["jax_compilation_cache_dir"] is None and folder is not None:
        jax.config.update("jax_compilation_cache_dir", str(folder))
        if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
            jax.config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)


class _Kept:
    """The seconds of all programs that were compiled and kept."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def add(self, event: str, duration_secs: float, **_: str | int) -> None:
        import jax

        values = jax.config.values
        is_kept = duration_secs >= values["jax_persistent_cache_min_compile_time_secs"]
        if event == _COMPILED and is_kept and values["jax_compilation_cache_dir"] is not None:
            self.seconds += duration_secs


@functools.cache
def _kept() -> _Kept:
    import jax

    kept = _Kept()
    jax.monitoring.register_event_duration_secs_listener(kept.add)
    return kept


def seconds_of_kept_programs() -> float:
    """Returns how long this process has compiled programs that are kept, since the first call, which returns 0.

    Later runs of the same programs save these seconds. Reading a program is usually too short to count. A version of
    JAX that reports nothing leaves it at 0.
    """
    return _kept().seconds


def _processor() -> str:
    """Returns a short identifier of the processor's model and instruction set."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        described = "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))}))
    except OSError:  # not Linux
        described = platform.processor()
    return hashlib.sha256(f"{platform.machine()} {described}".encode()).hexdigest()[:12]
