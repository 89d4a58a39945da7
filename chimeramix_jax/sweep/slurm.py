"""Submits runs to Slurm with submitit, as arrays of generators and arrays of classifiers that depend on them.

Each classifier's job waits for the success of its generator's job (``afterok``), and leaves the queue if that fails or
is cancelled. A job that trains the generators of several seeds succeeds if it trains some of them, and the jobs that
wait for it train the classifiers of those seeds only: when they start, they look which generators are finished.

``aftercorr``, which compares two arrays element by element, is not used: Slurm looks at ten elements of a waiting array
at a time (``correspond_after_task_cnt``), and cancels an element whose generator it has forgotten meanwhile.

Slurm sends SIGUSR1 to a job shortly before its time limit, and SIGTERM when it requeues or cancels the job. After
either signal, the run writes a checkpoint, and the requeued job resumes from there.
"""

import contextlib
import importlib.util
import io
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chimeramix_jax import files
from chimeramix_jax.config import shipped
from chimeramix_jax.errors import InputError, in_one_line
from chimeramix_jax.runtime import invocation
from chimeramix_jax.stored_format import read
from chimeramix_jax.sweep.plan import Job, State
from chimeramix_jax.sweep.processes import STOPPED, RunProcess, Task

FOLDER = "slurm"  # in the sweep's folder: scripts, pickled tasks and Slurm's logs
JOBS = "slurm.json"  # in the sweep's folder: the Slurm ids of the sweep's jobs

SECONDS_TO_CHECKPOINT = 20.0  # after the warning; then the run is signalled again, which ends it
SECONDS_OF_WARNING = 90  # before a job's time limit

# Until then, what a generator's job has written on another node must be visible: file systems may show it late.
SECONDS_UNTIL_VISIBLE = 60.0

_WARNING = "USR1"  # a signal that runs handle, unlike submitit's default
_MOST_REQUEUES = 10_000  # after time limits; a long run may need many


@dataclass(frozen=True)
class Resources:
    """The resources that each job requests from Slurm; None: the default of the cluster."""

    partition: str | None
    minutes: int  # the time limit, after which the job is stopped, requeued and resumed
    memory_gb: int | None  # main memory in gigabytes
    cpus: int | None
    gpus: int | None
    parallel: int  # the maximum number of jobs of an array that run at the same time
    options: Mapping[str, str]  # further options of sbatch, such as ``{"account": "vision"}``


class ContinuedWhenRequeued:
    """Runs a task in a Slurm job; submitit calls it."""

    def __init__(self) -> None:
        self._process: RunProcess | None = None

    def __call__(self, work: Task | Job) -> None:
        """Runs a task, or that of a job as far as its generators are finished.

        Raises RuntimeError if it failed, was stopped or cannot start, so that Slurm sees a failed job. If only some of
        several generators failed, Slurm sees success, on which the classifiers of the others wait.
        """
        task = work if isinstance(work, Task) else startable(work)
        self._process = RunProcess(task, os.environ)
        code = self._process.wait()
        if code != 0 and not _partly_done(task, code):
            raise RuntimeError(f"{', '.join(map(str, task.workdirs))}: exit code {code}")

    def checkpoint(self, work: Task | Job) -> Any:
        """Returns the work of the requeued job; submitit calls this on Slurm's warning, which the run gets too."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None and self._process.wait(SECONDS_TO_CHECKPOINT) is None:
            self._process.ask_to_stop()
            self._process.wait(SECONDS_TO_CHECKPOINT)
        return DelayedSubmission(ContinuedWhenRequeued(), work)


def startable(job: Job) -> Task:
    """Returns the task of a job without the runs whose generator is not finished; raises RuntimeError if none is left.

    A generator that has neither finished nor failed is waited for a minute, as its files may come late.
    """
    until = time.monotonic() + SECONDS_UNTIL_VISIBLE
    while job.missing_generators(failed=False) and time.monotonic() < until:
        time.sleep(1.0)
    missing = job.missing_generators()
    for generator in missing:
        print(f"not started: {generator.workdir} has no generator for seed {generator.config.seed}", flush=True)
    seeds = {generator.config.seed for generator in missing}
    runs = tuple(run for run in job.runs if run.config.seed not in seeds)
    if not runs:
        raise RuntimeError(f"{job.name}: not started, as its generator is not finished")
    return replace(job, runs=runs).task


def _partly_done(task: Task, code: int | None) -> bool:
    """Whether a task that failed has trained some of several generators."""
    return task.stage == "generator" and code not in STOPPED and len(task.unfinished) < len(task.workdirs)


def require() -> None:
    """Raises InputError unless submitit and Slurm are available."""
    if importlib.util.find_spec("submitit") is None:
        raise InputError(f"--launcher=slurm: submitit is not installed; run {invocation.installing('submitit')}")
    if shutil.which("sbatch") is None:
        raise InputError(
            "--launcher=slurm: there is no sbatch on this machine; use a machine with Slurm, or --launcher=local"
        )


def queued(folder: Path) -> dict[str, str]:
    """Returns the names and Slurm ids of the sweep's jobs that are waiting or running."""
    submitted = _submitted(folder)
    if not submitted:
        return {}
    if shutil.which("squeue") is None:
        raise InputError(
            f"{folder / JOBS}: Slurm may have jobs of this folder, but there is no squeue on this machine; use a "
            "machine with Slurm or, if none of the jobs is left, remove the file"
        )
    process = subprocess.run(["squeue", "--me", "--noheader", "--array", "--format=%i"], capture_output=True, text=True)
    if process.returncode:
        raise InputError(f"--launcher=slurm: squeue failed: {process.stderr.strip()}")
    active = set(process.stdout.split())
    return {name: slurm_id for name, slurm_id in submitted.items() if slurm_id in active}


def submit(states: dict[Job, State], folder: Path, resources: Resources) -> dict[str, str]:
    """Submits the pending jobs, records their ids, and updates ``states``; returns the ids by job name.

    Raises InputError if Slurm rejects a job; earlier jobs remain submitted.
    """
    submission = _Submission(folder, resources, states)
    ids = queued(folder)
    independent, generators, dependents = _by_dependency(states)
    submission.array(dict.fromkeys(independent))
    earlier = {job for job in dependents if states[job] == State.QUEUED}  # submitted by an earlier command
    submission.array(dict.fromkeys(generators))
    ids |= submission.ids
    # The first classifier of every generator goes into one array, the second into another, and so on.
    for index in range(max((len(dependents[job]) for job in generators), default=0)):
        waiting = [job for job in generators if len(dependents[job]) > index]
        submission.array({dependents[job][index]: dependency(job, ids) for job in waiting})
    for job in earlier:
        submission.array(dict.fromkeys(dependents[job], dependency(job, ids)))
    return submission.ids


def dependency(generator: Job, ids: Mapping[str, str]) -> str | None:
    """Returns what the classifiers of a job's generators wait for, as in ``sbatch --dependency``; None for nothing.

    ``ids`` are the Slurm ids of the jobs that wait or run, by name. Several jobs for one job's seeds were submitted by
    a command with another number of seeds per job: their success is not required, as one of them may fail alone.
    """
    needed = sorted({ids[name] for name in generator.names if name in ids})
    return f"{'afterok' if len(needed) == 1 else 'afterany'}:{':'.join(needed)}" if needed else None


def _by_dependency(states: Mapping[Job, State]) -> tuple[list[Job], list[Job], dict[Job, list[Job]]]:
    """Returns the pending jobs: independent ones, generators, and the classifiers of each unfinished generator."""
    independent: list[Job] = []
    generators: list[Job] = []
    dependents: dict[Job, list[Job]] = defaultdict(list)
    for job, state in states.items():
        needed = job.generator_job
        if state != State.TO_DO or job.blocked_by(states) is not None:
            continue
        if needed is not None and states[needed] != State.DONE:
            dependents[needed].append(job)
        else:
            (generators if job.stage == "generator" else independent).append(job)
    return independent, generators, dependents


class _Submission:
    """Submits arrays of jobs one after the other and records their ids."""

    def __init__(self, folder: Path, resources: Resources, states: dict[Job, State]):
        require()
        os.environ["SUBMITIT_PREEMPT_SIGNAL"] = _WARNING  # submitit reads it on import, and in every job
        import submitit

        self._folder, self._states = folder, states
        self.ids: dict[str, str] = {}
        # -P: files in the current folder, where own ideas may lie, are not taken for modules of the same name.
        python = f"{shlex.quote(sys.executable)} -P"
        self._executor = submitit.SlurmExecutor(folder / FOLDER, max_num_timeout=_MOST_REQUEUES, python=python)
        requested = {
            "partition": resources.partition,
            "mem": None if resources.memory_gb is None else f"{resources.memory_gb}G",
            "cpus_per_task": resources.cpus,
            "gpus_per_node": resources.gpus,
        }
        self._executor.update_parameters(
            job_name="chimeramix",
            time=resources.minutes,
            array_parallelism=resources.parallel,
            signal_delay_s=SECONDS_OF_WARNING,
            setup=_setup(),
            **{name: value for name, value in requested.items() if value is not None},
        )
        # Removes jobs from the queue whose prerequisite failed.
        self._options = {"requeue": True, "kill-on-invalid-dep": "yes"} | dict(resources.options)

    def array(self, jobs: Mapping[Job, str | None]) -> None:
        """Submits jobs, given with what each waits for, as one array."""
        if not jobs:
            return
        dependencies = set(jobs.values())
        common = dependencies.pop() if len(dependencies) == 1 else None
        options = {"hold": True} if dependencies else {} if common is None else {"dependency": common}
        self._executor.update_parameters(additional_parameters=self._options | options)
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        # A job whose generators are not finished decides what it can do when it starts.
        work = [job if job.missing_generators() else job.task for job in jobs]
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit also prints the message of the error
                submitted = [job.job_id for job in self._executor.map_array(ContinuedWhenRequeued(), work)]
        except (FailedJobError, FailedSubmissionError) as error:
            raise InputError(f"--launcher=slurm: Slurm rejects the job: {error}") from None
        if dependencies:
            _release(dict(zip(submitted, jobs.values(), strict=True)))
        self.ids |= {name: slurm_id for job, slurm_id in zip(jobs, submitted, strict=True) for name in job.names}
        files.write_json(self._folder / JOBS, _submitted(self._folder) | self.ids)
        self._states |= dict.fromkeys(jobs, State.QUEUED)


def _setup() -> list[str]:
    """Returns the shell commands with which a job begins, whatever folder and environment Slurm gives it."""
    commands = [f"cd {shlex.quote(str(Path.cwd()))} || exit", f"export SUBMITIT_PREEMPT_SIGNAL={_WARNING}"]
    checkout = shipped.package().parent
    if (checkout / "main.py").exists():  # the program need not be installed, nor started in its folder
        commands.append(f"export PYTHONPATH={shlex.quote(str(checkout))}${{PYTHONPATH:+:$PYTHONPATH}}")
    return commands


def _release(dependencies: Mapping[str, str | None]) -> None:
    """Tells Slurm what each job of a held array waits for, and releases the array; cancels it if that fails."""
    array = next(iter(dependencies)).partition("_")[0]
    try:
        for slurm_id, dependency in dependencies.items():
            if dependency is not None:
                _control("update", f"JobId={slurm_id}", f"Dependency={dependency}")
        _control("release", array)
    except BaseException:
        subprocess.run(["scancel", array], capture_output=True)
        raise


def _control(*arguments: str) -> None:
    process = subprocess.run(["scontrol", *arguments], capture_output=True, text=True)
    if process.returncode:
        raise InputError(f"--launcher=slurm: scontrol {' '.join(arguments)} failed: {in_one_line(process.stderr)}")


def _submitted(folder: Path) -> dict[str, str]:
    """Returns the recorded ids by job name."""
    return read(folder / JOBS) or {}
