"""The provenance of results: versions, devices, machine, the commit of this program, and the images used."""

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

PACKAGES = (
    # Packages that can change a result or its speed, by their names on PyPI.
    "chimeramix_jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "tensorflow-datasets",
    "numpy",
)


def record() -> dict[str, Any]:
    """Starts JAX and returns the part of ``results.json`` that describes what produced a run's results.

    A package that is not installed has the version None.
    """
    return {
        "device": device(),
        "versions": {name: _version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "git_commit": git_commit(),
        "machine": {"cpu_count": os.cpu_count(), "platform": platform.platform()},
    }


def device() -> dict[str, Any]:
    """Starts JAX and describes the devices that it computes on."""
    devices = jax.devices()
    return {"backend": jax.default_backend(), "kind": devices[0].device_kind, "count": len(devices)}


def git_commit() -> str | None:
    """Returns the commit of this program's source, with ``-dirty`` if files differ; None outside a git repository."""
    package = Path(__file__).parents[1]
    git = ["git", "-C", str(package)]
    try:
        # An installed package may lie inside the repository of another project, which does not track it.
        subprocess.run([*git, "ls-files", "--error-unmatch", "errors.py"], check=True, capture_output=True)
        described = [*git, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        return subprocess.run(described, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def indices_digest(indices: Sequence[int]) -> str:
    """Returns the SHA-256 of comma-separated indices, which shows at a glance whether two runs share their images."""
    return hashlib.sha256(",".join(map(str, indices)).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
