"""Whole runs where something is odd around them: no home folder, or a path that reads as a pattern."""

import json
import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from conftest import ROOT, TINY
from PIL import Image

import chimeramix_jax
from chimeramix_jax.command_line import exits, program
from chimeramix_jax.config import load
from chimeramix_jax.errors import InputError

# Our programs, one after the other, as they are started for a user without an entry in /etc/passwd, as containers have
# them. Each ends with its exit code, on both streams.
UNKNOWN_USER = textwrap.dedent("""
    import json, pwd, runpy, sys

    def unknown(user):
        raise KeyError(f"getpwuid(): uid not found: {user}")

    pwd.getpwuid = pwd.getpwnam = unknown
    for module, *arguments in json.loads(sys.argv[1]):
        sys.argv[1:] = arguments
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as ended:
            code = ended.code
        for stream in (sys.stdout, sys.stderr):
            print(f"exit code {code}", file=stream, flush=True)
""")


@pytest.fixture
def without_home(tmp_path):
    """Runs modules in one process where there is no home folder.

    Returns the exit code, standard output and standard error of each.
    """
    left_out = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TFDS_DATA_DIR")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment["PYTHONPATH"] = str(ROOT)

    def run(*commands):
        told = json.dumps([list(map(str, command)) for command in commands])
        command = [sys.executable, "-c", UNKNOWN_USER, told]
        ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert ended.returncode == 0, ended.stderr
        outputs, errors = (re.split(r"exit code (.+)\n", text) for text in (ended.stdout, ended.stderr))
        assert (
            outputs[1::2] == errors[1::2] and outputs[-1] == errors[-1] == "" and len(outputs) == 2 * len(commands) + 1
        )
        return list(zip(map(int, outputs[1::2]), outputs[::2], errors[::2], strict=False))

    return run


def test_a_run_needs_no_home_folder(without_home, tmp_path, data_dir):
    tiny = [f"--config.{key}={value}" for key, value in (TINY | {"classifier.epochs": 1}).items()]
    settings = ["--config=digits:baseline", *tiny]
    asked = [*settings, f"--workdir={tmp_path / 'run'}"]
    unprepared, tilde = without_home(["chimeramix_jax", *asked], ["chimeramix_jax", *settings, "--workdir=~/run"])
    code, output, errors = unprepared
    assert (code, output, errors.count("\n")) == (2, "", 1) and "dataset.data_dir" in errors
    code, output, errors = tilde
    assert (code, errors.count("\n")) == (2, 1) and "the home folder for ~ is not known" in errors
    assert list(tmp_path.iterdir()) == []

    image = ROOT / "docs" / "mixing.png"
    used = ["--stage=predict", f"--workdir={tmp_path / 'run'}", f"--images={image}", "--format=csv"]
    trained, predicted, summarized = without_home(
        ["chimeramix_jax", *asked, f"--config.dataset.data_dir={data_dir}"],
        ["chimeramix_jax", *used],
        ["chimeramix_jax.summarize", tmp_path / "run"],
    )
    code, output, errors = trained
    assert code == 0 and "Traceback" not in errors, errors
    assert (tmp_path / "run" / "report.html").exists()
    code, output, errors = predicted
    assert (code, errors) == (0, "") and str(image) in output
    code, output, errors = summarized
    assert code == 0 and "Traceback" not in errors, errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


ODD = "a [x]*? b\\c"  # brackets, a star, a question mark, blanks and a backslash


def make_photos(root):
    """Ten classes, as the digits have, so that no other program has to be compiled."""
    for label in range(10):
        for split, numbers in (("train", range(3)), ("test", range(3, 5))):
            folder = root / split / f"class [{label}]*"
            folder.mkdir(parents=True)
            for number in numbers:
                pixels = np.random.default_rng([label, number]).integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}?.png")


def test_a_run_in_folders_that_read_as_patterns_can_be_used_afterwards(tmp_path, monkeypatch, data_dir, capsys):
    here = tmp_path / ODD
    make_photos(here / "photos [1]")
    monkeypatch.chdir(here)

    def settings(experiment, place):
        config = load(f"digits:{experiment}")
        data = {"dataset.name": "image_folder", "dataset.directory": "photos [1]", "dataset.image_side": 8}
        run = {"dataset.data_dir": str(place), "compare_with_baseline": False}
        config.update_from_flattened_dict(TINY | data | run)
        return config

    config = settings("chimeramix_grid", data_dir)
    with pytest.raises(InputError, match=r"dataset.data_dir: .* contains \* \? or \["):
        chimeramix_jax.train_and_evaluate(settings("chimeramix_grid", here / "data"), "run [2]")
    assert os.listdir() == ["photos [1]"]

    results = chimeramix_jax.train_and_evaluate(config, "run [2]")
    again = chimeramix_jax.train_and_evaluate(config, here / "run [2]", stage="evaluate")
    assert again["test"]["top1"] == results["test"]["top1"]
    chimeramix_jax.train_and_evaluate(config, "run [2]", stage="report")
    other = settings("chimeramix_grid_trivialaugment", data_dir)
    chimeramix_jax.train_and_evaluate(other, "run [3]", stage="generator")
    assert not (here / "run [3]" / "generator").exists()  # it uses the one beside it

    predictions = chimeramix_jax.predict("run [2]", "photos [1]/test")
    right = [prediction.path.parent.name == prediction.classes[0] for prediction in predictions]
    assert len(right) == 20 and np.mean(right) == pytest.approx(results["test"]["top1"], abs=0.05)
    assert len(chimeramix_jax.predict("run [2]", "photos [1]/test/*/3*.png")) == 10
    for file_format in ("png", "array_record"):
        folder = chimeramix_jax.generate("run [2]", 10, f"mixed [{file_format}]?", file_format=file_format)
        assert json.loads((folder / "generated.json").read_text())["count"] == 10
    monkeypatch.setattr(exits, "quiet_libraries", lambda: None)  # for good: also for the tests that follow
    assert program.main(["summarize", ".", "--no-curves"]) == 0
    assert "chimeramix_grid" in capsys.readouterr().out


def test_a_platform_that_jax_does_not_have_is_refused_in_one_line(tmp_path, data_dir):
    command = [sys.executable, "main.py", f"--config.dataset.data_dir={data_dir}", f"--workdir={tmp_path / 'run'}"]
    environment = os.environ | {"JAX_PLATFORMS": "foo"}
    ended = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (2, "", 1), ended.stderr
    assert "JAX_PLATFORMS: 'foo' cannot be used: " in ended.stderr
    assert list(tmp_path.iterdir()) == []
