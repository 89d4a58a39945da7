"""The command, as a user starts it."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, TINY
from sweep import broken_photos

from chimeramix_jax.command_line import program
from chimeramix_jax.sweep import local


def main(arguments):
    return program.main(["sweep", *arguments])


@pytest.fixture
def start_sweep(data_dir, tmp_path):
    """Starts a sweep of tiny runs; the processes are ended with the test."""
    processes = []

    def start(*arguments, **changes):
        values = {"dataset.data_dir": data_dir, "compare_with_baseline": "false"} | TINY | changes
        del values["max_labels_per_class"]
        command = [sys.executable, "-m", "chimeramix_jax.sweep", f"--workdir={tmp_path / 'sweep'}"]
        command += [
            "--max_labels_per_class=2",
            *(f"--config.{key}={value}" for key, value in values.items()),
            *arguments,
        ]
        processes.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return processes[-1]

    yield start
    for process in processes:
        process.terminate()
        process.communicate()


@pytest.fixture
def run_sweep(start_sweep):
    """Runs a sweep to its end; returns exit code, standard output and standard error."""

    def run(*arguments, **changes):
        process = start_sweep(*arguments, **changes)
        output, errors = process.communicate(timeout=600)
        return process.returncode, output, errors

    return run


def row(output, experiment):
    """The numbers of an experiment in the table: done, failed, queued, to do."""
    (line,) = [line for line in output.splitlines() if f" {experiment} " in line]
    return [int(number) for number in re.findall(r" (\d+)(?= )", line)[1:5]]


@pytest.mark.slow
def test_one_failure_stops_nothing_else_and_is_tried_again_only_if_asked_for(run_sweep, tmp_path):
    digits = ["--datasets=digits", "--experiments=baseline,chimeramix_grid_direct", "--workers=2"]
    photos = [f"--datasets={broken_photos.write_config(tmp_path)},digits", "--experiments=baseline"]
    folder = tmp_path / "sweep"

    code, output, errors = run_sweep(*photos)
    assert code == 1
    (failing,) = (path.name for path in folder.glob("image_folder-photos-baseline-2-per-class-seed-0-*"))
    assert f"{failing}: failed: chimeramix: " in errors and errors.count("accuracy ") == 1
    assert f"failed: {failing}: chimeramix: " in output
    assert f"main.py summarize {folder}" in output
    assert "chimeramix: " in (folder / failing / "error.txt").read_text()
    (finished,) = folder.glob("digits-*/results.json")
    written = finished.stat().st_mtime_ns

    code, again, errors = run_sweep(*photos)
    assert (code, again, errors) == (1, output, "")  # nothing was started
    assert run_sweep(*photos, "--retry")[0] == 1
    assert (folder / failing / "log.txt").read_text().count("chimeramix: ") == 2
    assert run_sweep(*digits)[0] == 0  # the same sweep, larger
    assert len(list(folder.glob("digits-*/results.json"))) == 2 and finished.stat().st_mtime_ns == written
    assert len(json.loads((folder / "sweep.json").read_text())["runs"]) == 3


@pytest.mark.slow
def test_two_experiments_share_the_generator_that_is_trained_once_for_each_seed(run_sweep, tmp_path):
    asked = ["--datasets=digits", "--experiments=chimeramix_grid,chimeramix_grid_autoaugment", "--seeds=0:2"]
    code, output, errors = run_sweep(*asked, "--seeds_per_job=2")
    assert code == 0, errors
    assert errors.count("done in") == 3
    assert len(list((tmp_path / "sweep").glob("*/generator"))) == 2
    assert len(list((tmp_path / "sweep").glob("*/results.json"))) == 4
    assert "shared generators: 2, used by 4 runs; jobs to do: 0" in output


@pytest.mark.slow
def test_a_sweep_that_is_interrupted_stops_its_runs_with_a_checkpoint_and_can_go_on(start_sweep, run_sweep, tmp_path):
    asked = ["--datasets=digits", "--experiments=baseline"]
    changes = {"classifier.epochs": 300, "checkpoint.every_seconds": 0.0}
    process = start_sweep(*asked, **changes)
    anywhere = "digits-baseline-2-per-class-seed-0*/classifier/checkpoints/[0-9]*"
    until = time.monotonic() + 300
    while not any(path.name.isdigit() for path in (tmp_path / "sweep").glob(anywhere)):
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.1)
    (checkpoints,) = (tmp_path / "sweep").glob("*/classifier/checkpoints")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; the same command continues it" in errors and "Traceback" not in errors
    log = checkpoints.parents[1] / "log.txt"
    assert re.search(r"stopped.*\(SIGTERM.*the same command continues the run", log.read_text())
    assert not (checkpoints.parents[1] / "error.txt").exists()
    code, output, _ = run_sweep(*asked, "--dry_run", **changes)
    assert code == 0 and row(output, "baseline") == [0, 0, 0, 1]


def test_a_dry_run_tells_the_plan_and_touches_nothing(tmp_path, capsys):
    asked = ["--datasets=cifair10,stl10", "--experiments=study", "--seeds=0:2"]
    sizes = "--max_labels_per_class=5,100"
    assert main([*asked, sizes, f"--workdir={tmp_path / 'paper'}", "--dry_run"]) == 0
    output = capsys.readouterr().out
    assert "runs: 112; shared generators: 16, used by 48 runs; jobs to do: 128; unknown time for 128 jobs" in output
    assert not (tmp_path / "paper").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--datasets=digit", "--experiments=baseline"], "did you mean 'digits'"),
        (["--datasets=digits", "--experiments=baselin"], "did you mean 'baseline'"),
        (["--datasets=digits", "--experiments=baseline", "--seeds="], "--seeds: is empty"),
        (["--datasets=digits", "--experiments=baseline", "--config.sed=1"], "'sed': there is no such setting"),
        (
            ["--datasets=digits", "--experiments=baseline", "--worker=2"],
            "--worker: unknown flag (did you mean --workers?)",
        ),
        (["--datasets=digits", "--experiments=baseline", "--workers=0"], "--workers: '0' is not allowed"),
        (["--datasets=digits", "--experiments=baseline", "--workers=1000"], "--workers: 1000, but there are"),
        (
            ["--datasets=digits", "--experiments=baseline", "--launcher=cloud"],
            "--launcher: 'cloud' is not known; allowed: local, slurm",
        ),
        (["--datasets=digits"], "--experiments: sweep needs it"),
        (
            ["--datasets=digits", "--experiments=baseline", "--epochs=3"],
            "did you mean --config.generator.epochs, --config.pretraining.epochs or",
        ),
        (["--datasets=digits", "--experiments=baseline", "baseline"], "'baseline': not understood"),
        (["--datasets=digits", "--experiments=baseline", "--workdir={occupied}"], "is not empty and not a sweep"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(tmp_path, capsys, arguments, named):
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "thesis.tex").touch()
    filled = [argument.format(occupied=tmp_path / "occupied") for argument in arguments]
    if not any(argument.startswith("--workdir") for argument in filled):
        filled.append(f"--workdir={tmp_path / 'sweep'}")
    assert main(filled) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and named in errors
    assert [path.name for path in tmp_path.iterdir()] == ["occupied"]


@pytest.mark.parametrize(("devices", "name", "said"), [("gpu", "image_folder", 1), ("cpu", "image_folder", 0),
                                                       ("gpu", "image_folder_gpu", 0)])  # fmt: skip
def test_settings_for_a_cpu_are_named_on_a_gpu(tmp_path, capsys, monkeypatch, devices, name, said):
    monkeypatch.setattr(local, "jax_devices", lambda: (devices, 1))
    for animal in ("cat", "dog"):
        (tmp_path / "photos" / animal).mkdir(parents=True)
    arguments = [f"--datasets={name}", "--experiments=baseline", f"--config.dataset.directory={tmp_path / 'photos'}"]
    assert main([*arguments, f"--workdir={tmp_path / 'sweep'}", "--dry_run"]) == 0
    told = "--datasets=image_folder: has the settings for a CPU; image_folder_gpu has those for a GPU"
    assert capsys.readouterr().err.count(told) == said


def test_folds_are_trained_one_seed_per_job_and_that_is_said(tmp_path, capsys):
    arguments = ["--datasets=digits", "--experiments=baseline", "--seeds=0:3", f"--workdir={tmp_path / 'sweep'}"]
    assert main([*arguments, "--config.folds=5", "--seeds_per_job=3", "--dry_run"]) == 0
    output, errors = capsys.readouterr()
    assert "jobs to do: 3" in output and "--seeds_per_job=3: runs with folds train one seed per job" in errors


def test_an_option_of_slurm_that_is_none_leaves_no_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("chimeramix_jax.sweep.slurm.require", lambda: None)
    asked = ["--datasets=digits", "--experiments=baseline", "--launcher=slurm", f"--workdir={tmp_path / 'a' / 'b'}"]
    assert main([*asked, "--slurm_option=account"]) == 2
    assert "--slurm_option: 'account' is not allowed" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(importlib.util.find_spec("submitit") is None, reason="submitit is not installed")
def test_slurm_is_refused_where_there_is_none(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = ["--datasets=digits", "--experiments=baseline", "--launcher=slurm", f"--workdir={tmp_path / 'sweep'}"]
    assert main(asked) == 2
    assert "there is no sbatch on this machine" in capsys.readouterr().err


@pytest.mark.parametrize("more", [[], ["--dry_run"]])
def test_a_ray_cluster_that_cannot_be_reached_is_refused_before_anything_is_written(tmp_path, capsys, more):
    pytest.importorskip("ray", reason="Ray is not installed")
    asked = ["--datasets=digits", "--experiments=baseline", "--launcher=ray", f"--workdir={tmp_path / 'sweep'}"]
    assert main([*asked, "--ray_address=127.0.0.1:1", *more]) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and "--ray_address=127.0.0.1:1: no Ray cluster" in errors
    assert list(tmp_path.iterdir()) == []


def test_two_sweeps_at_once_in_one_folder_are_refused(tmp_path, capsys):
    from chimeramix_jax.runs import lock

    folder = tmp_path / "sweep"
    folder.mkdir()
    with lock.locked(folder):
        assert main(["--datasets=digits", "--experiments=baseline", f"--workdir={folder}"]) == 2
    assert f"in use by process {os.getpid()}" in capsys.readouterr().err
