"""How far a sweep is, as text: jobs by state, the expected time of the rest, and what has failed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.reporting.wording import counted
from chimeramix_jax.sweep.finished import results, seconds_of
from chimeramix_jax.sweep.plan import Job, Kind, State
from chimeramix_jax.sweep.processes import last_error
from chimeramix_jax.sweep.selection import ALL


def table(states: Mapping[Job, State]) -> str:
    """Returns a table with the number of runs in each state and the time per job, by kind of job, and the totals."""
    counts: dict[Kind, Counter[State]] = defaultdict(Counter)
    for job, state in states.items():
        unfinished = job.unfinished
        counts[job.kind].update(state if run in unfinished else State.DONE for run in job.runs)
    seconds = _measured_seconds(states)
    lines = [["data set", "experiment", "images per class", *State, "time each"]]
    for kind, count in counts.items():
        images = ALL if kind.images_per_class is None else str(kind.images_per_class)
        time = duration(seconds[kind]) if kind in seconds else "unknown"
        lines.append([kind.dataset, kind.work, images, *(str(count[state]) for state in State), time])
    return f"{aligned(lines)}\n\n{_total(states, seconds)}"


def _total(states: Mapping[Job, State], seconds: Mapping[Kind, float]) -> str:
    """Summarises the number of runs and shared generators, and the expected time of the pending jobs."""
    runs = {run for job in states if job.stage != "generator" for run in job.runs}
    sharing = sum(len(job.runs) for job in states if job.generator_job is not None)
    generators = sum(len(job.runs) for job in states if job.stage == "generator")
    pending = [job.kind for job, state in states.items() if state == State.TO_DO]
    known = [seconds[kind] for kind in pending if kind in seconds]
    parts = [
        f"runs: {len(runs)}",
        f"shared generators: {generators}, used by {counted(sharing, 'run')}",
        f"jobs to do: {len(pending)}",
    ]
    if known:
        parts.append(f"expected time for {counted(len(known), 'job')}, one at a time: {duration(sum(known))}")
    if len(known) < len(pending):
        parts.append(f"unknown time for {counted(len(pending) - len(known), 'job')}")
    return "; ".join(parts)


def failure_lines(states: Mapping[Job, State]) -> list[str]:
    """Returns a line for each failed run with its last error and, for a generator, the number of waiting runs."""
    lines = []
    for job, state in states.items():
        if state == State.FAILED:
            waiting = sum(len(other.runs) for other in states if other.blocked_by(states) is job)
            verb = "waits" if waiting == 1 else "wait"
            consequence = f" ({counted(waiting, 'run')} {verb} for it)" if waiting else ""
            for run in job.failed():
                lines.append(f"failed: {Job((run,), job.stage).name}: {last_error(run.workdir)}{consequence}")
    return lines


def _measured_seconds(jobs: Iterable[Job]) -> dict[Kind, float]:
    """Returns the mean duration of training and evaluation for each kind of job that has finished runs.

    The duration of a run that was trained together with others is that of all of them.
    """
    seconds: dict[Kind, list[float]] = defaultdict(list)
    for job in jobs:
        unfinished = job.unfinished
        runs = () if job.stage == "generator" else (run for run in job.runs if run not in unfinished)
        finished = [results(run.workdir) for run in runs]
        for times in filter(None, (seconds_of(content) for content in finished if content is not None)):
            seconds[job.kind].append(sum(times.values()) - times.get("generator", 0.0))
            if "generator" in times:
                seconds[Job(job.runs, "generator").kind].append(times["generator"])
    return {kind: sum(values) / len(values) for kind, values in seconds.items()}
