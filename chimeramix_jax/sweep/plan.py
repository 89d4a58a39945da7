"""What a sweep has to do: its runs as jobs, the generators that they share, what is done, and how long the rest takes.

A generator that several runs need is trained once, in the directory of one of them; the classifiers wait for it and are
given that directory. Each run uses the generator of its own seed and images, as the published study does. Whatever is
done is told by the runs' own files, so that the same command goes on wherever it was stopped.
"""

import enum
import json
import os
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chimeramix_jax import config as settings
from chimeramix_jax import workdir_lock
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting import files
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.results import aligned
from chimeramix_jax.summary.plan import FILE, read_plan
from chimeramix_jax.summary.trials import dataset_label
from chimeramix_jax.sweep.processes import ERROR, LOG, Task, last_error
from chimeramix_jax.sweep.selection import ALL, Run
from chimeramix_jax.workdir import Workdir


class State(enum.StrEnum):
    """How far a job is."""

    DONE = "done"
    FAILED = "failed"
    QUEUED = "queued"  # with Slurm, waiting or running
    TO_DO = "to do"


@dataclass(frozen=True)
class Kind:
    """What jobs of about the same length have in common.

    Attributes:
        dataset: the data set, as people call it.
        work: the experiment, or which generator.
        images_per_class: None: all.
        settings: what else their length depends on.
    """

    dataset: str
    work: str
    images_per_class: int | None
    settings: str


@dataclass(frozen=True, eq=False)
class Job:
    """What one process does.

    Attributes:
        run: the run that it works on.
        stage: of that run: "generator", "classifier" (where another job makes the generator) or "all".
        generator_job: that other job.
    """

    run: Run
    stage: str
    generator_job: "Job | None" = None

    @property
    def name(self) -> str:
        """Tells it from every other job of the sweep."""
        return f"{self.run.name} (generator)" if self.stage == "generator" else self.run.name

    @property
    def task(self) -> Task:
        """The program's arguments for it."""
        arguments = [*self.run.arguments(), f"--stage={self.stage}"]
        if self.generator_job is not None and self.generator_job.run is not self.run:
            arguments.append(f"--generator_workdir={self.generator_job.run.workdir}")
        return Task(tuple(arguments), self.run.workdir)

    @property
    def kind(self) -> Kind:
        """Its kind; see there."""
        config = self.run.config
        work = f"generator ({config.mixing.mask})" if self.stage == "generator" else config.experiment
        dataset = dataset_label(config.dataset.name, config.dataset.directory)
        if self.stage == "generator":
            length = settings.generator_identity(config)
        else:
            length = settings.leaving_out(config, settings.NO_EFFECT_ON_RESULTS)
            length["compare_with_baseline"] = config.compare_with_baseline
        del length["seed"]
        return Kind(dataset, work, config.max_labels_per_class, json.dumps(length))

    def state(self, *, retry: bool, queued: Collection[str] = ()) -> State:
        """How far it is; ``queued`` names the jobs that Slurm has, and ``retry`` lets failed ones be done again."""
        if self.name in queued:
            return State.QUEUED
        if _has_generator(self.run.workdir) if self.stage == "generator" else _has_results(self.run.workdir):
            return State.DONE
        own_error = self.stage != "classifier" or _has_generator(self.run.workdir)  # else that of its generator's job
        failed = own_error and (self.run.workdir / ERROR).exists()
        return State.FAILED if failed and not retry else State.TO_DO

    def blocked_by(self, states: Mapping["Job", State]) -> "Job | None":
        """The failed job that it waits for, if there is one."""
        needed = self.generator_job
        return needed if needed is not None and states[needed] == State.FAILED else None


def jobs_of(runs: Sequence[Run]) -> list[Job]:
    """The jobs that do these runs, each behind the one that it waits for."""
    sharing: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if settings.needs_generator(run.config):
            sharing[_generator_key(run)].append(run)
    jobs: list[Job] = []
    generator_jobs: dict[str, Job] = {}
    for run in runs:
        if not settings.needs_generator(run.config):
            jobs.append(Job(run, "all"))
            continue
        key = _generator_key(run)
        if key not in generator_jobs:
            generator_jobs[key] = Job(_owner(sharing[key]), "generator")
            jobs.append(generator_jobs[key])
        # A run with a generator of its own keeps to it, as the program does.
        own = run is not generator_jobs[key].run and Workdir(run.workdir).generator.exists()
        jobs.append(Job(run, "all") if own else Job(run, "classifier", generator_jobs[key]))
    waited_for = {job.generator_job for job in jobs if not _has_results(job.run.workdir)}
    return [job for job in jobs if job.stage != "generator" or job in waited_for or _has_generator(job.run.workdir)]


def _generator_key(run: Run) -> str:
    """The same for runs that can share a generator."""
    return json.dumps(settings.generator_identity(run.config))


def _owner(runs: Sequence[Run]) -> Run:
    """The run in whose directory a shared generator is, or is to be."""
    finished = [run for run in runs if _has_generator(run.workdir)]
    begun = [run for run in runs if Workdir(run.workdir).generator.exists()]
    return [*finished, *begun, *runs][0]


def _has_generator(path: Path) -> bool:
    """Whether a run has a finished generator, as its drawn mixes tell. (Asking its checkpoints takes JAX.)"""
    workdir = Workdir(path)
    return workdir.picture.exists() and (workdir.generator.exists() or workdir.generator_from.exists())


def _has_results(path: Path) -> bool:
    return _results(path) is not None


def _results(path: Path) -> dict[str, Any] | None:
    """A run's results; None where there are none, or damaged ones: the run is done again then, but for its training."""
    try:
        return Workdir(path).read_results()
    except InputError:
        return None


def check_folder(folder: Path, runs: Sequence[Run]) -> None:
    """Makes sure that the sweep may write into its folder, and each run into its own; changes nothing.

    Raises:
        InputError: a folder holds something else, or a run with other settings; or it belongs to another sweep.
    """
    outer = next((parent for parent in folder.absolute().parents if (parent / FILE).exists()), None)
    if outer is not None:
        raise InputError(f"--workdir={folder}: lies in {outer}, which is the folder of another sweep; choose another")
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--workdir={folder}: is no folder; choose another")
    if not (folder / FILE).exists() and _names_in(folder) - {workdir_lock.NAME}:
        raise InputError(f"--workdir={folder}: holds something else than a sweep (no {FILE}); choose another")
    for run in runs:
        _check_run_directory(Workdir(run.workdir), run)


def _check_run_directory(workdir: Workdir, run: Run) -> None:
    if workdir.config.exists():
        differing = settings.differences(workdir.read_config(), run.config)
        if differing:
            raise InputError(
                f"--workdir={workdir.path.parent}: {run.name} there is a run with other settings "
                f"({'; '.join(differing)}); choose another with --workdir"
            )
    elif _names_in(workdir.path) - {LOG, ERROR, workdir_lock.NAME}:
        raise InputError(f"--workdir={workdir.path.parent}: {run.name} there holds something else than a run")


def _names_in(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def write(folder: Path, runs: Sequence[Run]) -> None:
    """Writes the plan file that ``python -m chimeramix_jax.summarize`` reads.

    Runs that an earlier command planned for this folder stay in it.

    Raises:
        InputError: the plan that is there cannot be read.
    """
    planned = {run.name: _planned(run) for run in runs}
    if read_plan(folder) is not None:
        there = json.loads((folder / FILE).read_bytes())["runs"]
        planned = {run["workdir"]: run for run in there} | planned
    files.write_json(folder / FILE, {"runs": list(planned.values())})


def _planned(run: Run) -> dict[str, Any]:
    dataset = run.config.dataset
    return {
        "workdir": run.name,
        "dataset": dataset.name,
        "directory": dataset.directory,
        "evaluate_on": dataset.evaluate_on,
        "experiment": run.config.experiment,
        "max_labels_per_class": run.config.max_labels_per_class,
        "seed": run.config.seed,
    }


def measured_seconds(jobs: Iterable[Job]) -> dict[Kind, float]:
    """The mean time that jobs of a kind have taken to train and measure, as far as finished runs tell."""
    seconds: dict[Kind, list[float]] = defaultdict(list)
    for job in jobs:
        results = None if job.stage == "generator" else _results(job.run.workdir)
        if results is not None:
            taken = results["seconds"]
            seconds[job.kind].append(taken["classifier"] + taken.get("baseline", 0.0))
            if "generator" in taken:
                seconds[Job(job.run, "generator").kind].append(taken["generator"])
    return {kind: sum(values) / len(values) for kind, values in seconds.items()}


def table(states: Mapping[Job, State]) -> str:
    """A line per kind of job: how many are how far, and how long one takes; and what is left to do."""
    counts: dict[Kind, Counter[State]] = defaultdict(Counter)
    for job, state in states.items():
        counts[job.kind][state] += 1
    seconds = measured_seconds(states)
    lines = [["data set", "experiment", "images per class", *State, "time each"]]
    for kind, count in counts.items():
        images = ALL if kind.images_per_class is None else str(kind.images_per_class)
        time = duration(seconds[kind]) if kind in seconds else "unknown"
        lines.append([kind.dataset, kind.work, images, *(str(count[state]) for state in State), time])
    return f"{aligned(lines)}\n\n{_total(states, seconds)}"


def _total(states: Mapping[Job, State], seconds: Mapping[Kind, float]) -> str:
    """The runs, the generators that they share, and the time that what is to be done takes, as far as it is known."""
    runs = {job.run for job in states if job.stage != "generator"}
    borrowing = sum(job.generator_job is not None for job in states)
    generators = sum(job.stage == "generator" for job in states)
    left = [job.kind for job, state in states.items() if state == State.TO_DO]
    known = [seconds[kind] for kind in left if kind in seconds]
    parts = [f"runs: {len(runs)}", f"generators: {generators}, for {borrowing} of them", f"jobs to do: {len(left)}"]
    if known:
        parts.append(f"{duration(sum(known))} for {len(known)} of these, one after another, as others of the kind took")
    if len(known) < len(left):
        parts.append(f"unknown time for {len(left) - len(known)}")
    return "; ".join(parts)


def failure_lines(states: Mapping[Job, State]) -> list[str]:
    """A line per failed job with its last error, and one per failed generator about the runs that wait for it."""
    lines = []
    for job, state in states.items():
        if state == State.FAILED:
            waiting = sum(other.blocked_by(states) is job for other in states)
            consequence = f" ({waiting} runs wait for it)" if waiting else ""
            lines.append(f"failed: {job.name}: {last_error(job.run.workdir)}{consequence}")
    return lines
