"""Carries out the jobs of a sweep on workers, each job after the one that it waits for."""

from collections.abc import Sequence

from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.splits import split_of, top1_of
from chimeramix_jax.reporting.statistics import percent
from chimeramix_jax.runs import lock
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import stopping
from chimeramix_jax.sweep import plan, polling
from chimeramix_jax.sweep.display import Display
from chimeramix_jax.sweep.plan import Job, State
from chimeramix_jax.sweep.processes import ERROR, LOG, STOPPED, last_error
from chimeramix_jax.sweep.workers import RunningTask, Worker


def run(states: dict[Job, State], available: Sequence[Worker]) -> None:
    """Runs the pending jobs whose prerequisites succeed, and updates ``states``; raises Stopped on a signal."""
    with stopping.listening(), Display() as display:
        polling.run(_Pool(states, available, display))


class _Pool:
    """The workers and their running jobs."""

    def __init__(self, states: dict[Job, State], available: Sequence[Worker], display: Display):
        self._states, self._display = states, display
        self._idle = list(available)
        self._running: dict[Job, tuple[RunningTask, Worker]] = {}
        self._occupied: set[Job] = set()  # jobs that processes of other commands carry out
        self._stopped: set[Job] = set()  # jobs whose process was stopped by a signal from outside

    def is_running(self) -> bool:
        """Whether any job is running."""
        return bool(self._running)

    def ask_to_stop(self) -> None:
        """Asks all running jobs to write a checkpoint and exit."""
        for running, _ in self._running.values():
            running.ask_to_stop()

    def start(self) -> bool:
        """Starts ready jobs on idle workers; returns whether any job is running."""
        ready = [job for job, state in self._states.items() if state == State.TO_DO and self._can_start(job)]
        for job in ready:
            if self._idle and self._is_free(job):
                worker = self._idle.pop(0)
                self._running[job] = worker.start(job.task), worker
        return bool(self._running)

    def _is_free(self, job: Job) -> bool:
        """Whether no process is in the job's directories, such as one that a killed command left; else says so once."""
        occupied = next((folder for folder in job.task.workdirs if not self._idle[0].is_free(folder)), None)
        if occupied is not None and job not in self._occupied:
            self._occupied.add(job)
            self._display.print(f"{job.name}: {lock.in_use(occupied)}")
        return occupied is None

    def _can_start(self, job: Job) -> bool:
        needed = job.generator_job
        return job not in {*self._running, *self._stopped} and (needed is None or self._states[needed] == State.DONE)

    def collect(self, *, stopping_all: bool) -> None:
        """Updates the states of the jobs that have ended."""
        for job, (running, worker) in list(self._running.items()):
            code = running.poll()
            if code is None:
                continue
            del self._running[job]
            self._idle.append(worker)
            self._states[job] = State.DONE if code == 0 else State.TO_DO if code in STOPPED else State.FAILED
            if code in STOPPED:
                self._stopped.add(job)
            elif code and self._is_in_other_hands(job, worker):
                continue
            if not running.has_started and stopping_all:
                continue
            outcome = _outcome(job, code, running.seconds)
            if self._states[job] == State.FAILED:
                plan.separate_failed(self._states, job)
            done = sum(state == State.DONE for state in self._states.values())
            self._display.print(f"[{done}/{len(self._states)}] {job.name}: {outcome}")

    def _is_in_other_hands(self, job: Job, worker: Worker) -> bool:
        """Whether a job has failed because another process is in its directories; if so, leaves it to that and says so.

        A process that a command started right before it was killed locks the directories some seconds later.
        """
        occupied = [folder for folder in job.task.workdirs if not worker.is_free(folder)]
        if not occupied:
            return False
        for folder in occupied:
            (folder / ERROR).unlink(missing_ok=True)
        self._states[job] = State.TO_DO
        self._stopped.add(job)
        self._display.print(f"{job.name}: {lock.in_use(occupied[0])}")
        return True

    def show(self) -> None:
        """Shows the running jobs, and how many are in each state."""
        if not self._display.is_live:
            return
        counts = [
            f"{sum(state == kind for state in self._states.values())} {kind}" for kind in State if kind != State.QUEUED
        ]
        started = {job: running for job, (running, _) in self._running.items() if running.has_started}
        if waiting := len(self._running) - len(started):
            counts.append(f"{waiting} of them waiting for the cluster")
        lines = [(job.name, running.seconds, running.last_line()) for job, running in started.items()]
        self._display.show(lines, ", ".join(counts))


def _outcome(job: Job, code: int, seconds: float) -> str:
    """Describes how a job ended."""
    if code in STOPPED:
        return "stopped; the same command continues it"
    if code != 0:
        errors = {error for run in job.runs if (error := last_error(run.workdir)) is not None}
        return f"failed: {', '.join(sorted(errors)) or f'see {LOG}'}"
    if job.stage == "generator":
        return f"done in {duration(seconds)}"
    results = [Workdir(run.workdir).read_results() for run in job.runs]
    measured = (content[split_of(content)] for content in results)
    accuracies = (percent(top1_of(one), one["examples"]) for one in measured)
    return f"done in {duration(seconds)}, accuracy {', '.join(accuracies)}"
