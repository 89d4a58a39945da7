"""The command, as a user calls it."""

import json
import os
import subprocess
import sys

import pytest
from conftest import TINY

from chimeramix_jax.command_line import program
from chimeramix_jax.reproduce import step_time

MEASURED = {"baseline": (0.55, 0.60, 0.65), "chimeramix_grid": (0.60, 0.61, 0.62)}


def main(*arguments):
    return program.main(["reproduce", *map(str, arguments)])


def test_without_a_table_all_are_listed(table, capsys):
    assert main() == 0
    output = capsys.readouterr().out
    assert "small                  5    12  A small table" in output and "reproduce TABLE --dry_run" in output


def test_a_dry_run_shows_the_plan_and_the_estimate_and_touches_nothing(table, tmp_path, capsys):
    assert main("small", f"--workdir={tmp_path / 'runs'}", "--dry_run") == 0
    output = capsys.readouterr().out
    assert "runs: 12; shared generators: 6, used by 6 runs; jobs to do: 18" in output
    assert "estimate: unknown for 18 jobs; --estimate times" in output
    assert not (tmp_path / "runs").exists()


def test_a_finished_part_is_only_shown_and_becomes_a_sweep(part, fill, tmp_path, capsys):
    fill(part, MEASURED)
    folder = tmp_path / "runs"
    arguments = ["small", f"--workdir={folder}", "--max_labels_per_class=5"]
    assert main(*arguments, "--report") == 2  # not a sweep yet, and so it could be anything
    assert "is not empty and not a sweep" in capsys.readouterr().err
    (folder / "sweep.json").write_text(json.dumps({"runs": []}))
    assert main(*arguments, "--seeds_per_job=1") == 0
    output = capsys.readouterr().out
    assert "jobs to do: 0" in output and "| inside it " in output
    assert len(json.loads((folder / "sweep.json").read_text())["runs"]) == 6
    assert (folder / "reproduce-small.html").exists()


def test_the_report_of_what_is_there_starts_nothing(part, fill, tmp_path, capsys):
    fill(part, {"baseline": (0.55, 0.60)})
    (tmp_path / "runs" / "sweep.json").write_text(json.dumps({"runs": []}))
    before = sorted(path.name for path in (tmp_path / "runs").iterdir())
    assert main("small", f"--workdir={tmp_path / 'runs'}", "--report") == 0
    output = capsys.readouterr().out
    assert "2 of 3" in output and "no finished run" in output
    written = [f"reproduce-small.{kind}" for kind in ("csv", "html", "md")]
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == sorted([*before, *written])


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["smal"], "TABLE: 'smal' is not known (did you mean 'small'?)"),
        (["--dry_run"], "TABLE: missing; it must be one of small"),
        (["small", "other"], "'other': not understood"),
        (["small", "--datasets=digit"], "did you mean 'digits'"),
        (["small", "--dataset=digits"], "--dataset: unknown flag (did you mean --datasets?)"),
        (["small", "--report", "--estimate"], "--report: only writes the page"),
        (["small", "--report", "--retry"], "--report: only writes the page, so it cannot be combined with --retry"),
        (["small", "--report", "--launcher=slurm"], "so it cannot be combined with --launcher"),
        (["small", "--ray_cpus=4"], "--ray_cpus: --launcher=local does not take it; it needs --launcher=ray"),
        (["small", "another"], "'another': not understood"),
        (["small", "--report"], "no such folder; leave out --report to start the runs"),
        (["small", "--workdir={occupied}"], "is not empty and not a sweep"),
        (["small", "--config.classifier.epoch=3"], "there is no such setting"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(table, tmp_path, capsys, arguments, named):
    (tmp_path / "occupied").mkdir()
    (tmp_path / "occupied" / "thesis.tex").touch()
    filled = [argument.format(occupied=tmp_path / "occupied") for argument in arguments]
    if not any(argument.startswith("--workdir") for argument in filled):
        filled.append(f"--workdir={tmp_path / 'runs'}")
    assert main(*filled) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and named in errors
    assert not (tmp_path / "runs").exists()


def test_runs_with_other_settings_are_refused(part, fill, tmp_path, capsys):
    fill(part, {"baseline": (0.5,)})
    (tmp_path / "runs" / "sweep.json").write_text(json.dumps({"runs": []}))
    path = part.runs[0].workdir / "config.json"
    stored = json.loads(path.read_text())
    stored["classifier"]["epochs"] = 1
    path.write_text(json.dumps(stored))
    assert main("small", f"--workdir={tmp_path / 'runs'}", "--report") == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and "is a run with different settings (classifier.epochs: 1 stored" in errors


def test_a_data_set_that_is_not_available_is_named_before_anything_starts(tmp_path, capsys):
    arguments = ["--datasets=cifair10", "--experiments=baseline", "--seeds=0", f"--workdir={tmp_path / 'runs'}"]
    archive = tmp_path / "ciFAIR-10.zip"
    archive.write_bytes(b"half of a download")
    arguments += [f"--config.dataset.data_dir={tmp_path / 'data'}", f"--config.dataset.archive={archive}"]
    assert main("gem", *arguments) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and f"cifair10 is not available: dataset.archive: {archive} is not https" in errors
    assert list(tmp_path.iterdir()) == [archive]


def test_steps_are_timed_in_a_process_of_their_own(table, tmp_path, capsys, monkeypatch):
    # As in the real process, but without JAX: its answers are one for the device and one for each kind of step.
    answering = "import json, sys; n = len(json.load(sys.stdin));"
    answering += "print(json.dumps({'kind': 'H100', 'backend': 'gpu'}));"
    answering += "print(json.dumps({'seconds': 0.5}), sep='') if n == 1 else None"
    monkeypatch.setattr(step_time, "COMMAND", [sys.executable, "-c", answering])
    arguments = ["small", f"--workdir={tmp_path / 'runs'}", "--dry_run", "--estimate"]
    assert main(*arguments, "--experiments=baseline") == 0
    output, errors = capsys.readouterr()
    assert "estimate: 16m 00s on H100 for 6 jobs, one at a time (from steps timed now)" in output
    assert "digits, baseline: 500 ms per step" in errors
    assert main(*arguments) == 2  # this process answers for fewer kinds than it was asked for
    assert "--estimate: the steps could not be timed" in capsys.readouterr().err


def test_the_process_that_times_starts_from_any_folder_and_refuses_a_platform_that_jax_lacks(tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["JAX_PLATFORMS"] = "nowhere"
    pipes = {"capture_output": True, "text": True, "input": "[]"}
    ended = subprocess.run(step_time.COMMAND, cwd=tmp_path, env=environment, timeout=120, **pipes)
    assert ended.returncode == 2 and ended.stderr.startswith("JAX_PLATFORMS: 'nowhere' cannot be used")
    assert ended.stderr.count("\n") == 1


def test_a_timed_step_takes_time():
    from chimeramix_jax import config as settings

    config = settings.load("configs/digits.py:baseline")
    config.update_from_flattened_dict(TINY)
    assert 0 < step_time.seconds_per_step(config, "classifier", at_least=0.0) < 60


@pytest.mark.slow
def test_a_part_of_a_table_is_trained_and_shown(table, tmp_path, data_dir, capsys):
    values = {"dataset.data_dir": data_dir} | TINY
    del values["max_labels_per_class"]
    arguments = ["--max_labels_per_class=5", "--seeds=0,1", "--experiments=baseline"]
    arguments += [f"--config.{key}={value}" for key, value in values.items()]
    assert main("small", f"--workdir={tmp_path / 'runs'}", *arguments) == 0
    output = capsys.readouterr().out
    assert "jobs to do: 0" in output and "Published figures: 3, of which 1 has finished runs" in output
    assert main("small", f"--workdir={tmp_path / 'runs'}", *arguments, "--dry_run") == 0
    assert "estimate: nothing is left to train" in capsys.readouterr().out
