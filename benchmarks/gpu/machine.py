"""Describes the machine: missing packages, the device, and the highest speed that it reaches."""

import importlib.metadata
import os
import platform
import re
import statistics
import subprocess
import time
from typing import Any

from benchmarks.gpu.items import ROOT, Context, row

GIGABYTE = 1e9
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.\-]*)\s*([^;#]*)")


def packages(context: Context) -> dict[str, Any]:
    """Lists missing requirements and writes all installed packages to ``freeze.txt``, in the form of ``pip freeze``."""
    installed = sorted(
        {f"{one.metadata['Name']}=={one.version}" for one in importlib.metadata.distributions()}, key=str.lower
    )
    (context.output / "freeze.txt").write_text("\n".join(installed) + "\n")
    missing, unfit = [], []
    for name, wanted in requirements():
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if not fits(version, wanted):
            unfit.append(f"{name} {version} (wanted: {wanted})")
    shown = ", ".join(missing) or "none"
    return {
        "rows": [
            row("missing packages", shown, "none", good=not missing),
            row("packages with another version", ", ".join(unfit) or "none", "none", good=not unfit),
        ],
        "data": {"missing": missing, "unfit": unfit, "installed": installed},
    }


def requirements() -> list[tuple[str, str]]:
    """Returns the names and version ranges in ``requirements.txt``."""
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    found = (_REQUIREMENT.match(line) for line in lines if line.strip() and not line.startswith(("#", "-")))
    return [(one[1], one[2].strip()) for one in found if one is not None]


def fits(version: str, wanted: str) -> bool:
    """Returns whether a version is in a range; True if ``packaging``, which can tell, is not installed."""
    try:
        from packaging.specifiers import SpecifierSet
    except ImportError:
        return True
    return SpecifierSet(wanted).contains(version, prereleases=True)


def prepare() -> Any:
    """Prepares JAX as a run does, and returns the module."""
    from chimeramix_jax.runtime import compilation_cache, cpu_setup

    cpu_setup.prepare()
    compilation_cache.enable()
    import jax

    return jax


def machine(context: Context) -> dict[str, Any]:
    """Shows the device, the versions, and the speed of a copy and of a matrix product: ceilings for everything else."""
    jax = prepare()
    import jax.numpy as jnp

    device = jax.devices()[0]
    side, numbers = (256, 2**20) if context.tiny else (8192, 2**30)
    numbers = numbers if context.tiny or device.platform != "cpu" else 2**24
    side = side if context.tiny or device.platform != "cpu" else 1024
    left, right = (jax.random.normal(jax.random.key(seed), (side, side), jnp.bfloat16) for seed in range(2))
    product = _seconds(jax.jit(jnp.matmul), left, right)
    large = jax.random.bits(jax.random.key(2), (numbers,), jnp.uint32)
    copy = _seconds(jax.jit(lambda values: values + 1), large)
    rate, moved = 2 * side**3 / product, 2 * large.nbytes / copy
    versions = {name: _version(name) for name in ("jax", "jaxlib", "flax", "orbax-checkpoint", "numpy", "torch")}
    stated = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    summary = f"{device.device_kind}, {os.cpu_count()} cores, python {platform.python_version()}, {stated}"
    rows = [
        row("bfloat16 matrix product", f"{rate / 1e12:.3g} TFLOP/s"),
        row("copy, bytes read and written", f"{moved / GIGABYTE:.4g} GB/s"),
        row("backend", jax.default_backend(), "gpu", good=context.tiny or jax.default_backend() == "gpu"),
    ]
    data = {"summary": summary, "versions": versions, "flops_per_second": rate, "bytes_per_second": moved}
    return {"rows": rows, "data": data | {"driver": _driver(), "device": device.device_kind}}


def _seconds(function: Any, *arguments: Any) -> float:
    """Returns the median seconds of several calls, after one that compiles."""
    import jax

    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(10):
        started = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _driver() -> str | None:
    """Returns the device as ``nvidia-smi`` describes it; None if that is not available."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.max.sm", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        return None
