"""The workers on this machine: one process at a time per device, or per share of the CPU cores."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import lock
from chimeramix_jax.sweep.processes import RunProcess, Task

# These select the GPUs that a process sees, for ROCm and for CUDA. A machine has only one of the two, so both variables
# get the same value. ROCm applies ROCR_VISIBLE_DEVICES first, so that these numbers count the GPUs that it leaves.
VISIBLE_GPUS = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True)
class LocalWorker:
    """The resources of one process at a time: its CPUs, and environment variables that select its GPU or threads."""

    cpus: frozenset[int]
    environment: Mapping[str, str] = field(default_factory=dict)

    def is_free(self, folder: Path) -> bool:
        """Whether no process is in a run's directory: one that a killed command started may still be running."""
        if not (folder / lock.NAME).exists():
            return True
        with contextlib.suppress(lock.InUseError, FileNotFoundError), lock.locked(folder):
            return True
        return False

    def start(self, task: Task) -> RunProcess:
        """Starts a task as a process."""
        return RunProcess(task, os.environ | dict(self.environment), self.cpus)


def workers(count: int | None, devices: tuple[str, int] | None = None) -> list[LocalWorker]:
    """Returns ``count`` workers, or one per GPU or, without GPUs, one with all cores; raises InputError for too many.

    ``devices`` is the result of ``jax_devices``, if that is known.
    """
    cpus = sorted(os.sched_getaffinity(0))
    backend, number_of_devices = devices or jax_devices()
    most, what = (number_of_devices, "GPUs") if backend == "gpu" else (len(cpus), "CPU cores")
    if backend not in ("cpu", "gpu"):
        most, what = 1, f"worker for all devices of the kind {backend}"
    count = count or (most if backend == "gpu" else 1)
    if count > most:
        raise InputError(f"--workers: {count}, but there are {most} {what}; it must be a whole number from 1 to {most}")
    visible = next(filter(None, map(os.environ.get, VISIBLE_GPUS)), None)
    gpus = visible.split(",") if visible else list(map(str, range(number_of_devices)))
    shares = [frozenset(cpus[number::count] or cpus) for number in range(count)]
    if backend != "gpu":
        return [LocalWorker(share, {"OMP_NUM_THREADS": str(len(share))}) for share in shares]
    return [LocalWorker(share, dict.fromkeys(VISIBLE_GPUS, gpu)) for share, gpu in zip(shares, gpus, strict=False)]


def jax_devices() -> tuple[str, int]:
    """Returns JAX's backend and its number of devices, from another process, so that this one occupies no device."""
    code = "import jax; print(jax.default_backend(), jax.local_device_count())"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if process.returncode:
        raise InputError(f"--launcher=local: JAX does not start: {process.stderr.strip().splitlines()[-1]}")
    backend, count = process.stdout.split()[-2:]
    return backend, int(count)
