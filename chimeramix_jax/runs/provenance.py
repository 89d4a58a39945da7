"""Where results come from: versions, devices, machine, the commit of this program, and which images were used."""

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
    # Whatever can change a result or a speed, by the names that pip knows.
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
    """Returns the part of ``results.json`` that says what a run's figures were made with."""
    machine = environment()
    return {
        "device": machine.pop("devices"),
        "versions": machine.pop("packages") | {"python": machine.pop("python")},
        "git_commit": git_commit(),
        "machine": machine,
    }


def environment() -> dict[str, Any]:
    """Returns the versions, the devices and the machine that a run works with, in JSON's types.

    Starts JAX's backend if nothing has yet. A package that is not installed has the version None.
    """
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": {
            "backend": jax.default_backend(),
            "kind": devices[0].device_kind,
            "count": len(devices),
        },
        "cpu_count": os.cpu_count(),
        "platform": platform.platform(),
    }


def git_commit() -> str | None:
    """The commit of this program's own source, with ``-dirty`` where files differ; None where git does not know it."""
    package = Path(__file__).parents[1]
    git = ["git", "-C", str(package)]
    try:
        # An installed package may lie in the repository of somebody else's project, which does not list it.
        subprocess.run([*git, "ls-files", "--error-unmatch", "errors.py"], check=True, capture_output=True)
        described = [*git, "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
        return subprocess.run(described, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def indices_digest(indices: Sequence[int]) -> str:
    """SHA-256 of whole numbers, as text with commas between: to see at a glance whether two runs share their images."""
    return hashlib.sha256(",".join(map(str, indices)).encode()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
