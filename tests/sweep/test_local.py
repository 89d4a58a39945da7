"""Tests of the pool of workers, with a program that only records when it ran."""

import contextlib
import json
import os
import sys
import time

import pytest

from chimeramix_jax.command_line import program
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import lock
from chimeramix_jax.sweep import local, pool, processes
from chimeramix_jax.sweep.local import LocalWorker
from chimeramix_jax.sweep.plan import State, jobs_of

PROGRAM = """
import json, os, pathlib, signal, sys, time
RESULTS = {"config": {"dataset": {"evaluate_on": "test"}}, "test": {"top1": 0.5, "examples": 697}}
given = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
seeds = given.get("config.seeds", given.get("config.seed")).split(",")
begun = time.time()
begun_names = pathlib.Path(given["workdir"]).parent / "begun"
begun_names.mkdir(exist_ok=True)
meeting = os.environ.get("MEETING", "").split(",") if given["stage"] == "classifier" else []
(begun_names / pathlib.Path(given["workdir"]).name).touch() if meeting else None
while not all((begun_names / name).exists() for name in meeting):
    if time.time() > begun + 60:
        sys.exit("the other one does not begin")
    time.sleep(0.02)
time.sleep(0.05)
for workdir in (pathlib.Path(given["workdir"].replace("{seed}", seed)) for seed in seeds):
    if workdir.name in os.environ.get("FAILING", ""):
        sys.exit("chimeramix: no")
    if workdir.name in os.environ.get("STOPPED", ""):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    if given["stage"] == "generator":
        (workdir / "generator").mkdir()
        (workdir / "mixing.png").touch()
    else:
        (workdir / "results.json").write_text(json.dumps(RESULTS))
    times = {"begun": begun, "ended": time.time(), "share": os.environ["SHARE"], "seeds": seeds}
    (workdir / f"{given['stage']}.times").write_text(json.dumps(times))
"""


@pytest.fixture
def run_pool(monkeypatch):
    """Runs the jobs of the runs; returns their states by name."""
    monkeypatch.setattr(processes, "command", lambda arguments: [sys.executable, "-c", PROGRAM, *arguments])

    def run(selected, workers=2, seeds_per_job=1):
        states = {job: job.state(retry=False) for job in jobs_of(selected, seeds_per_job)}
        cpus = frozenset(os.sched_getaffinity(0))
        pool.run(states, [LocalWorker(cpus, {"SHARE": str(number)}) for number in range(workers)])
        return {job.name: state for job, state in states.items()}

    return run


def times(run, stage):
    return json.loads((run.workdir / f"{stage}.times").read_text())


def test_classifiers_wait_for_their_generator_and_then_run_in_parallel(runs, run_pool, monkeypatch):
    first, second = selected = runs("chimeramix_grid,chimeramix_grid_autoaugment")
    monkeypatch.setenv("MEETING", f"{first.name},{second.name}")  # each waits until the other has begun
    assert set(run_pool(selected).values()) == {State.DONE}
    classifiers = [times(run, "classifier") for run in (first, second)]
    assert all(classifier["begun"] > times(first, "generator")["ended"] for classifier in classifiers)
    assert {classifier["share"] for classifier in classifiers} == {"0", "1"}


def test_a_run_that_another_process_is_still_in_is_left_to_it(runs, run_pool, capsys):
    here, elsewhere, free = selected = runs("baseline", seeds="0:3")
    elsewhere.workdir.mkdir(parents=True)
    (elsewhere.workdir / "lock.json").write_text('{"host": "elsewhere", "process": 7}')
    here.workdir.mkdir(parents=True)
    with lock.locked(here.workdir):  # as by a run whose sweep was killed
        states = run_pool(selected)
    assert states == {here.name: State.TO_DO, elsewhere.name: State.TO_DO, free.name: State.DONE}
    assert not (here.workdir / "error.txt").exists() and not (elsewhere.workdir / "error.txt").exists()
    lines = [line for line in capsys.readouterr().err.splitlines() if "in use by process" in line]
    assert len(lines) == 2 and f"process {os.getpid()} on host" in lines[0]
    assert lines[1].endswith(f"remove {elsewhere.workdir / 'lock.json'}")
    assert set(run_pool(selected[:1]).values()) == {State.DONE}


def test_a_run_that_a_killed_sweep_had_just_started_is_left_to_it(runs, run_pool, monkeypatch, capsys):
    (run,) = selected = runs("baseline")
    monkeypatch.setenv("FAILING", run.name)  # since the other process is in its directory
    start, other = LocalWorker.start, contextlib.ExitStack()

    def start_behind_another(worker, task):
        run.workdir.mkdir(parents=True)
        other.enter_context(lock.locked(run.workdir))
        return start(worker, task)

    monkeypatch.setattr(LocalWorker, "start", start_behind_another)
    with other:
        assert run_pool(selected) == {run.name: State.TO_DO}
    assert not (run.workdir / "error.txt").exists()
    assert f"{run.name}: --workdir={run.workdir}: in use by process {os.getpid()} " in capsys.readouterr().err


def test_seeds_of_one_run_share_a_process_and_fail_separately(runs, run_pool, monkeypatch, capsys):
    first, second, third = selected = runs("baseline", seeds="0:3")
    monkeypatch.setenv("FAILING", third.name)
    assert list(run_pool(selected, seeds_per_job=3).values()) == [State.FAILED]
    assert times(first, "all")["seeds"] == ["0", "1", "2"] and times(second, "all")["share"] == "0"
    assert [(run.workdir / "error.txt").exists() for run in selected] == [False, False, True]
    assert "digits-baseline-5-per-class-seed-{0,1,2}: failed: chimeramix: no" in capsys.readouterr().err


def test_seeds_whose_generator_is_trained_go_on_if_that_of_another_seed_fails(runs, run_pool, monkeypatch, capsys):
    selected = runs("chimeramix_grid,chimeramix_grid_autoaugment", seeds="0:3")
    owners = selected[::2]
    monkeypatch.setenv("FAILING", owners[2].name)
    name = "digits-{}-5-per-class-seed-{}".format
    assert run_pool(selected, seeds_per_job=3) == {
        name("chimeramix_grid", "{0,1} (generator)"): State.DONE,
        name("chimeramix_grid", "2 (generator)"): State.FAILED,
        name("chimeramix_grid", "{0,1}"): State.DONE,
        name("chimeramix_grid", "2"): State.TO_DO,
        name("chimeramix_grid_autoaugment", "{0,1}"): State.DONE,
        name("chimeramix_grid_autoaugment", "2"): State.TO_DO,
    }
    assert [(run.workdir / "results.json").exists() for run in selected] == [True] * 4 + [False] * 2
    assert "[1/6] digits-chimeramix_grid-5-per-class-seed-{0,1,2} (generator): failed" in capsys.readouterr().err


def test_a_worker_runs_one_job_at_a_time(runs, run_pool):
    selected = runs("baseline,cutout,mixup")
    assert set(run_pool(selected, workers=1).values()) == {State.DONE}
    spans = sorted((times(run, "all")["begun"], times(run, "all")["ended"]) for run in selected)
    assert spans[0][1] < spans[1][0] and spans[1][1] < spans[2][0]


def test_jobs_that_wait_for_a_failed_generator_are_not_started_and_all_others_are(runs, run_pool, monkeypatch, capsys):
    mixed, plain = selected = runs("chimeramix_grid,baseline")
    monkeypatch.setenv("FAILING", mixed.name)
    assert run_pool(selected) == {
        f"{mixed.name} (generator)": State.FAILED,
        mixed.name: State.TO_DO,
        plain.name: State.DONE,
    }
    errors = capsys.readouterr().err
    assert f"{mixed.name} (generator): failed: chimeramix: no" in errors
    assert f"{plain.name}: done in " in errors and "accuracy 50.0%" in errors


def test_a_run_stopped_from_outside_is_left_for_the_next_command(runs, run_pool, monkeypatch, capsys):
    (run,) = selected = runs("baseline")
    monkeypatch.setenv("STOPPED", run.name)
    began = time.monotonic()
    assert run_pool(selected) == {run.name: State.TO_DO}
    assert time.monotonic() - began < 50
    assert "stopped; the same command continues it" in capsys.readouterr().err
    monkeypatch.delenv("STOPPED")
    assert run_pool(selected) == {run.name: State.DONE}


def test_a_sweep_with_a_run_that_was_stopped_from_outside_does_not_end_as_done(
    runs, run_pool, monkeypatch, capsys, tmp_path
):
    stopped, _ = (run.name for run in runs("baseline", seeds="0,1"))
    monkeypatch.setattr(local, "jax_devices", lambda: ("cpu", 1))
    monkeypatch.setenv("SHARE", "0")

    def sweep(folder):
        chosen = ["--datasets=digits", "--experiments=baseline", "--max_labels_per_class=5", "--seeds=0,1"]
        code = program.main(["sweep", *chosen, f"--workdir={tmp_path / folder}"])
        return code, f"stopped or waiting: {stopped}; the same command continues them" in capsys.readouterr().out

    assert sweep("done") == (0, False)
    monkeypatch.setenv("STOPPED", stopped)
    assert sweep("stopped") == (1, True)


def test_every_gpu_has_a_worker_that_sees_only_this_gpu(monkeypatch):
    monkeypatch.setattr(local, "jax_devices", lambda: ("gpu", 2))
    for name in ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    assert [dict(worker.environment) for worker in local.workers(None)] == [
        {"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "0"},
        {"HIP_VISIBLE_DEVICES": "1", "CUDA_VISIBLE_DEVICES": "1"},
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,GPU-3a")
    assert set(local.workers(2)[1].environment.values()) == {"GPU-3a"}
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "3,2")  # ROCm reads both variables and prefers this one
    assert [worker.environment["HIP_VISIBLE_DEVICES"] for worker in local.workers(2)] == ["3", "2"]
    with pytest.raises(InputError, match="--workers: 3, but there are 2 GPUs; it must be a whole number from 1 to 2"):
        local.workers(3)


def test_without_gpus_workers_share_the_cores(monkeypatch):
    monkeypatch.setattr(local, "jax_devices", lambda: ("cpu", 1))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {2, 3, 5, 7})
    assert [worker.cpus for worker in local.workers(None)] == [{2, 3, 5, 7}]
    assert [worker.cpus for worker in local.workers(3)] == [{2, 7}, {3}, {5}]
    with pytest.raises(InputError, match="there are 4 CPU cores"):
        local.workers(5)


def test_the_error_of_a_jax_that_does_not_start_is_shown(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "abacus")
    with pytest.raises(InputError, match=r"--launcher=local: JAX does not start: .*abacus"):
        local.workers(None)
