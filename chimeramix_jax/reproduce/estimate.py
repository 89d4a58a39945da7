"""Estimates the device hours of the pending jobs of a sweep, from finished runs or from steps that were timed.

An epoch shows about the same number of images whatever the number of images per class, so the time of a run is the
number of its steps times the time of a step. That depends on the data set, the experiment and the device, and one
finished run of any size and seed is enough to know it.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ml_collections import ConfigDict

from chimeramix_jax.config.catalog import dataset_entry, lists_of
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.wording import counted
from chimeramix_jax.sweep.finished import results, seconds_of, seeds_together
from chimeramix_jax.sweep.plan import Job, State

Work = tuple[str, str]  # jobs with the same steps: what they train, and the settings that the steps depend on


@dataclass(frozen=True)
class StepTimes:
    """Seconds per step on a device, by work."""

    device: str  # its kind, as JAX names it
    backend: str  # "cpu", "gpu" or "tpu"
    seconds: Mapping[Work, float]
    runs: int = 0  # the number of finished runs that they are from
    unknown: int = 0  # those of them that do not say how many seeds trained together; they count as trained alone
    timed: bool = False  # whether steps were timed now


@dataclass
class _Found:
    """The step times of the finished runs on a device."""

    seconds: dict[Work, list[float]] = field(default_factory=lambda: defaultdict(list))
    runs: int = 0
    unknown: int = 0


def work_of(job: Job) -> Work:
    """Returns the work of a job, which is the same for all numbers of images and seeds."""
    relevant = json.loads(job.kind.settings)
    relevant.pop("max_labels_per_class", None)
    return job.kind.work, json.dumps(relevant)


def steps_of(config: ConfigDict, stage: str) -> int:
    """Returns the number of training steps of a stage, "generator" or "classifier", with images of a known data set."""
    from chimeramix_jax.data.sampling import EpochPlan, repeats_per_epoch  # imports JAX, which takes a second

    settings = config[stage]
    repeats = repeats_per_epoch(settings.num_dataset_repeats_base, config.max_labels_per_class)
    return settings.epochs * EpochPlan(training_images(config), repeats, settings.batch_size).steps


def training_images(config: ConfigDict) -> int:
    """Returns the number of training images of a run on a data set of a table, for which it is known beforehand."""
    classes, images = dataset_entry(config.dataset.name).classes, config.max_labels_per_class
    if images is not None:
        assert classes is not None, "tables have data sets whose classes are known"
        return classes * images
    lists = lists_of(config.dataset.name)
    assert lists is not None and not config.repeat_unlimited, "tables use all images of listed data sets only, once"
    return lists.training_images


def from_finished(jobs: Iterable[Job]) -> list[StepTimes]:
    """Returns the step times of finished runs, one entry per kind of device, that with the most runs first.

    The time that a run records is that of all seeds that were trained together, and is divided by their number, which
    runs of earlier versions do not record.
    """
    found: dict[tuple[str, str], _Found] = defaultdict(_Found)
    for job in jobs:
        for run in job.runs if job.stage != "generator" else ():
            content = results(run.workdir) or {}
            device, times_of_run = content.get("device"), seconds_of(content)
            if not isinstance(device, Mapping) or "classifier" not in times_of_run:
                continue
            on_device = found[str(device.get("kind")), str(device.get("backend"))]
            on_device.runs += 1
            on_device.unknown += seeds_together(content, "classifier") is None
            for stage, part in (("classifier", job), ("generator", Job(job.runs, "generator"))):
                if (seconds := times_of_run.get(stage)) is not None:
                    together = seeds_together(content, stage) or 1
                    on_device.seconds[work_of(part)].append(seconds / steps_of(run.config, stage) / together)
    times = [
        StepTimes(
            kind,
            backend,
            {work: sum(values) / len(values) for work, values in on_device.seconds.items()},
            on_device.runs,
            on_device.unknown,
        )
        for (kind, backend), on_device in found.items()
    ]
    return sorted(times, key=lambda entry: -entry.runs)


def unknown_jobs(states: Mapping[Job, State], times: Iterable[StepTimes]) -> dict[Work, Job]:
    """Returns a pending job for each work whose step time is not among ``times``."""
    known = {work for entry in times for work in entry.seconds}
    return {work_of(job): job for job in _pending(states) if work_of(job) not in known}


def with_timed(times: Iterable[StepTimes], timed: StepTimes) -> list[StepTimes]:
    """Returns the step times with those that were timed now, joined to those of finished runs on the same device."""
    result, place = [], (timed.device, timed.backend)
    for entry in times:
        if (entry.device, entry.backend) == place:
            both = {**timed.seconds, **entry.seconds}
            timed = replace(timed, seconds=both, runs=entry.runs, unknown=entry.unknown)
        else:
            result.append(entry)
    return [*result, timed]


def lines(states: Mapping[Job, State], times: Sequence[StepTimes]) -> list[str]:
    """Returns a line per device with the hours of the pending jobs that are known there, and one about the others."""
    pending = _pending(states)
    if not pending:
        return ["estimate: nothing is left to train"]
    found = [line for entry in times if (line := _line(pending, entry))]
    known = {work for entry in times for work in entry.seconds}
    if left := sum(work_of(job) not in known for job in pending):
        found.append(
            f"estimate: unknown for {counted(left, 'job')}; --estimate times a few steps of each kind on this device"
        )
    return found


def _line(pending: list[Job], times: StepTimes) -> str:
    known = [job for job in pending if work_of(job) in times.seconds]
    if not known:
        return ""
    seconds = sum(_run_steps(job) * times.seconds[work_of(job)] for job in known)
    measured = [counted(times.runs, "finished run")] if times.runs else []
    measured += ["steps timed now"] if times.timed else []
    hours = _hours(seconds, "GPU hours" if times.backend == "gpu" else "hours")
    jobs = counted(len(pending), "job")
    jobs = jobs if len(known) == len(pending) else f"{len(known)} of {jobs}"
    line = f"estimate: {hours} on {times.device} for {jobs}, one at a time (from {' and '.join(measured)})"
    if times.unknown:
        line += f"; too high if {times.unknown} of the runs, of an earlier version, trained together with other seeds"
    return line


def _run_steps(job: Job) -> int:
    """Returns the steps of all runs of a job that are not finished."""
    stage = "generator" if job.stage == "generator" else "classifier"
    return sum(steps_of(run.config, stage) for run in job.unfinished)


def _pending(states: Mapping[Job, State]) -> list[Job]:
    return [job for job, state in states.items() if state in (State.TO_DO, State.QUEUED)]


def _hours(seconds: float, unit: str) -> str:
    """Formats a time in hours with two digits or more, as further ones would pretend to be exact."""
    hours = seconds / 3600
    return duration(seconds) if hours < 1 else f"{hours:,.{0 if hours >= 10 else 1}f} {unit}"
