"""The estimate of hours, from finished runs and from steps that were timed."""

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.data.sampling import EpochPlan
from chimeramix_jax.reproduce import estimate
from chimeramix_jax.reproduce.estimate import StepTimes
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.sweep.plan import jobs_of


def states_of(part, seeds_per_job=1):
    jobs = jobs_of(part.runs, seeds_per_job)
    return {job: job.state(retry=False) for job in jobs}


def record(run, kind="H100", backend="gpu", together=1, **seconds):
    """Writes what the estimate reads of a finished run's results."""
    workdir = Workdir(run.workdir)
    workdir.claim(run.config)
    content = {"test": {"top1": 0.5}, "seconds": seconds, "device": {"kind": kind, "backend": backend}}
    if together is not None:
        content["seeds_together"] = dict.fromkeys(seconds, together)
    files.write_json(workdir.results, content)


def run_of(part, experiment, images=5, seed=0):
    wanted = experiment, images, seed
    (run,) = (
        run for run in part.runs if (run.config.experiment, run.config.max_labels_per_class, run.config.seed) == wanted
    )
    return run


@pytest.mark.parametrize("images", [5, 10, 30, 100])
@pytest.mark.parametrize("stage", ["generator", "classifier"])
def test_the_steps_are_those_of_the_training(images, stage):
    config = settings.load("configs/cifair10.py:chimeramix_grid")
    config.max_labels_per_class = images
    repeats = 500 // images
    assert estimate.steps_of(config, stage) == 200 * EpochPlan(10 * images, repeats, config[stage].batch_size).steps


def test_nothing_is_known_before_a_run_has_finished(part):
    states = states_of(part)
    assert estimate.from_finished(states) == []
    (line,) = estimate.lines(states, [])
    assert line == "estimate: unknown for 18 jobs; --estimate times a few steps of each kind on this device"


def test_a_finished_run_tells_the_time_of_other_sizes_and_seeds(part):
    run = run_of(part, "baseline")
    steps = {images: estimate.steps_of(run_of(part, "baseline", images).config, "classifier") for images in (5, 10)}
    record(run, classifier=2.0 * 3600 * steps[5])  # two hours a step
    states = states_of(part)
    known, unknown = estimate.lines(states, estimate.from_finished(states))
    hours = 2 * (2 * steps[5] + 3 * steps[10])
    assert known == f"estimate: {hours:,} GPU hours on H100 for 5 of 17 jobs, one at a time (from 1 finished run)"
    assert unknown == "estimate: unknown for 12 jobs; --estimate times a few steps of each kind on this device"


def test_a_run_that_mixes_tells_the_time_of_its_generator_too(part):
    run = run_of(part, "chimeramix_grid")
    steps = {stage: estimate.steps_of(run.config, stage) for stage in ("generator", "classifier")}
    record(run, classifier=1.0 * steps["classifier"], generator=3.0 * steps["generator"])
    (times,) = estimate.from_finished(states_of(part))
    assert sorted(times.seconds.values()) == [1.0, 3.0]
    assert {work for work, _ in times.seconds} == {"chimeramix_grid", "generator (grid)"}


@pytest.mark.parametrize("planned", [1, 3])
def test_seeds_that_were_trained_together_share_their_time_however_many_are_planned_now(part, planned):
    run = run_of(part, "baseline")
    steps = estimate.steps_of(run.config, "classifier")
    record(run, together=3, classifier=6.0 * steps)
    (times,) = estimate.from_finished(states_of(part, planned))
    assert list(times.seconds.values()) == [pytest.approx(2.0)]


def test_a_run_of_an_earlier_version_counts_as_trained_alone_and_the_estimate_says_so(part):
    steps = estimate.steps_of(run_of(part, "baseline").config, "classifier")
    for seed in range(2):
        record(run_of(part, "baseline", seed=seed), together=None if seed else 1, classifier=6.0 * steps)
    states = states_of(part, 3)
    (times,) = estimate.from_finished(states)
    assert list(times.seconds.values()) == [6.0]
    line, _ = estimate.lines(states, [times])
    assert "(from 2 finished runs); too high if 1 of the runs, of an earlier version, trained together" in line


def test_devices_are_never_averaged(part):
    record(run_of(part, "baseline", seed=0), kind="cpu", backend="cpu", classifier=100.0)
    record(run_of(part, "baseline", seed=1), classifier=1.0)
    record(run_of(part, "baseline", seed=2), classifier=1.0)
    states = states_of(part)
    fast, slow, _ = estimate.lines(states, estimate.from_finished(states))
    assert "on cpu" in slow and "(from 1 finished run)" in slow and "on H100" in fast and "(from 2 finished" in fast


def test_timed_steps_fill_what_finished_runs_leave_unknown(part):
    record(run_of(part, "baseline"), classifier=1.0)
    states = states_of(part)
    unknown = estimate.unknown_jobs(states, estimate.from_finished(states))
    assert {work for work, _ in unknown} == {"chimeramix_grid", "generator (grid)"}
    for device in (("cpu", "cpu"), ("H100", "gpu")):
        timed = StepTimes(*device, dict.fromkeys(unknown, 3600.0), timed=True)
        *_, last = estimate.lines(states, estimate.with_timed(estimate.from_finished(states), timed))
        if device[0] == "cpu":
            assert " on cpu for 12 of 17 jobs, one at a time (from steps timed now)" in last
        else:
            assert " on H100 for 17 jobs, one at a time (from 1 finished run and steps timed now)" in last


def test_finished_tables_need_no_time():
    assert estimate.lines({}, []) == ["estimate: nothing is left to train"]
