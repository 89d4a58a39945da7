"""Plans the jobs of a sweep: the generators that runs share, and what is finished.

A generator that several runs need is trained once, in the directory of one of them; the classifiers wait for it and are
given that directory. Each run uses the generator of its own seed and images, as the published study does. The files of
the runs determine what is finished, so that repeating the command resumes a stopped sweep.
"""

import enum
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.summary.trials import dataset_label
from chimeramix_jax.sweep import selection
from chimeramix_jax.sweep.finished import has_generator, is_finished
from chimeramix_jax.sweep.processes import ERROR, Task
from chimeramix_jax.sweep.selection import SweepRun


class State(enum.StrEnum):
    """The state of a job."""

    DONE = "done"
    FAILED = "failed"
    QUEUED = "queued"  # submitted to Slurm: waiting or running
    TO_DO = "to do"


@dataclass(frozen=True)
class Kind:
    """What jobs of about the same duration have in common."""

    dataset: str
    work: str  # the experiment, or the kind of generator
    images_per_class: int | None  # training images per class; None: all
    settings: str  # the other settings that affect the duration, as JSON


@dataclass(frozen=True, eq=False)
class Job:
    """The work of one process."""

    runs: tuple[SweepRun, ...]  # one run, or several that differ only in the seed and are trained together
    stage: str  # the stage of these runs: "generator", "classifier" (if another job trains the generator) or "all"
    generator_job: "Job | None" = None

    @property
    def run(self) -> SweepRun:
        """The first run of the job."""
        return self.runs[0]

    @property
    def name(self) -> str:
        """The name of the job, unique in the sweep; several seeds as in ``...-seed-{0,1}``."""
        seeds = ",".join(str(run.config.seed) for run in self.runs)
        return self._of_stage(selection.common_workdir(self.runs).name.replace(settings.SEED_PLACE, f"{{{seeds}}}"))

    @property
    def names(self) -> list[str]:
        """The names that the jobs of its runs would have if each run had its own job."""
        return [self._of_stage(run.name) for run in self.runs]

    def _of_stage(self, name: str) -> str:
        return f"{name} (generator)" if self.stage == "generator" else name

    @property
    def unfinished(self) -> list[SweepRun]:
        """The runs that have not finished the stage."""
        return [
            run
            for run in self.runs
            if not is_finished(run.workdir, self.stage, with_baseline=_trains_baseline(run.config))
        ]

    @property
    def task(self) -> Task:
        """The task of running what is unfinished."""
        unfinished = self.unfinished or self.runs
        arguments = [*selection.arguments(unfinished), f"--stage={self.stage}"]
        if self.generator_job is not None:
            seeds = {run.config.seed for run in unfinished}
            providers = [run for run in self.generator_job.runs if run.config.seed in seeds]
            if providers != list(unfinished):
                arguments.append(f"--generator_workdir={selection.common_workdir(providers)}")
        workdirs = tuple(run.workdir for run in unfinished)
        return Task(tuple(arguments), workdirs, self.stage, _trains_baseline(self.run.config))

    @property
    def kind(self) -> Kind:
        """The kind of the job, which determines its expected duration."""
        config = self.run.config
        work = f"generator ({config.mixing.mask})" if self.stage == "generator" else config.experiment
        dataset = dataset_label(config.dataset.name, config.dataset.directory, division=-1)
        if self.stage == "generator":
            relevant = settings.generator_identity(config)
        else:
            relevant = settings.leaving_out(config, settings.NO_EFFECT_ON_RESULTS)
            relevant["compare_with_baseline"] = config.compare_with_baseline
        relevant = settings.leaving_out(relevant, ("seed", "dataset.division"))  # neither affects the duration
        return Kind(dataset, work, config.max_labels_per_class, json.dumps(relevant))

    def state(self, *, retry: bool, queued: Collection[str] = ()) -> State:
        """Returns the job's state, given whether failed jobs run again, and the names of the jobs that Slurm has."""
        if not set(self.names).isdisjoint(queued):
            return State.QUEUED
        if not self.unfinished:
            return State.DONE
        return State.FAILED if self.failed() and not retry else State.TO_DO

    def failed(self) -> list[SweepRun]:
        """Returns the runs of the job that have failed."""
        return [run for run in self.unfinished if self._is_of_this_job(run) and (run.workdir / ERROR).exists()]

    def _is_of_this_job(self, run: SweepRun) -> bool:
        """Whether an error of a run is one of this job.

        Until a run has the generator that it trains for itself and others, its errors belong to the generator's job.
        """
        trains_generator = self.generator_job is not None and run in self.generator_job.runs
        return not trains_generator or has_generator(run.workdir)

    def missing_generators(self, *, failed: bool = True) -> list[SweepRun]:
        """Returns the runs that have yet to finish generators which this job needs, with or without ``failed`` ones."""
        if self.generator_job is None:
            return []
        seeds = {run.config.seed for run in self.unfinished}
        left_out = () if failed else self.generator_job.failed()
        return [run for run in self.generator_job.unfinished if run.config.seed in seeds and run not in left_out]

    def blocked_by(self, states: Mapping["Job", State]) -> "Job | None":
        """Returns the failed job that this job waits for, if there is one."""
        needed = self.generator_job
        return needed if needed is not None and states[needed] == State.FAILED else None


def jobs_of(runs: Sequence[SweepRun], seeds_per_job: int = 1) -> list[Job]:
    """Returns the jobs of these runs, each after the one that it waits for.

    Runs that differ only in the seed share a job, with at most ``seeds_per_job`` runs each. A run with folds has a job
    of its own, since its folds train together. Runs that have failed share jobs only with each other, so that they do
    not keep the other seeds, or the classifiers of these, from being run.
    """
    combined: dict[Job | None, Job] = {}  # maps the job of a single run to the job that includes it
    jobs: list[Job] = []
    for group in _grouped_by_seed(_single_jobs(runs)):
        most = 1 if group[0].run.config.folds else seeds_per_job
        together: dict[tuple[Job | None, bool], list[Job]] = defaultdict(list)
        for job in group:
            together[combined.get(job.generator_job), bool(job.failed())].append(job)
        for (needed, _), members in together.items():
            for start in range(0, len(members), most):
                chosen = members[start : start + most]
                jobs.append(Job(tuple(job.run for job in chosen), group[0].stage, needed))
                combined |= dict.fromkeys(chosen, jobs[-1])
    return jobs


def separate_failed(states: dict[Job, State], failed: Job) -> None:
    """Divides a job that has trained the generators of some seeds only, and the jobs that wait for it.

    So the classifiers of the seeds that have a generator can be run. Changes ``states``, which keep their order.
    """
    lost = {run.config.seed for run in failed.unfinished}
    if failed.stage != "generator" or len(lost) in (0, len(failed.runs)):
        return
    trained, left = _by_seed(failed, lost)
    divided: dict[Job, State] = {}
    for job, state in states.items():
        if job is failed:
            divided |= {trained: State.DONE, left: State.FAILED}
        elif job.generator_job is failed:
            others, waiting = _by_seed(job, lost)
            parts = (replace(others, generator_job=trained), replace(waiting, generator_job=left))
            divided |= dict.fromkeys((part for part in parts if part.runs), state)
        else:
            divided[job] = state
    states.clear()
    states.update(divided)


def _by_seed(job: Job, seeds: Collection[int]) -> tuple[Job, Job]:
    """Returns the job without the runs of some seeds, and with these runs only; either may have no runs."""
    of_seeds = tuple(run for run in job.runs if run.config.seed in seeds)
    others = tuple(run for run in job.runs if run not in of_seeds)
    return replace(job, runs=others), replace(job, runs=of_seeds)


def _trains_baseline(config: ConfigDict) -> bool:
    """Whether a run also trains a baseline that its classifier is compared with."""
    return config.compare_with_baseline and config.mixing.mask != "none"


def _grouped_by_seed(jobs: Iterable[Job]) -> list[list[Job]]:
    """Groups jobs that differ only in the seed; groups are in the order of their first jobs."""
    groups: dict[Any, list[Job]] = defaultdict(list)
    for job in jobs:
        provider = None if job.generator_job is None else job.generator_job.run.pattern
        groups[job.stage, job.run.source, job.run.pattern, provider].append(job)
    return list(groups.values())


def _single_jobs(runs: Sequence[SweepRun]) -> list[Job]:
    """Returns one job for each run and for each generator."""
    sharing: dict[str, list[SweepRun]] = defaultdict(list)
    for run in runs:
        if _shares_generator(run):
            sharing[_generator_key(run)].append(run)
    jobs: list[Job] = []
    generator_jobs: dict[str, Job] = {}
    for run in runs:
        if not _shares_generator(run):
            jobs.append(Job((run,), "all"))
            continue
        key = _generator_key(run)
        if key not in generator_jobs:
            generator_jobs[key] = Job((_owner(sharing[key]),), "generator")
            jobs.append(generator_jobs[key])
        # A run that has its own generator keeps using it, as the program does.
        own = run is not generator_jobs[key].run and Workdir(run.workdir).generator.exists()
        jobs.append(Job((run,), "all") if own else Job((run,), "classifier", generator_jobs[key]))
    required = {job.generator_job for job in jobs if job.unfinished}
    return [job for job in jobs if job.stage != "generator" or job in required or has_generator(job.run.workdir)]


def _shares_generator(run: SweepRun) -> bool:
    """Whether a run's generator may be that of another run; the models of folds need generators of their own."""
    return settings.needs_generator(run.config) and not run.config.folds


def _generator_key(run: SweepRun) -> str:
    """Returns a key that is equal for runs that can share a generator."""
    return json.dumps(settings.generator_identity(run.config))


def _owner(runs: Sequence[SweepRun]) -> SweepRun:
    """Returns the run whose directory has, or will have, the shared generator."""
    finished = [run for run in runs if has_generator(run.workdir)]
    started = [run for run in runs if Workdir(run.workdir).generator.exists()]
    return [*finished, *started, *runs][0]
