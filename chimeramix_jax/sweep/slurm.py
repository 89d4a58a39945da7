"""Runs as jobs of Slurm, through submitit: arrays of generators, and arrays of classifiers that wait for them.

Slurm warns a job with SIGUSR1 before its time is over, and stops it with SIGTERM when it is requeued or cancelled. On
either the run writes a checkpoint, and the job that Slurm starts again goes on from there.
"""

import contextlib
import importlib.util
import io
import json
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
from chimeramix_jax.sweep.plan import Job, State
from chimeramix_jax.sweep.processes import RunProcess, Task

FOLDER = "slurm"  # in the sweep's: scripts, pickled tasks and Slurm's own logs
JOBS = "slurm.json"  # in the sweep's: which job of Slurm does which job of the sweep

SECONDS_TO_CHECKPOINT = 20.0  # from the warning until the run is asked once more, which ends it
SECONDS_OF_WARNING = 90  # before a job's time is over

_WARNING = "USR1"  # what the runs listen to; submitit's own choice would end them
_MOST_REQUEUES = 10_000  # for want of time: a long run needs as many as it needs


@dataclass(frozen=True)
class Resources:
    """What each job asks of Slurm; None leaves it to the cluster.

    Attributes:
        partition: where it runs.
        minutes: after which it is stopped, requeued and continued.
        memory_gb: of main memory.
        cpus: cores.
        gpus: of each job.
        parallel: jobs of an array that run at once, at most.
        options: further options of sbatch, such as ``{"account": "vision"}``.
    """

    partition: str | None
    minutes: int
    memory_gb: int | None
    cpus: int | None
    gpus: int | None
    parallel: int
    options: Mapping[str, str]


class ContinuedWhenRequeued:
    """Does a task within a job, as submitit calls it."""

    def __init__(self) -> None:
        """Nothing is started before the job is."""
        self._process: RunProcess | None = None

    def __call__(self, task: Task) -> None:
        """Does the task; raises RuntimeError where it failed or was stopped, which Slurm is not to take for done."""
        self._process = RunProcess(task, os.environ)
        code = self._process.wait()
        if code != 0:
            raise RuntimeError(f"{', '.join(map(str, task.workdirs))}: exit code {code}")

    def checkpoint(self, task: Task) -> Any:
        """Called by submitit on Slurm's warning, of which the run knows too; returns what the requeued job is to do."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None and self._process.wait(SECONDS_TO_CHECKPOINT) is None:
            self._process.ask_to_stop()
            self._process.wait(SECONDS_TO_CHECKPOINT)
        return DelayedSubmission(ContinuedWhenRequeued(), task)


def require() -> None:
    """Refuses to go on where submitit or Slurm is missing.

    Raises:
        InputError: one of them is.
    """
    if importlib.util.find_spec("submitit") is None:
        raise InputError("--launcher=slurm: needs the package submitit; pip install submitit")
    if shutil.which("sbatch") is None:
        raise InputError("--launcher=slurm: there is no sbatch on this machine; submit where Slurm is, or use local")


def queued(folder: Path) -> dict[str, str]:
    """The sweep's jobs that Slurm has, waiting or running: their names, and Slurm's ids.

    Raises:
        InputError: Slurm does not answer.
    """
    submitted = _submitted(folder)
    if not submitted:
        return {}
    asked = subprocess.run(["squeue", "--me", "--noheader", "--array", "--format=%i"], capture_output=True, text=True)
    if asked.returncode:
        raise InputError(f"--launcher=slurm: Slurm refuses: {asked.stderr.strip()}")
    there = set(asked.stdout.split())
    return {name: slurm_id for name, slurm_id in submitted.items() if slurm_id in there}


def submit(states: dict[Job, State], folder: Path, resources: Resources) -> dict[str, str]:
    """Submits the jobs that are to be done, and notes down their ids; ``states`` follows. Returns names and ids.

    Raises:
        InputError: Slurm refuses. What was submitted before stays so.
    """
    submission = _Submission(folder, resources, states)
    ids = queued(folder)
    independent, generators, dependents = _by_what_they_wait_for(states)
    submission.array(independent)
    # The first classifiers of all generators make an array, the second another: each element waits for its generator's.
    generators.sort(key=lambda job: -len(dependents[job]))
    generator_ids = submission.array(generators)
    for place in range(max((len(dependents[job]) for job in generators), default=0)):
        classifiers = [dependents[job][place] for job in generators if len(dependents[job]) > place]
        submission.array(classifiers, _element_by_element(generator_ids, len(classifiers)))
    for job, classifiers in dependents.items():
        since_earlier = {ids[name] for name in job.names if name in ids}
        if states[job] == State.QUEUED and since_earlier:
            submission.array(classifiers, f"afterok:{':'.join(sorted(since_earlier))}")
    return submission.ids


def _by_what_they_wait_for(states: Mapping[Job, State]) -> tuple[list[Job], list[Job], dict[Job, list[Job]]]:
    """The jobs to be done: those that wait for none, the generators, and each unfinished generator's classifiers."""
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
    """The dependency of an array of ``count`` jobs on as many first ones of another."""
    if count == 1:  # which is no array for submitit
        return f"afterok:{ids[0]}"
    return f"aftercorr:{ids[0].partition('_')[0]}"


class _Submission:
    """Arrays of jobs, submitted one after the other and noted down."""

    def __init__(self, folder: Path, resources: Resources, states: dict[Job, State]):
        require()
        os.environ["SUBMITIT_PREEMPT_SIGNAL"] = _WARNING  # read when submitit is imported, and in every job
        import submitit

        self._folder, self._states = folder, states
        self.ids: dict[str, str] = {}
        self._executor = submitit.SlurmExecutor(folder / FOLDER, max_num_timeout=_MOST_REQUEUES)
        asked = {
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
            setup=[f"export SUBMITIT_PREEMPT_SIGNAL={_WARNING}"],  # also where jobs do not inherit the environment
            **{name: value for name, value in asked.items() if value is not None},
        )
        # What waits for a job that failed is not to stay in the queue for ever.
        self._options = {"requeue": True, "kill-on-invalid-dep": "yes"} | dict(resources.options)

    def array(self, jobs: Sequence[Job], dependency: str | None = None) -> list[str]:
        """Submits jobs as one array; returns their ids."""
        if not jobs:
            return []
        options = self._options | ({} if dependency is None else {"dependency": dependency})
        self._executor.update_parameters(additional_parameters=options)
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        tasks = [job.task for job in jobs]
        try:
            with contextlib.redirect_stderr(io.StringIO()):  # where submitit prints what the error says too
                submitted = [job.job_id for job in self._executor.map_array(ContinuedWhenRequeued(), tasks)]
        except (FailedJobError, FailedSubmissionError) as error:
            raise InputError(f"--launcher=slurm: Slurm refuses: {error}") from None
        self.ids |= {name: slurm_id for job, slurm_id in zip(jobs, submitted, strict=True) for name in job.names}
        files.write_json(self._folder / JOBS, _submitted(self._folder) | self.ids)
        self._states |= dict.fromkeys(jobs, State.QUEUED)
        return submitted


def _submitted(folder: Path) -> dict[str, str]:
    """The ids that were noted down."""
    path = folder / JOBS
    try:
        return json.loads(path.read_bytes()) if path.exists() else {}
    except ValueError as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
