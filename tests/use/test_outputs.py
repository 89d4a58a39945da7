"""Outputs that would destroy something are refused by the real command line before any work, and others are not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from folders import contents
from PIL import Image

import chimeramix_jax
from chimeramix_jax import files
from chimeramix_jax.command_line import program
from chimeramix_jax.config import load
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.use import outputs
from chimeramix_jax.use.export import stablehlo_file

OWN = "own.py:chimeramix_grid"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with three photos."""
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("photos/a.png", "photos/b.jpg", "mine.png")):
        Path(name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (9, 9, 3), np.uint8)).save(name)
    return tmp_path


@pytest.fixture
def run(trained_run, here):
    """A copy of the finished run, as a folder in the current one."""
    return shutil.copytree(trained_run, here / "run")


def refusal(capsys, workdir, *arguments):
    """Returns the line with which a command is refused."""
    code = program.main([f"--workdir={workdir}", *arguments])
    output, errors = capsys.readouterr()
    assert (code, output, errors.count("\n")) == (2, "", 1), errors
    return errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--images=mine.png", "--output=mine.png"],
            "mine.png: .png is not written; allowed: .csv, .json, .txt for a table",
        ),
        (["--images=mine.png", "--output=mine.png", "--format=csv"], "mine.png: is an input, mine.png"),
        (["--images=photos", "--output=photos/a.png", "--format=json"], "photos/a.png: is an input, photos/a.png"),
        (["--images=photos/*.jpg", "--output=linked", "--format=csv"], "linked: is an input, photos/b.jpg"),
        (["--images=photos", "--output=mine.png", "--format=csv"], "mine.png: exists and is not text, so it is not"),
        (["--images=photos", "--output=own.py", "--format=csv", f"--config={OWN}"], "own.py: is an input, own.py"),
        (["--images=photos", "--output=why", "--explain=./why"], "why: is the folder of --explain; name another file"),
    ],
)
def test_predictions_replace_neither_an_input_nor_a_file_that_is_no_text(trained_run, here, capsys, arguments, message):
    Path("linked").symlink_to("photos/b.jpg")
    shutil.copy(ROOT / "configs/digits.py", "own.py")
    before = contents(here)
    assert f"--output={message}" in refusal(capsys, trained_run, "--stage=predict", *arguments)
    assert contents(here) == before


def test_a_model_file_is_not_replaced_by_its_predictions(trained_run, here, capsys):
    chimeramix_jax.export(trained_run, "model.bin", file_format="model")
    arguments = "--stage=predict", "--images=photos", "--output=model.bin"
    assert "--output=model.bin: is an input, model.bin" in refusal(capsys, "model.bin", *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--stage=predict", "--images=mine.png", "--output=run/config.json"],
        ["--stage=predict", "--images=mine.png", "--output=link/results.json"],
        ["--stage=predict", "--images=mine.png", "--output=run/held_out.replaced-1.csv"],
        ["--stage=predict", "--images=mine.png", "--explain=run/folds"],
        ["--stage=predict", "--images=mine.png", "--explain=run/classifier/why"],
        ["--stage=generate", "--count=2", "--output=run/auto"],
        ["--stage=generate", "--count=2", "--output=run/before-2026-01-01"],
        ["--stage=export", "--format=onnx", "--output=run/report.html"],
        ["--stage=export", "--format=model", "--output=run/lock.json"],
    ],
)
def test_no_part_of_a_run_is_replaced_whatever_the_stage(run, trained_run, capsys, arguments):
    Path("link").symlink_to("run")
    before = contents(run)
    for workdir in (run, trained_run):  # also if it is another run than the one that is used
        assert "is a part of the run in" in refusal(capsys, workdir, *arguments)
    assert contents(run) == before


def test_only_parts_of_runs_are_protected(run, tmp_path):
    assert Workdir.around(run / "classifier" / "new").path == run
    for other in (run / "predictions.csv", run / "generated", run / "model.onnx", tmp_path / "config.json"):
        assert Workdir.around(other) is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text(json.dumps({"classifier": 1}))  # of another program
    assert Workdir.around(tmp_path / "other" / "results.json") is None


@pytest.mark.parametrize("suffix", [".zip", ".onnx", ".stablehlo"])
def test_an_export_replaces_only_a_file_of_its_own_kind(trained_run, here, capsys, suffix):
    output = Path(f"photos{suffix}")
    with zipfile.ZipFile(output, "w") as archive:
        archive.write("mine.png")
    before = output.read_bytes()
    message = refusal(capsys, trained_run, "--stage=export", f"--output={output}")
    assert f"--output={output}: exists and is not a" in message and "so it is not replaced; name another" in message
    assert output.read_bytes() == before
    shutil.copy("mine.png", output)
    assert "exists and is not a" in refusal(capsys, trained_run, "--stage=export", f"--output={output}")


def test_an_earlier_model_file_and_an_empty_file_are_replaced(trained_run, here):
    Path("model.zip").touch()
    for _ in range(2):
        assert chimeramix_jax.export(trained_run, "model.zip").size > 0
    with zipfile.ZipFile("program.stablehlo", "w") as archive:
        archive.writestr(stablehlo_file.PROGRAM, b"")
        archive.writestr(stablehlo_file.METADATA, b"")
    assert stablehlo_file.is_one(Path("program.stablehlo")) and not stablehlo_file.is_one(Path("model.zip"))
    Path("torch.onnx").write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.4.0:")
    assert outputs.is_onnx(Path("torch.onnx")) and not outputs.is_onnx(Path("model.zip"))


def test_predictions_replace_earlier_ones(trained_run, here, capsys):
    for _ in range(2):
        assert program.main(["--stage=predict", f"--workdir={trained_run}", "--images=photos", "--output=a.csv"]) == 0
    assert capsys.readouterr() == ("", "") and Path("a.csv").read_text().count("\n") == 3


def test_names_as_long_as_possible_can_be_written(trained_run, here, capsys):
    name = "n" * 240
    for arguments in (
        ["--stage=predict", "--images=mine.png", f"--output={name}.csv", f"--explain={name}.folder"],
        ["--stage=generate", "--count=2", f"--output={name}"],
        ["--stage=export", f"--output={name}.zip"],
    ):
        assert program.main([f"--workdir={trained_run}", *arguments]) == 0, capsys.readouterr()
    assert {f"{name}{end}" for end in ("", ".csv", ".folder", ".zip")} <= set(os.listdir())


def test_an_export_that_cannot_be_written_is_one_line(trained_run, here, monkeypatch):
    def fail(path, content):
        raise OSError(36, "File name too long")

    monkeypatch.setattr(files, "write_bytes", fail)
    with pytest.raises(InputError, match=r"^--output=model\.zip: cannot be written: File name too long$"):
        chimeramix_jax.export(trained_run, "model.zip")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images=photos", "--explain=photos/why"], "--explain=photos/why: lies among the photos of --images=photos"),
        (["--images=./photos/**", "--explain=photos/why"], "lies among the photos of --images=./photos/**"),
        (["--images=.", "--explain=why"], "--explain=why: lies among the photos of --images=."),
        (["--images=photos", "--explain=-"], "--explain=-: only --stage=predict writes to standard output"),
    ],
)
def test_pictures_are_not_written_among_the_photos(trained_run, here, capsys, arguments, message):
    assert message in refusal(capsys, trained_run, "--stage=predict", *arguments)
    assert not list(here.rglob("why"))


def test_no_pictures_are_written_into_the_folder_of_the_data_set(here):
    config = load("digits").copy_and_resolve_references()
    config.dataset.directory = "photos"
    for folder in ("photos/new", "photos/a/b"):
        with pytest.raises(InputError, match=rf"^--output={folder}: lies in the folder of the data set, photos"):
            outputs.refuse_among_photos(Path(folder), "--output", (), config)
    outputs.refuse_among_photos(Path("photos-new"), "--output", np.zeros((2, 3, 3, 3), np.uint8), config)
    config.dataset.directory = "photos.csv"
    outputs.refuse_among_photos(Path("photos/new"), "--output", (), config)


def test_a_dash_is_standard_output_for_predictions_only(trained_run, here, capsys):
    command = ["--stage=predict", f"--workdir={trained_run}", "--images=photos", "--format=csv"]
    assert program.main([*command, "--output=-"]) == 0
    output, errors = capsys.readouterr()
    assert output.startswith("image,class_1,") and errors == ""
    for arguments in (["--stage=export", "--format=model"], ["--stage=generate", "--count=2"]):
        assert "--output=-: only --stage=predict" in refusal(capsys, trained_run, *arguments, "--output=-")
    assert "--images=-: standard input is read only as" in refusal(capsys, trained_run, "--stage=predict", "--images=-")
    assert not os.path.exists("-")


@pytest.mark.parametrize("output", ["--output=/dev/stdout", "--output=-"])
def test_notes_are_kept_out_of_predictions_for_programs(trained_run, here, output, capsys):
    arguments = ["--stage=predict", f"--workdir={trained_run}", "--images=photos", output]
    arguments += ["--format=csv", "--explain=why"]
    if output == "--output=-":
        code = program.main(arguments)
        written, notes = capsys.readouterr()
    else:  # the standard output of a process
        command = [sys.executable, ROOT / "main.py", *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
        code, written, notes = ended.returncode, ended.stdout, ended.stderr
    assert code == 0
    assert [line.partition(",")[0] for line in written.splitlines()] == ["image", "photos/a.png", "photos/b.jpg"]
    assert notes == "written: pictures of 2 images\n  why\n"


def test_a_pipe_that_is_named_is_read_and_a_signal_ends_the_wait_for_its_writer(trained_run, here, start_process):
    os.mkfifo("pipe")
    command = [sys.executable, str(ROOT / "main.py"), "--stage=predict", f"--workdir={trained_run}", "--images=pipe"]
    processes = []
    for _ in range(2):
        processes.append(start_process(command, here, os.environ))
        while True:  # until the process waits for a writer
            try:
                writer = os.open("pipe", os.O_WRONLY | os.O_NONBLOCK)
                break
            except OSError:
                assert processes[-1].poll() is None, processes[-1].communicate()
                time.sleep(0.05)
        if len(processes) == 1:
            os.write(writer, Path("mine.png").read_bytes())
            os.close(writer)
            output, errors = processes[0].communicate(timeout=120)
            assert (processes[0].returncode, errors) == (0, "") and output.splitlines()[-1].startswith("pipe ")
    processes[1].send_signal(signal.SIGTERM)
    assert processes[1].wait(60) == 143
    os.close(writer)
    assert processes[1].communicate()[1] == "chimeramix: stopped (SIGTERM); nothing was written\n"


def test_a_pipe_cannot_be_explained(trained_run, here):
    os.mkfifo("pipe")
    writer = subprocess.Popen("cat mine.png > pipe", shell=True)
    with pytest.raises(InputError, match="explain: takes files only, and pipe is a pipe or a device; save it as a"):
        chimeramix_jax.predict(trained_run, "pipe", explain="why")
    assert writer.wait(10) == 0 and not Path("why").exists()
