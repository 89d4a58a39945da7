"""What is submitted to Slurm, and what its jobs do when they start; Slurm's commands are replaced by a script."""

import os
import pickle
import sys

import pytest

from chimeramix_jax.errors import InputError
from chimeramix_jax.sweep import processes, slurm
from chimeramix_jax.sweep.plan import State, jobs_of

GRIDS = "chimeramix_grid,chimeramix_grid_autoaugment"

# sbatch counts the jobs that it is given, and all commands write down how they were called.
COMMAND = """#!/bin/sh
echo "$(basename "$0") $*" >> "{log}"
case "$(basename "$0")" in
  sbatch) echo "Submitted batch job $(grep -c sbatch "{log}")"; grep '^#SBATCH' "$1" >> "{log}" ;;
  scontrol) [ -z "$FAILING" ] || {{ echo "slurm error: no" >&2; exit 1; }} ;;
esac
"""

# Trains the generators of all seeds but 1.
GENERATORS = """
import pathlib, sys
given = dict(argument.lstrip("-").split("=", 1) for argument in sys.argv[1:])
seeds = given.get("config.seeds", given.get("config.seed")).split(",")
for seed in seeds:
    workdir = pathlib.Path(given["workdir"].replace("{seed}", seed))
    if seed != "1":
        (workdir / "generator").mkdir()
        (workdir / "mixing.png").touch()
if "1" in seeds:
    sys.exit("chimeramix: no")
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Replaces Slurm's commands; returns the lines that they wrote."""
    folder, log = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    for name in ("sbatch", "scontrol", "scancel", "squeue", "srun"):
        (folder / name).write_text(COMMAND.format(log=log))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return lambda: log.read_text().splitlines()


@pytest.fixture
def submit(tmp_path, commands):
    pytest.importorskip("submitit", reason="submitit is not installed")
    resources = slurm.Resources(None, 60, None, None, None, 1, {})

    def submit(selected, seeds_per_job=1):
        states = {job: job.state(retry=False) for job in jobs_of(selected, seeds_per_job)}
        (tmp_path / "sweep").mkdir(exist_ok=True)
        return slurm.submit(states, tmp_path / "sweep", resources)

    return submit


def test_each_classifier_of_an_array_gets_its_own_generator_before_any_can_start(runs, submit, commands):
    submit(runs(GRIDS, seeds="0:2"))
    control = [line for line in commands() if line.startswith("scontrol")]
    assert control == [
        line
        for array in (2, 3)
        for line in (
            f"scontrol update JobId={array}_0 Dependency=afterok:1_0",
            f"scontrol update JobId={array}_1 Dependency=afterok:1_1",
            f"scontrol release {array}",
        )
    ]
    assert commands().count("#SBATCH --hold") == 2  # and not the generators
    assert commands().count("#SBATCH --array=0-1%1") == 3


def test_a_single_classifier_needs_no_array_that_is_held(runs, submit, commands):
    submit(runs(seeds="0"))
    assert "#SBATCH --dependency=afterok:1" in commands()
    assert not [line for line in commands() if "hold" in line or "scontrol" in line]


def test_an_array_that_cannot_be_given_its_generators_is_cancelled(runs, submit, commands, monkeypatch):
    monkeypatch.setenv("FAILING", "1")
    with pytest.raises(InputError, match=r"scontrol update JobId=2_0 .* failed: slurm error: no$"):
        submit(runs(seeds="0:2"))
    assert commands()[-1] == "scancel 2"


def test_generators_that_were_submitted_one_by_one_need_not_all_succeed(runs):
    (generator,) = (job for job in jobs_of(runs(seeds="0:3"), seeds_per_job=3) if job.stage == "generator")
    first, second, _ = generator.names
    assert slurm.dependency(generator, dict.fromkeys(generator.names, "7_2")) == "afterok:7_2"
    assert slurm.dependency(generator, {first: "7_0", second: "7_1", "other": "8"}) == "afterany:7_0:7_1"
    assert slurm.dependency(generator, {}) is None  # it has ended meanwhile


def test_a_job_trains_the_seeds_whose_generator_is_finished(runs, finish, monkeypatch, capsys):
    monkeypatch.setattr(slurm, "SECONDS_UNTIL_VISIBLE", 0.0)
    selected = runs(GRIDS, seeds="0:3")
    jobs = jobs_of(selected, seeds_per_job=3)
    job = pickle.loads(pickle.dumps(jobs[-1]))  # as Slurm's job gets it, before anything is trained
    with pytest.raises(RuntimeError, match="not started, as its generator is not finished"):
        slurm.startable(job)
    owners = [run for run in selected if run.config.experiment == "chimeramix_grid"]
    for run in (owners[0], owners[2]):
        finish(run, generator=True)
    assert slurm.startable(job).workdirs == (job.runs[0].workdir, job.runs[2].workdir)
    arguments = slurm.startable(job).arguments
    assert "--config.seeds=0,2" in arguments
    assert arguments[-1] == f"--generator_workdir={owners[0].pattern}"
    assert "has no generator for seed 1" in capsys.readouterr().out
    finish(owners[1], generator=True)  # by another command, while the job waited
    assert len(slurm.startable(job).workdirs) == 3


def test_a_generator_that_failed_is_not_waited_for(runs, finish):
    selected = runs(seeds="0:2")
    finish(selected[0], generator=True)
    selected[1].workdir.mkdir(parents=True)
    (selected[1].workdir / "error.txt").write_text("no\n")
    job = jobs_of(selected)[0]
    assert not job.missing_generators()  # it is the generator
    *_, failed = jobs_of(selected)
    assert failed.missing_generators() == [selected[1]] and not failed.missing_generators(failed=False)
    with pytest.raises(RuntimeError, match="not started"):
        slurm.startable(failed)


def test_a_job_of_generators_fails_only_if_all_do_so_that_slurm_starts_what_waits(runs, monkeypatch):
    monkeypatch.setattr(processes, "command", lambda arguments: [sys.executable, "-c", GENERATORS, *arguments])
    selected = runs(seeds="0:2")
    both, alone = jobs_of(selected, seeds_per_job=2)[0], jobs_of(selected[1:])[0]
    slurm.ContinuedWhenRequeued()(both.task)
    assert [(run.workdir / "error.txt").exists() for run in selected] == [False, True]
    with pytest.raises(RuntimeError, match="exit code 1"):
        slurm.ContinuedWhenRequeued()(alone.task)
    states = {job: job.state(retry=False) for job in jobs_of(selected, seeds_per_job=2)}
    assert sorted(states.values()) == [State.DONE, State.FAILED, State.TO_DO, State.TO_DO]
