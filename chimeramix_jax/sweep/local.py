"""Runs as processes on this machine: one at a time on each device, or on each worker's share of the CPU cores."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from chimeramix_jax import stopping
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.statistics import percent
from chimeramix_jax.sweep.display import Display, Running
from chimeramix_jax.sweep.plan import Job, State
from chimeramix_jax.sweep.processes import STOPPED, RunProcess, last_error
from chimeramix_jax.workdir import Workdir

SECONDS_BETWEEN_LOOKS = 0.2

# What tells ROCm, and what tells CUDA, which GPUs a process sees; only one of them is ever there, so both get the same.
# ROCR_VISIBLE_DEVICES hides GPUs from ROCm before that, and the numbers here are of what it leaves.
_VISIBLE_GPUS = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


@dataclass(frozen=True)
class Worker:
    """What one process at a time may use: these CPUs, and what the variables of its environment leave it."""

    cpus: frozenset[int]
    environment: Mapping[str, str] = field(default_factory=dict)


def workers(count: int | None, devices: tuple[str, int] | None = None) -> list[Worker]:
    """The workers of this machine.

    Args:
        count: how many; None: one per GPU or, where there is none, one with all cores.
        devices: what ``jax_devices`` has told; None: it is asked.

    Raises:
        InputError: there are not so many devices or cores, or JAX does not start.
    """
    cpus = sorted(os.sched_getaffinity(0))
    backend, number_of_devices = devices or jax_devices()
    most, what = (number_of_devices, "GPUs") if backend == "gpu" else (len(cpus), "CPU cores")
    if backend not in ("cpu", "gpu"):
        most, what = 1, f"worker for all devices of kind {backend}"
    count = count or (most if backend == "gpu" else 1)
    if count > most:
        raise InputError(f"--workers: {count}, but there are {most} {what}; it must be a whole number from 1 to {most}")
    given = next(filter(None, map(os.environ.get, _VISIBLE_GPUS)), None)
    gpus = given.split(",") if given else list(map(str, range(number_of_devices)))
    shares = [frozenset(cpus[number::count] or cpus) for number in range(count)]
    if backend != "gpu":
        return [Worker(share, {"OMP_NUM_THREADS": str(len(share))}) for share in shares]
    return [Worker(share, dict.fromkeys(_VISIBLE_GPUS, gpu)) for share, gpu in zip(shares, gpus, strict=False)]


def jax_devices() -> tuple[str, int]:
    """JAX's backend, and how many devices it has; asked of another process, as this one is to hold none."""
    code = "import jax; print(jax.default_backend(), jax.local_device_count())"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if asked.returncode:
        raise InputError(f"--launcher=local: JAX does not start: {asked.stderr.strip().splitlines()[-1]}")
    backend, count = asked.stdout.split()[-2:]
    return backend, int(count)


def run(states: dict[Job, State], available: Sequence[Worker]) -> None:
    """Does the jobs that are to be done, as far as what they wait for succeeds; ``states`` follows.

    Raises:
        Stopped: this process was asked to stop; every run at work has written a checkpoint.
    """
    with stopping.listening(), Display() as display:
        pool = _Pool(states, available, display)
        with stopping.before_ending(pool.ask_to_stop):
            pool.to_the_end()


class _Pool:
    """Workers, and the jobs that they are at."""

    def __init__(self, states: dict[Job, State], available: Sequence[Worker], display: Display):
        self._states, self._display = states, display
        self._idle = list(available)
        self._running: dict[Job, tuple[RunProcess, Worker]] = {}
        self._put_off: set[Job] = set()  # stopped by somebody who sent their process a signal

    def to_the_end(self) -> None:
        """Works until nothing is left that can be done."""
        try:
            while self._start_some():
                stopping.raise_if_asked()
                self._show()
                time.sleep(SECONDS_BETWEEN_LOOKS)
                self._collect()
        except BaseException:
            self.ask_to_stop()
            while self._running:  # each writes its checkpoint, or gives up after some seconds
                time.sleep(SECONDS_BETWEEN_LOOKS)
                self._collect()
            raise

    def ask_to_stop(self) -> None:
        """Has all runs at work write a checkpoint and end."""
        for process, _ in self._running.values():
            process.ask_to_stop()

    def _start_some(self) -> bool:
        """Gives idle workers jobs that need not wait; tells whether any is at work."""
        ready = [job for job, state in self._states.items() if state == State.TO_DO and self._can_start(job)]
        for job in ready[: len(self._idle)]:
            worker = self._idle.pop(0)
            process = RunProcess(job.task, os.environ | worker.environment, worker.cpus)
            self._running[job] = process, worker
        return bool(self._running)

    def _can_start(self, job: Job) -> bool:
        needed = job.generator_job
        return job not in {*self._running, *self._put_off} and (needed is None or self._states[needed] == State.DONE)

    def _collect(self) -> None:
        """Takes note of the jobs that have ended."""
        for job, (process, worker) in list(self._running.items()):
            code = process.poll()
            if code is None:
                continue
            del self._running[job]
            self._idle.append(worker)
            self._states[job] = State.DONE if code == 0 else State.TO_DO if code in STOPPED else State.FAILED
            if code in STOPPED:
                self._put_off.add(job)
            done = sum(state == State.DONE for state in self._states.values())
            how = _ending(job, code, process.seconds)
            self._display.say(f"[{done}/{len(self._states)}] {job.name}: {how}")

    def _show(self) -> None:
        counts = [
            f"{sum(state == one for state in self._states.values())} {one}" for one in State if one != State.QUEUED
        ]
        running = [
            Running(job.name, process.seconds, process.last_line()) for job, (process, _) in self._running.items()
        ]
        self._display.show(running, ", ".join(counts))


def _ending(job: Job, code: int, seconds: float) -> str:
    """How a job ended, in words."""
    if code in STOPPED:
        return "stopped; the same command continues it"
    if code != 0:
        return f"failed: {', '.join(sorted({str(last_error(run.workdir)) for run in job.failed()}))}"
    if job.stage == "generator":
        return f"done in {duration(seconds)}"
    measured = (Workdir(run.workdir).read_results()[run.config.dataset.evaluate_on] for run in job.runs)
    return f"done in {duration(seconds)}, top-1 {', '.join(percent(one['top1'], one['examples']) for one in measured)}"
