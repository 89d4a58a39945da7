"""Runs a sweep on this machine, with one process at a time per device, or per share of the CPU cores."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.results import split_of
from chimeramix_jax.reporting.statistics import percent
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import stopping
from chimeramix_jax.sweep import polling
from chimeramix_jax.sweep.display import Display
from chimeramix_jax.sweep.plan import Job, State
from chimeramix_jax.sweep.processes import STOPPED, RunProcess, last_error

# These select the GPUs that a process sees, for ROCm and for CUDA. A machine has only one of the two, so both variables
# get the same value. ROCm applies ROCR_VISIBLE_DEVICES first, so that these numbers count the GPUs that it leaves.
_VISIBLE_GPUS = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Worker:
    """The resources of one process at a time: its CPUs, and environment variables that select its GPU or threads."""

    cpus: frozenset[int]
    environment: Mapping[str, str] = field(default_factory=dict)


def workers(count: int | None, devices: tuple[str, int] | None = None) -> list[Worker]:
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
    visible = next(filter(None, map(os.environ.get, _VISIBLE_GPUS)), None)
    gpus = visible.split(",") if visible else list(map(str, range(number_of_devices)))
    shares = [frozenset(cpus[number::count] or cpus) for number in range(count)]
    if backend != "gpu":
        return [Worker(share, {"OMP_NUM_THREADS": str(len(share))}) for share in shares]
    return [Worker(share, dict.fromkeys(_VISIBLE_GPUS, gpu)) for share, gpu in zip(shares, gpus, strict=False)]


def jax_devices() -> tuple[str, int]:
    """Returns JAX's backend and its number of devices, from another process, so that this one occupies no device."""
    code = "import jax; print(jax.default_backend(), jax.local_device_count())"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if process.returncode:
        raise InputError(f"--launcher=local: JAX does not start: {process.stderr.strip().splitlines()[-1]}")
    backend, count = process.stdout.split()[-2:]
    return backend, int(count)


def run(states: dict[Job, State], available: Sequence[Worker]) -> None:
    """Runs the pending jobs whose prerequisites succeed, and updates ``states``; raises Stopped on a signal."""
    with stopping.listening(), Display() as display:
        polling.run(_Pool(states, available, display))


class _Pool:
    """The workers and their running jobs."""

    def __init__(self, states: dict[Job, State], available: Sequence[Worker], display: Display):
        self._states, self._display = states, display
        self._idle = list(available)
        self._running: dict[Job, tuple[RunProcess, Worker]] = {}
        self._stopped: set[Job] = set()  # jobs whose process was stopped by a signal from outside

    def is_running(self) -> bool:
        """Whether any job is running."""
        return bool(self._running)

    def ask_to_stop(self) -> None:
        """Asks all running jobs to write a checkpoint and exit."""
        for process, _ in self._running.values():
            process.ask_to_stop()

    def start(self) -> bool:
        """Starts ready jobs on idle workers; returns whether any job is running."""
        ready = [job for job, state in self._states.items() if state == State.TO_DO and self._can_start(job)]
        for job in ready[: len(self._idle)]:
            worker = self._idle.pop(0)
            process = RunProcess(job.task, os.environ | worker.environment, worker.cpus)
            self._running[job] = process, worker
        return bool(self._running)

    def _can_start(self, job: Job) -> bool:
        needed = job.generator_job
        return job not in {*self._running, *self._stopped} and (needed is None or self._states[needed] == State.DONE)

    def collect(self, *, stopping_all: bool) -> None:
        """Updates the states of the jobs that have ended."""
        del stopping_all  # every running job has a process that ends by itself
        for job, (process, worker) in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[job]
            self._idle.append(worker)
            self._states[job] = State.DONE if code == 0 else State.TO_DO if code in STOPPED else State.FAILED
            if code in STOPPED:
                self._stopped.add(job)
            done = sum(state == State.DONE for state in self._states.values())
            outcome = _outcome(job, code, process.seconds)
            self._display.print(f"[{done}/{len(self._states)}] {job.name}: {outcome}")

    def show(self) -> None:
        """Shows the running jobs, and how many are in each state."""
        counts = [
            f"{sum(state == kind for state in self._states.values())} {kind}" for kind in State if kind != State.QUEUED
        ]
        running = [(job.name, process.seconds, process.last_line()) for job, (process, _) in self._running.items()]
        self._display.show(running, ", ".join(counts))


def _outcome(job: Job, code: int, seconds: float) -> str:
    """Describes how a job ended."""
    if code in STOPPED:
        return "stopped; the same command continues it"
    if code != 0:
        return f"failed: {', '.join(sorted({str(last_error(run.workdir)) for run in job.failed()}))}"
    if job.stage == "generator":
        return f"done in {duration(seconds)}"
    results = [Workdir(run.workdir).read_results() for run in job.runs]
    measured = (content[split_of(content)] for content in results)
    accuracies = (percent(one["top1"], one["examples"]) for one in measured)
    return f"done in {duration(seconds)}, top-1 {', '.join(accuracies)}"
