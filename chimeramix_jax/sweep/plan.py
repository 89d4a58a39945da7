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
from chimeramix_jax import files
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.identity import changes
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.results import aligned
from chimeramix_jax.runs import lock
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.stored_format import marked
from chimeramix_jax.summary.plan import FILE, read_plan
from chimeramix_jax.summary.trials import dataset_label
from chimeramix_jax.sweep import selection
from chimeramix_jax.sweep.finished import has_generator, is_finished, results
from chimeramix_jax.sweep.processes import ERROR, LOG, Task, last_error
from chimeramix_jax.sweep.selection import ALL, Run


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
        runs: what it works on: a run, or several that differ in nothing but their seed and are trained together.
        stage: of these: "generator", "classifier" (where another job makes the generator) or "all".
        generator_job: that other job.
    """

    runs: tuple[Run, ...]
    stage: str
    generator_job: "Job | None" = None

    @property
    def run(self) -> Run:
        """The run, the first one of several."""
        return self.runs[0]

    @property
    def name(self) -> str:
        """Tells it from every other job of the sweep."""
        return self._of_stage(selection.common_name(self.runs))

    @property
    def names(self) -> list[str]:
        """What its runs' jobs would be called if each had one of its own."""
        return [self._of_stage(run.name) for run in self.runs]

    def _of_stage(self, name: str) -> str:
        return f"{name} (generator)" if self.stage == "generator" else name

    @property
    def task(self) -> Task:
        """The program's arguments for what is left of it."""
        left = [run for run in self.runs if not is_finished(run.workdir, self.stage)] or self.runs
        arguments = [*selection.arguments(left), f"--stage={self.stage}"]
        if self.generator_job is not None:
            own = {run.config.seed for run in left}
            providers = [run for run in self.generator_job.runs if run.config.seed in own]
            if providers != list(left):
                arguments.append(f"--generator_workdir={selection.common_workdir(providers)}")
        return Task(tuple(arguments), tuple(run.workdir for run in left), self.stage)

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
        if not set(self.names).isdisjoint(queued):
            return State.QUEUED
        if all(is_finished(run.workdir, self.stage) for run in self.runs):
            return State.DONE
        return State.FAILED if self.failed() and not retry else State.TO_DO

    def failed(self) -> list[Run]:
        """Those of its runs that have failed."""

        def has_error(run: Run) -> bool:
            # A generator that has failed left the error for its own job.
            own = self.stage != "classifier" or has_generator(run.workdir)
            return own and (run.workdir / ERROR).exists()

        return [run for run in self.runs if not is_finished(run.workdir, self.stage) and has_error(run)]

    def blocked_by(self, states: Mapping["Job", State]) -> "Job | None":
        """The failed job that it waits for, if there is one."""
        needed = self.generator_job
        return needed if needed is not None and states[needed] == State.FAILED else None


def jobs_of(runs: Sequence[Run], seeds_per_job: int = 1) -> list[Job]:
    """The jobs that do these runs, each behind the one that it waits for.

    Runs that differ in nothing but their seed share a job, as many in one as ``seeds_per_job`` allows.
    """
    joint: dict[Job | None, Job] = {}  # which one a job of a single run has become a part of
    jobs: list[Job] = []
    for group in _alike(_single_jobs(runs)):
        waiting_for: dict[Job | None, list[Job]] = defaultdict(list)
        for job in group:
            waiting_for[joint.get(job.generator_job)].append(job)
        for needed, members in waiting_for.items():
            for start in range(0, len(members), seeds_per_job):
                chosen = members[start : start + seeds_per_job]
                jobs.append(Job(tuple(job.run for job in chosen), group[0].stage, needed))
                joint |= dict.fromkeys(chosen, jobs[-1])
    return jobs


def _alike(jobs: Iterable[Job]) -> list[list[Job]]:
    """The jobs in groups of those that differ in nothing but their seed; the first ones tell the groups' order."""
    groups: dict[Any, list[Job]] = defaultdict(list)
    for job in jobs:
        provider = None if job.generator_job is None else job.generator_job.run.pattern
        groups[job.stage, job.run.source, job.run.pattern, provider].append(job)
    return list(groups.values())


def _single_jobs(runs: Sequence[Run]) -> list[Job]:
    """The jobs, one for each run and each generator."""
    sharing: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if settings.needs_generator(run.config):
            sharing[_generator_key(run)].append(run)
    jobs: list[Job] = []
    generator_jobs: dict[str, Job] = {}
    for run in runs:
        if not settings.needs_generator(run.config):
            jobs.append(Job((run,), "all"))
            continue
        key = _generator_key(run)
        if key not in generator_jobs:
            generator_jobs[key] = Job((_owner(sharing[key]),), "generator")
            jobs.append(generator_jobs[key])
        # A run with a generator of its own keeps to it, as the program does.
        own = run is not generator_jobs[key].run and Workdir(run.workdir).generator.exists()
        jobs.append(Job((run,), "all") if own else Job((run,), "classifier", generator_jobs[key]))
    waited_for = {job.generator_job for job in jobs if results(job.run.workdir) is None}
    return [job for job in jobs if job.stage != "generator" or job in waited_for or has_generator(job.run.workdir)]


def _generator_key(run: Run) -> str:
    """The same for runs that can share a generator."""
    return json.dumps(settings.generator_identity(run.config))


def _owner(runs: Sequence[Run]) -> Run:
    """The run in whose directory a shared generator is, or is to be."""
    finished = [run for run in runs if has_generator(run.workdir)]
    begun = [run for run in runs if Workdir(run.workdir).generator.exists()]
    return [*finished, *begun, *runs][0]


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
    if not (folder / FILE).exists() and _names_in(folder) - {lock.NAME}:
        raise InputError(f"--workdir={folder}: holds something else than a sweep (no {FILE}); choose another")
    for run in runs:
        _check_run_directory(Workdir(run.workdir), run)


def _check_run_directory(workdir: Workdir, run: Run) -> None:
    if workdir.config.exists():
        differing = settings.differences(workdir.read_config(), run.config)
        if differing:
            raise InputError(
                f"--workdir={workdir.path.parent}: {run.name} there is a run with other settings "
                f"({settings.shortened(differing)}); choose another with --workdir"
            )
        _refuse_other_images(workdir, run)
    elif _names_in(workdir.path) - {LOG, ERROR, lock.NAME}:
        raise InputError(f"--workdir={workdir.path.parent}: {run.name} there holds something else than a run")


def _refuse_other_images(workdir: Workdir, run: Run) -> None:
    """Makes sure that a folder of images has not changed, since finished runs, left alone, would not notice."""
    stored = workdir.read_data() if run.config.dataset.directory else None
    if stored is None:
        return
    dataset = load_few_shot(run.config.dataset, run.config.max_labels_per_class, run.config.seed)
    if found := changes(stored, dataset.identity):
        raise InputError(
            f"--workdir={workdir.path.parent}: {run.name} there is a run on other data ({'; '.join(found)}); choose "
            "another with --workdir"
        )


def _names_in(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()


def write(folder: Path, runs: Sequence[Run]) -> None:
    """Writes the plan file that ``chimeramix summarize`` reads.

    Runs that an earlier command planned for this folder stay in it.

    Raises:
        InputError: the plan that is there cannot be read.
    """
    planned = {run.name: _planned(run) for run in runs}
    if read_plan(folder) is not None:
        there = json.loads((folder / FILE).read_bytes())["runs"]
        planned = {run["workdir"]: run for run in there} | planned
    files.write_json(folder / FILE, marked({"runs": list(planned.values())}))


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
    """The mean time that jobs of a kind have taken to train and measure, as far as finished runs tell.

    A run that was trained together with others has taken as long as they all.
    """
    seconds: dict[Kind, list[float]] = defaultdict(list)
    for job in jobs:
        found = [] if job.stage == "generator" else [results(run.workdir) for run in job.runs]
        for taken in (one["seconds"] for one in found if one is not None):
            seconds[job.kind].append(taken["classifier"] + taken.get("baseline", 0.0))
            if "generator" in taken:
                seconds[Job(job.runs, "generator").kind].append(taken["generator"])
    return {kind: sum(values) / len(values) for kind, values in seconds.items()}


def table(states: Mapping[Job, State]) -> str:
    """A line per kind of job: how many runs are how far, and how long a job takes; and what is left to do."""
    counts: dict[Kind, Counter[State]] = defaultdict(Counter)
    for job, state in states.items():
        counts[job.kind].update(State.DONE if is_finished(run.workdir, job.stage) else state for run in job.runs)
    seconds = measured_seconds(states)
    lines = [["data set", "experiment", "images per class", *State, "time each"]]
    for kind, count in counts.items():
        images = ALL if kind.images_per_class is None else str(kind.images_per_class)
        time = duration(seconds[kind]) if kind in seconds else "unknown"
        lines.append([kind.dataset, kind.work, images, *(str(count[state]) for state in State), time])
    return f"{aligned(lines)}\n\n{_total(states, seconds)}"


def _total(states: Mapping[Job, State], seconds: Mapping[Kind, float]) -> str:
    """The runs, the generators that they share, and the time that what is to be done takes, as far as it is known."""
    runs = {run for job in states if job.stage != "generator" for run in job.runs}
    borrowing = sum(len(job.runs) for job in states if job.generator_job is not None)
    generators = sum(len(job.runs) for job in states if job.stage == "generator")
    left = [job.kind for job, state in states.items() if state == State.TO_DO]
    known = [seconds[kind] for kind in left if kind in seconds]
    parts = [f"runs: {len(runs)}", f"generators: {generators}, for {borrowing} of them", f"jobs to do: {len(left)}"]
    if known:
        parts.append(f"{duration(sum(known))} for {len(known)} of these, one after another, as others of the kind took")
    if len(known) < len(left):
        parts.append(f"unknown time for {len(left) - len(known)}")
    return "; ".join(parts)


def failure_lines(states: Mapping[Job, State]) -> list[str]:
    """A line per failed run with its last error, for a generator with the number of runs that wait for it."""
    lines = []
    for job, state in states.items():
        if state == State.FAILED:
            waiting = sum(len(other.runs) for other in states if other.blocked_by(states) is job)
            consequence = f" ({waiting} runs wait for it)" if waiting else ""
            for run in job.failed():
                lines.append(f"failed: {Job((run,), job.stage).name}: {last_error(run.workdir)}{consequence}")
    return lines
