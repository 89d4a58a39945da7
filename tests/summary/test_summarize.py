"""The command, as a user starts it, on runs written by the program's own writers."""

import csv
import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from benchmarks.made_runs import make_run
from chimeramix_jax.command_line import exits, program

WRITTEN = {
    "summary.html",
    "summary.md",
    "summary.tex",
    "summary.csv",
    "summary-runs.csv",
    "summary.png",
    "summary.svg",
}


@pytest.fixture
def sweep(tmp_path):
    folder = tmp_path / "runs"
    for seed, baseline, mixed in ((0, 0.5, 0.6), (1, 0.6, 0.75), (2, 0.7, 0.8)):
        path = folder / f"grid-{seed}"
        make_run(path, mixed, config="configs/digits.py:chimeramix_grid", baseline_top1=baseline, seed=seed)
    return folder


@pytest.fixture(autouse=True)
def libraries_as_they_are(monkeypatch):
    monkeypatch.setattr(exits, "quiet_libraries", lambda: None)  # for good: also for the tests that follow


def main(arguments):
    return program.main(["summarize", *arguments])


def table_line(text, experiment):
    (line,) = [line for line in text.splitlines() if f"| {experiment} " in line]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_sweep_is_summarised_in_a_process_that_never_loads_jax(sweep):
    code = """
import sys
from chimeramix_jax.command_line import program
print(program.main(sys.argv[1:]), 'jax' in sys.modules)
"""
    command = [sys.executable, "-c", code, "summarize", str(sweep)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert (ended.stderr, ended.stdout.splitlines()[-1]) == ("", "0 False")
    assert {path.name for path in sweep.iterdir() if path.is_file()} == WRITTEN
    line = table_line(ended.stdout, "chimeramix_grid")
    assert line[:4] == ["5", "chimeramix_grid", "3", "**71.67 ± 10.41**"] and line[5] == "+11.67 ± 2.89"


def test_a_home_folder_that_cannot_be_written_to_is_not_worth_a_word(sweep, tmp_path):
    (tmp_path / "file").touch()  # nothing can be made below it, not even by root
    places = ("MPLCONFIGDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in places}
    environment["HOME"] = str(tmp_path / "file" / "home")
    command = [sys.executable, "main.py", "summarize", str(sweep)]
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (sweep / "summary.png").exists()


def test_the_summary_is_the_same_when_made_again(sweep):
    assert main([str(sweep)]) == 0
    before = {name: (sweep / name).read_bytes() for name in WRITTEN}
    assert main([str(sweep)]) == 0
    assert {name: (sweep / name).read_bytes() for name in WRITTEN} == before


def test_a_damaged_file_is_named_and_the_exit_code_tells_while_the_rest_is_summarised(sweep, capsys):
    (sweep / "grid-1" / "results.json").write_text('{"dataset": ')
    assert main([str(sweep), "--no-curves"]) == 1
    output, errors = capsys.readouterr()
    assert errors.count("\n") == 1 and "grid-1/results.json: cannot be read" in errors
    assert table_line(output, "chimeramix_grid")[2] == "2 of 3"
    assert "2 damaged" in output


def test_a_plan_tells_what_is_missing(sweep, capsys):
    run = {"workdir": "never", "dataset": "digits", "experiment": "cutout", "max_labels_per_class": 5, "seed": 0}
    (sweep / "sweep.json").write_text(json.dumps({"runs": [run]}))
    assert main([str(sweep), "--no-curves"]) == 0
    assert table_line(capsys.readouterr().out, "cutout")[2:4] == ["0 of 1", "-"]


def test_several_folders_are_summarised_together_where_the_output_is_named(sweep, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    runs = sorted(map(str, sweep.iterdir()))
    assert main(runs) == 2
    assert "--output: needed" in capsys.readouterr().err
    assert main([*runs, str(sweep), "--output=~/out", "--metric=top5", "--no-curves"]) == 0
    with open(tmp_path / "out" / "summary.csv") as file:
        (mixed,) = [line for line in csv.DictReader(file) if line["experiment"] == "chimeramix_grid"]
    assert (mixed["metric"], mixed["seeds"]) == ("top5", "3")
    assert not (tmp_path / "out" / "summary.png").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["{empty}"], "no runs; a run is a folder with config.json"),
        (["{empty}/nowhere"], "no such folder"),
        (["{sweep}", "--baseline=cutuot"], "--baseline: 'cutuot' is not known"),
        (["{sweep}", "--output={sweep}/grid-0/config.json"], "cannot be written"),
        (["{sweep}", "--metric=loss"], "--metric: 'loss' is not known; allowed: top1"),
        (["{sweep}", "--ouput=here"], "--ouput: unknown flag (did you mean --output?)"),
        ([], "FOLDER: missing"),
    ],
)
def test_what_cannot_be_summarised_is_one_line_and_exit_code_2(sweep, tmp_path, capsys, arguments, named):
    (tmp_path / "empty").mkdir()
    filled = [argument.format(empty=tmp_path / "empty", sweep=sweep) for argument in arguments]
    assert main(filled) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and named in errors
    assert not WRITTEN & {path.name for path in sweep.iterdir()}
