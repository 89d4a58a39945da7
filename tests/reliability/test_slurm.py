"""Sweeps through a real Slurm: jobs requeued, warned and cancelled while they train, and jobs that fail.

Takes minutes and needs root and Slurm, so it runs only when asked for:
``python -m pytest -n0 -s -m slow tests/reliability/test_slurm.py``
"""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from conftest import ROOT, TINY
from reliability.slurm_cluster import missing, slurm
from sweep import broken_photos

pytest.importorskip("submitit", reason="submitit is not installed")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(missing() is not None, reason=str(missing()))]

# Stages of some ten seconds, with checkpoints from their first second on: time to stop them in the middle.
LONG_ENOUGH = {
    "checkpoint.every_seconds": 1.0,
    "classifier.epochs": 120,
    "compare_with_baseline": "false",
    "generator.epochs": 80,
}


@pytest.fixture(scope="module")
def variables():
    with slurm() as variables:
        yield os.environ | variables


@pytest.fixture
def sweep(variables, data_dir, tmp_path):
    """Runs the command; returns exit code, standard output and standard error."""

    def run(*arguments, **changes):
        values = {"dataset.data_dir": data_dir} | TINY | LONG_ENOUGH | changes
        del values["max_labels_per_class"]
        command = [sys.executable, "-m", "chimeramix_jax.sweep", "--launcher=slurm"]
        if not any(argument.startswith("--datasets=") for argument in arguments):
            command.append("--datasets=digits")
        command += [f"--config.{key}={value}" for key, value in values.items()]
        command += ["--max_labels_per_class=2", f"--workdir={tmp_path / 'sweep'}", "--slurm_cpus=1"]
        command += ["--slurm_minutes=30", *arguments]
        ended = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=120)
        return ended.returncode, ended.stdout, ended.stderr

    return run


@pytest.fixture
def counted(variables, checkout, data_dir, tmp_path):
    """Runs the command with runs that only count; returns exit code, standard output and standard error."""

    def run(*arguments, folder=tmp_path, count_to=20, **changes):
        command = [sys.executable, checkout / "program.py", "sweep", "--launcher=slurm", "--slurm_cpus=1"]
        command += ["--slurm_minutes=30", "--max_labels_per_class=2", f"--config.dataset.data_dir={data_dir}"]
        environment = variables | {"COUNT_TO": str(count_to)} | changes
        ended = subprocess.run(
            [*command, *arguments], env=environment, cwd=folder, capture_output=True, text=True, timeout=120
        )
        return ended.returncode, ended.stdout, ended.stderr

    return run


@pytest.fixture
def wait_until(variables, tmp_path):
    def wait(holds=lambda: not in_queue(variables), seconds=900):
        """Until it holds; fails at once where no job is left that could make it hold."""
        until = time.monotonic() + seconds
        while True:
            jobs_left = in_queue(variables)
            if holds():
                return
            if not jobs_left or time.monotonic() > until:
                said = [f"{path}: {path.read_text()[-2000:]}" for path in tmp_path.glob("**/sweep/*/*log*")]
                pytest.fail("\n".join([command_output(variables, "squeue", "--array"), *said]))
            time.sleep(0.3)

    return wait


def command_output(variables, *command):
    return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout


def in_queue(variables):
    return command_output(variables, "squeue", "--noheader", "--array").strip()


def ids(folder):
    return json.loads((folder / "slurm.json").read_text())


def has_checkpoint(run, stage):
    return any(path.name.isdigit() for path in (run / stage / "checkpoints").glob("*"))


def was_stopped(run, request):
    """Whether a run has told that it was stopped: with a checkpoint, or at once where it was in a long step."""
    return re.search(rf"stopped.*\({request}.*the same command continues", (run / "log.txt").read_text()) is not None


def test_a_sweep_survives_a_requeue_and_a_warning_in_the_middle(sweep, variables, tmp_path, wait_until):
    folder = tmp_path / "sweep"
    code, output, errors = sweep("--experiments=chimeramix_grid,chimeramix_grid_autoaugment", "--seeds=0:2")
    assert (code, errors) == (0, "") and "submitted: 6 jobs" in output
    planned = [run["workdir"] for run in json.loads((folder / "sweep.json").read_text())["runs"]]
    starts = [f"digits-chimeramix_grid-2-per-class-seed-{seed}" for seed in (0, 1)]
    first, second = (folder / next(name for name in planned if name.startswith(start)) for start in starts)

    wait_until(lambda: has_checkpoint(first, "generator"))
    command_output(variables, "scontrol", "requeue", ids(folder)[f"{first.name} (generator)"])
    wait_until(lambda: was_stopped(first, "SIGTERM"))
    assert sweep("--experiments=chimeramix_grid,chimeramix_grid_autoaugment", "--seeds=0:2")[0] == 0
    assert len(ids(folder)) == 6  # nothing was submitted twice

    wait_until(lambda: has_checkpoint(second, "classifier"))
    warning = ["scancel", "--signal=USR1", ids(folder)[second.name]]  # as Slurm does before the time is over
    command_output(variables, *warning)
    wait_until(lambda: was_stopped(second, "SIGUSR1"))

    wait_until(lambda: not in_queue(variables))
    assert len(list(folder.glob("*/results.json"))) == 4 and not list(folder.glob("*/error.txt"))
    assert len(list(folder.glob("*/generator"))) == 2
    code, output, errors = sweep("--experiments=chimeramix_grid,chimeramix_grid_autoaugment", "--seeds=0:2")
    assert (code, errors) == (0, "") and "submitted" not in output and "jobs to do: 0" in output


def test_a_cancelled_job_is_submitted_again_by_the_same_command_and_goes_on(sweep, variables, tmp_path, wait_until):
    folder = tmp_path / "sweep"
    assert sweep("--experiments=baseline")[0] == 0
    (run,) = (folder / name for name in ids(folder))
    wait_until(lambda: has_checkpoint(run, "classifier"))
    command_output(variables, "scancel", *ids(folder).values())
    wait_until(lambda: not in_queue(variables))
    assert not (run / "results.json").exists() and not (run / "error.txt").exists()
    code, output, _ = sweep("--experiments=baseline")
    assert code == 0 and "submitted: 1 job" in output
    wait_until(lambda: not in_queue(variables))
    assert (run / "results.json").exists()


def test_what_waits_for_a_generator_that_failed_leaves_the_queue_and_both_are_told(
    sweep, variables, tmp_path, wait_until
):
    asked = [f"--datasets={broken_photos.write_config(tmp_path)}", "--experiments=chimeramix_grid", "--seeds=0:2"]
    assert sweep(*asked)[0] == 0
    assert len(in_queue(variables).splitlines()) == 4
    wait_until(lambda: not in_queue(variables))
    code, output, _ = sweep(*asked)
    assert code == 1 and "submitted" not in output
    assert output.count("(generator): chimeramix: ") == 2 and output.count("(1 run waits for it)") == 2
    code, output, _ = sweep(*asked, "--retry")
    assert code == 0 and "submitted: 4 jobs" in output
    wait_until(lambda: not in_queue(variables))


def test_classifiers_run_without_the_seeds_whose_generator_failed_and_not_after_a_cancelled_generator(
    counted, variables, tmp_path, wait_until
):
    folder = tmp_path / "sweep"
    asked = ["--datasets=digits", "--experiments=chimeramix_grid,chimeramix_grid_autoaugment", "--workdir=sweep"]
    asked += ["--seeds=0:4", "--seeds_per_job=3"]
    name = "digits-chimeramix_grid{}-2-per-class-seed-{}".format
    assert counted(*asked, FAILING=name("", 1))[0] == 0
    submitted = ids(folder)
    assert len(in_queue(variables).splitlines()) == 6
    command_output(variables, "scancel", submitted[f"{name('', 3)} (generator)"])
    wait_until()
    assert {path.parent.name for path in folder.glob("*/results.json")} == {
        name(policy, seed) for policy in ("", "_autoaugment") for seed in (0, 2)
    }
    assert [path.parent.name for path in folder.glob("*/error.txt")] == [name("", 1)]
    assert len(list(folder.glob("*/classifier.count"))) == 4  # the others have not started
    code, output, _ = counted(*asked, "--dry_run")
    assert code == 0 and output.count("failed: ") == 1
    assert f"failed: {name('', 1)} (generator): chimeramix: no (2 runs wait for it)" in output
    code, output, _ = counted(*asked, "--retry", count_to=2)
    assert code == 0 and "submitted: 6 jobs" in output  # of the seeds 1 and 3
    wait_until()
    assert len(list(folder.glob("*/results.json"))) == 8 and not list(folder.glob("*/error.txt"))


def test_an_idea_from_a_file_runs_wherever_the_job_begins_unless_the_file_changes(
    counted, variables, idea, tmp_path, wait_until
):
    folder, content = idea.parent / "runs" / "sweep", idea.read_text()
    asked = ["--datasets=mine.py", "--experiments=mine,baseline", "--seeds=0:2", "--workdir=runs/sweep"]
    asked += ["--slurm_option=chdir=/", "--slurm_parallel=1"]  # one after the other, so that most begin late
    assert counted(*asked, folder=idea.parent, count_to=10)[0] == 0
    wait_until(lambda: list(folder.glob("*/all.count")))
    idea.write_text(content.replace("jnp.sum", "jnp.mean"))
    wait_until()
    assert len(list(folder.glob("*/results.json"))) == 3
    (refused,) = folder.glob("*/error.txt")
    assert "-mine-" in str(refused) and refused.read_text().count("\n") == 1
    assert re.match(r"chimeramix: classifier\.loss_code: .*mine\.py has changed: ", refused.read_text())
    idea.write_text(content)
    assert counted(*asked, "--retry", folder=idea.parent, count_to=2)[0] == 0
    wait_until()
    assert len(list(folder.glob("*/results.json"))) == 4 and not list(folder.glob("*/error.txt"))


def test_what_slurm_refuses_is_told_in_its_own_words(sweep):
    code, output, errors = sweep("--experiments=baseline", "--slurm_partition=nowhere")
    assert (code, output) == (2, "")
    assert errors.count("\n") == 1 and "invalid partition specified: nowhere" in errors
