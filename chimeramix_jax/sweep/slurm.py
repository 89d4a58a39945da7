"""Submits runs to Slurm with submitit, as arrays of generators and arrays of classifiers that depend on them.

Slurm sends SIGUSR1 to a job shortly before its time limit, and SIGTERM when it requeues or cancels the job. After
either signal, the run writes a checkpoint, and the requeued job resumes from there.
"""

import contextlib
import importlib.util
import io
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.runtime import invocation
from chimeramix_jax.stored_format import read
from chimeramix_jax.sweep.plan import Job, State
from chimeramix_jax.sweep.processes import RunProcess, Task

FOLDER = "slurm"  # in the sweep's folder: scripts, pickled tasks and Slurm's logs
JOBS = "slurm.json"  # in the sweep's folder: the Slurm ids of the sweep's jobs

SECONDS_TO_CHECKPOINT = 20.0  # after the warning; then the run is signalled again, which ends it
SECONDS_OF_WARNING = 90  # before a job's time limit

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

    def __call__(self, task: Task) -> None:
        """Runs the task; raises RuntimeError if it failed or was stopped, so that Slurm sees a failed job."""
        self._process = RunProcess(task, os.environ)
        code = self._process.wait()
        if code != 0:
            raise RuntimeError(f"{', '.join(map(str, task.workdirs))}: exit code {code}")

    def checkpoint(self, task: Task) -> Any:
        """Returns the task of the requeued job; submitit calls this on Slurm's warning, which the run gets too."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None and self._process.wait(SECONDS_TO_CHECKPOINT) is None:
            self._process.ask_to_stop()
            self._process.wait(SECONDS_TO_CHECKPOINT)
        return DelayedSubmission(ContinuedWhenRequeued(), task)


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
    submission.array(independent)
    # The first classifier of every generator goes into one array, the second into another, and so on: each element of
    # an array waits for the corresponding element of the generators' array.
    generators.sort(key=lambda job: -len(dependents[job]))
    generator_ids = submission.array(generators)
    for index in range(max((len(dependents[job]) for job in generators), default=0)):
        classifiers = [dependents[job][index] for job in generators if len(dependents[job]) > index]
        submission.array(classifiers, _element_by_element(generator_ids, len(classifiers)))
    for job, classifiers in dependents.items():
        earlier = {ids[name] for name in job.names if name in ids}  # submitted by an earlier command
        if states[job] == State.QUEUED and earlier:
            submission.array(classifiers, f"afterok:{':'.join(sorted(earlier))}")
    return submission.ids


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


def _element_by_element(ids: Sequence[str], count: int) -> str:
    """Returns the dependency of an array of ``count`` jobs, element by element, on the first ones of another array."""
    if count == 1:  # submitit submits a single job without an array
        return f"afterok:{ids[0]}"
    return f"aftercorr:{ids[0].partition('_')[0]}"


class _Submission:
    """Submits arrays of jobs one after the other and records their ids."""

    def __init__(self, folder: Path, resources: Resources, states: dict[Job, State]):
        require()
        os.environ["SUBMITIT_PREEMPT_SIGNAL"] = _WARNING  # submitit reads it on import, and in every job
        import submitit

        self._folder, self._states = folder, states
        self.ids: dict[str, str] = {}
        self._executor = submitit.SlurmExecutor(folder / FOLDER, max_num_timeout=_MOST_REQUEUES)
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
            setup=[f"export SUBMITIT_PREEMPT_SIGNAL={_WARNING}"],  # in case jobs do not inherit the environment
            **{name: value for name, value in requested.items() if value is not None},
        )
        # Removes jobs from the queue whose prerequisite failed.
        self._options = {"requeue": True, "kill-on-invalid-dep": "yes"} | dict(resources.options)

    def array(self, jobs: Sequence[Job], dependency: str | None = None) -> list[str]:
        """Submits jobs as one array and returns their ids."""
        if not jobs:
            return []
        options = self._options | ({} if dependency is None else {"dependency": dependency})
        self._executor.update_parameters(additional_parameters=options)
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        tasks = [job.task for job in jobs]
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # submitit also prints the message of the error
                submitted = [job.job_id for job in self._executor.map_array(ContinuedWhenRequeued(), tasks)]
        except (FailedJobError, FailedSubmissionError) as error:
            raise InputError(f"--launcher=slurm: Slurm rejects the job: {error}") from None
        self.ids |= {name: slurm_id for job, slurm_id in zip(jobs, submitted, strict=True) for name in job.names}
        files.write_json(self._folder / JOBS, _submitted(self._folder) | self.ids)
        self._states |= dict.fromkeys(jobs, State.QUEUED)
        return submitted


def _submitted(folder: Path) -> dict[str, str]:
    """Returns the recorded ids by job name."""
    return read(folder / JOBS) or {}
