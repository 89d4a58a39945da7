import os
import shlex
import signal
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import chimeramix_jax
from chimeramix_jax import config as settings
from chimeramix_jax.auto.record import Record
from chimeramix_jax.command_line import exits, main_command, program
from chimeramix_jax.config import load, to_json
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import invocation

REPOSITORY = Path(__file__).parents[2]
MAIN = REPOSITORY / "main.py"
PROGRAM = shlex.join(invocation.from_anywhere())  # the beginning of commands that start it, as the help shows them

SWEEP = ("sweep", "--datasets=digits", "--experiments=baseline")

# Runs main.py with a training function that ends otherwise than by returning.
STUB = textwrap.dedent("""
    import os, runpy, signal, sys

    def train_and_evaluate(config, workdir, **options):
        if os.environ["ENDING"] == "interrupt":
            signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell runs in the background
            signal.raise_signal(signal.SIGINT)
        if os.environ["ENDING"] in ("host memory", "device memory"):
            import jax.numpy as jnp
            import numpy as np
            (np if os.environ["ENDING"] == "host memory" else jnp).ones((2**20, 2**30))

    import chimeramix_jax
    chimeramix_jax.train_and_evaluate = train_and_evaluate
    sys.argv = sys.argv[1:]
    sys.path.insert(0, os.path.dirname(sys.argv[0]))
    runpy.run_path(sys.argv[0], run_name="__main__")
""")


@pytest.fixture
def run_stub(tmp_path):
    """Runs main.py with the stub, which ends in a way of its own; returns the process."""

    def run(ending: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"ENDING": ending, "PYTHONPATH": str(REPOSITORY)}
        command = [sys.executable, "-c", STUB, str(MAIN)]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment)

    return run


class Called(NamedTuple):
    code: int
    output: str
    errors: str
    given: dict[str, Any]  # to the training function


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Runs the program here, in an empty folder, with a training function that only returns a table."""
    given = {}

    def train_and_evaluate(config, workdir, *, stage, retrain, generator_workdir):
        given.update(workdir=str(workdir), stage=stage, retrain=retrain, settings=config.to_dict())
        row = {"max_labels_per_class": 5, "top_5": None, "seconds": 61.0, "examples": 697, "alone": None}
        rows = [row | {"experiment": "baseline", "top_1": 0.5}, row | {"experiment": "chimeramix_grid", "top_1": 0.625}]
        return {"summary": rows, "files": ["somewhere/results.json"]}

    def run(*arguments: str) -> Called:
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        return Called(program.main(arguments), *capsys.readouterr(), given)

    monkeypatch.setattr(chimeramix_jax, "train_and_evaluate", train_and_evaluate)
    monkeypatch.setattr(exits, "quiet_libraries", lambda: None)
    return run


def test_help_is_printed_to_standard_output_and_succeeds(call, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(MAIN)])
    code, output, errors, _ = call("--help")
    assert (code, errors) == (0, "")
    assert " ".join(output.split()).startswith(f"Usage: {PROGRAM} [FLAGS]")


def test_windows_is_refused_in_one_line_before_anything_is_imported_that_it_lacks(tmp_path):
    code = """
        import runpy, signal, sys

        sys.platform = "win32"
        sys.modules["fcntl"] = None
        del signal.SIGUSR1, signal.SIGHUP
        sys.argv = [sys.argv[1], "--help"]
        sys.path.insert(0, sys.argv[0].removesuffix("main.py"))
        runpy.run_path(sys.argv[0], run_name="__main__")
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(MAIN)]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (process.returncode, process.stdout) == (2, "")
    assert process.stderr.startswith("chimeramix: Windows is not supported") and process.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--config.nosuch.key=1"], ["'nosuch.key'", "no such setting"]),
        (["--config.generator.epoch=1"], ["'generator.epoch'", "generator.epochs"]),
        (["--config.generator=1"], ["generator:", "group of settings", "generator.epochs"]),
        (["--config.generator.epochs=abc"], ["generator.epochs: 'abc'", "a whole number from 1"]),
        (["--config.generator.epochs=0"], ["generator.epochs: 0", "a whole number from 1"]),
        (["--config.generator.epochs=None"], ["generator.epochs: None", "a whole number from 1"]),
        (["--config.max_labels_per_class=many"], ["max_labels_per_class: 'many'", "whole number"]),
        (["--config.compare_with_baseline=maybe"], ["compare_with_baseline: 'maybe'", "true or false"]),
        (["--config.generator.learning_rate_drops=(0.5,"], ["generator.learning_rate_drops: '(0.5,'"]),
        (["--config.generator.learning_rate=nan"], ["generator.learning_rate: nan"]),
        (["--config.dataset.name=digit"], ["dataset.name", "'digit'", "digits"]),
        (
            ["--config.dataset.directory=photos"],
            ["dataset.directory: 'photos'", "without --config, the data set is digits: add --config=image_folder\n"],
        ),
        (["--config.dataset.fit=pad", "--minutes=9"], ["dataset.fit: 'pad'", ": add --config=image_folder\n"]),
        (["--config=cifar10", "--config.dataset.directory=photos"], ["cub, isic2018, eurosat, clamm can use it\n"]),
        (
            ["--config.dataset.name=cifar10", "--config.dataset.directory=photos"],
            ["cub, isic2018, eurosat, clamm can use it\n"],
        ),
        (["--config=nosuch.py"], ["nosuch.py", "no such file"]),
        ([f"--config={REPOSITORY}/configs/digits.py:baselin"], ["experiment: 'baselin'", "did you mean 'baseline'?"]),
        (["--stage=clasifier"], ["--stage: 'clasifier'", "did you mean 'classifier'?", "generator"]),
        (["--retrain=perhaps"], ["--retrain: 'perhaps'", "true or false"]),
        (["--config.compare_with_baseline=perhaps"], ["compare_with_baseline: 'perhaps'", "true or false"]),
        (["--wrokdir=here"], ["--wrokdir: unknown flag (did you mean --workdir?)", "--help"]),
        (["--nosuch=1"], ["--nosuch: unknown flag; --help"]),
        (["--seeds=0:3"], ["--seeds: unknown flag (did you mean --config.seeds?)"]),
        (
            ["--epochs=3"],
            ["--config.generator.epochs, --config.pretraining.epochs or --config.classifier.epochs?"],
        ),
        (["--stage=evaluate", "digits"], ["'digits': not understood"]),
        (
            ["--stage=classifier", "--config.minutes=10"],
            ["minutes: --stage=classifier does not take it; it is for"],
        ),
        (
            ["sumarize", "runs"],
            ["'sumarize': not a subcommand (did you mean summarize?)", "sweep, tune, summarize, reproduce, serve"],
        ),
        (["digits:baseline"], ["'digits:baseline': not a subcommand (did you mean --config=digits?)"]),
        (["predict"], ["'predict': not a subcommand (did you mean --stage=predict?)"]),
        (
            ["nothing-like-it"],
            ["'nothing-like-it': not a subcommand; subcommands are sweep, tune, summarize, reproduce, serve"],
        ),
        (["--workdir"], ["--workdir: its value is missing"]),
        (["--workdir=a", "--workdir=b"], ["--workdir: is given twice, as 'a' and 'b'"]),
        (["--config.seed=1", "--config.seed=2"], ["seed: is set twice, to '1' and '2'"]),
        (["--folds=2", "--config.folds=3"], ["folds: is set twice, to '2' and '3'"]),
        (["--noconfig.seed"], ["--noconfig.seed: is not understood; write --config.seed=VALUE"]),
        (["--", "--retrain"], ["'--retrain': not understood"]),
        (["summarize", "--", "--help"], ["--help: no such folder; it must be a folder of runs"]),
        (["summarize", str(MAIN)], ["main.py: is not a folder; it must be a folder of runs"]),
        ([*SWEEP, "--seeds=0", "--seeds=1"], ["--seeds: is given twice, as '0' and '1'; give it once, as in"]),
        ([*SWEEP, "--slurm_partition=gpu"], ["--slurm_partition: --launcher=local does not take it; it needs --lau"]),
        ([*SWEEP, "--ray_gpus=3"], ["--ray_gpus: --launcher=local does not take it; it needs --launcher=ray"]),
        ([*SWEEP, "--launcher=slurm", "--ray_gpus=1"], ["--ray_gpus: --launcher=slurm does not take it"]),
        ([*SWEEP, "--launcher=slurm", "--workers=4"], ["--workers: --launcher=slurm does not take it; it needs"]),
        ([*SWEEP, "--launcher=ray", "--slurm_option=a=b"], ["--slurm_option: --launcher=ray does not take it"]),
        (["--count=0"], ["--count: '0' is not allowed; it must be a whole number from 1"]),
        (["--generate_seed=4294967296"], ["--generate_seed: '4294967296' is not allowed", "from 0 to 2147483647"]),
        (["--workdir="], ["--workdir=: is empty"]),
        (["--workdir=gs://bucket/run"], ["--workdir=gs://bucket/run: is a URL"]),
        (["--workdir=~nobody-of-that-name/run"], ["--workdir=~nobody-of-that-name/run", "home folder"]),
        (["--generator_workdir=s3://bucket/run"], ["--generator_workdir=s3://bucket/run: is a URL"]),
        (["--config=https://host/digits.py"], ["--config=https://host/digits.py: is a URL"]),
        (["--config="], ["--config=: is empty"]),
        (["--config=image_foldr"], ["--config=image_foldr", "did you mean image_folder?"]),
        (["--config.dataset.data_dir=hdfs://host/data"], ["dataset.data_dir=hdfs://host/data: is a URL"]),
        (["--config.dataset.data_dir=gs://bucket/data"], ["dataset.data_dir", "is a URL", "gcsfs"]),
        (
            ["--config=image_folder", "--config.dataset.directory=gs://bucket/photos"],
            ["dataset.directory=gs://bucket/photos: is a URL"],
        ),
        (["--stage=predict", "--images=photos"], ["--workdir: --stage=predict needs it"]),
        (["--stage=generate", "--count=5"], ["--workdir: --stage=generate needs it"]),
    ],
    ids=lambda value: value[0].rpartition("/")[2] if isinstance(value, list) and value[0].startswith("-") else "",
)
def test_a_mistake_is_answered_in_one_line_with_exit_code_2_before_anything_is_written(
    tmp_path, monkeypatch, capsys, arguments, parts
):
    monkeypatch.chdir(tmp_path)
    assert program.main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert errors.startswith("chimeramix: ")
    for part in parts:
        assert part in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ('{"format": 1, "classifier": 5}', "classifier: 5 is not allowed; it must be a group, with classifier."),
        ('{"format": 1, "seed": {"a": 1}}', "seed: is a group; it must be a whole number from 0 to 2147483647"),
        ('{"format": 1, "seed": "x"}', "seed: 'x' is not allowed; it must be a whole number from 0 to 2147483647"),
    ],
)
@pytest.mark.parametrize(
    "arguments",
    [
        ["--workdir=run"],
        ["--workdir=run", "--stage=report"],
        ["--workdir=run", "--stage=predict", "--images=photos"],
        ["--workdir=run", "--stage=update"],
        ["serve", "run"],
    ],
    ids=" ".join,
)
def test_stored_settings_that_cannot_be_used_are_named_by_their_file(
    tmp_path, monkeypatch, capsys, arguments, content, problem
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(content)
    assert program.main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1
    assert errors.startswith(f"chimeramix: run/config.json: {problem}")


def test_mistakes_are_answered_without_importing_jax(tmp_path):
    code = textwrap.dedent("""
        import sys
        from chimeramix_jax.command_line import program
        for line in sys.argv[1:]:
            print(program.main(line.split()))
        print("jax" in sys.modules)
    """)
    mistakes = [
        "--config.generator.epochs=0",
        "--wrokdir=here",
        "--stage=predict --images=photos",
        "--stage=predict --images=photos --workdir=nowhere",
        "--stage=generate --count=5 --workdir=run --format=csv",
        "sweep --datasets=digits --experiments=baselin",
        "sweep --datasets=digits --experiments=baseline --config.generator.epochs=0",
        "summarize nowhere",
        "reproduce chimeramx",
        "serve nowhere",
        "sumarize",
    ]
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(to_json(load("digits")))
    command = [sys.executable, "-c", code, *mistakes]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment)
    assert process.stdout.split() == [*("2" for _ in mistakes), "False"], process.stderr


@pytest.mark.parametrize(
    ("command", "usage"),
    [
        ([str(MAIN), "sweep"], "sweep --datasets"),
        (["-m", "chimeramix_jax", "summarize"], "summarize FOLDER"),
        (["-m", "chimeramix_jax.sweep"], "sweep --datasets"),
        (["-m", "chimeramix_jax.summarize"], "summarize FOLDER"),
    ],
    ids=["main.py", "package", "sweep", "summarize"],
)
def test_subcommands_are_reached_from_every_entry_point(tmp_path, command, usage):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.run(
        [sys.executable, *command, "--help"], cwd=tmp_path, capture_output=True, text=True, timeout=60, env=environment
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert " ".join(process.stdout.split()).startswith(f"Usage: {PROGRAM} {usage}")


def test_without_arguments_the_digits_are_trained_whole_from_any_directory(call):
    code, _, errors, given = call()
    assert code == 0, errors
    assert given["settings"]["dataset"]["name"] == "digits"
    assert given["workdir"] == "runs/digits-chimeramix_grid-5-per-class-seed-0"
    assert (given["stage"], given["retrain"]) == ("all", False)


def test_overrides_reach_the_training_in_their_own_types_wherever_config_stands(call):
    code, _, errors, given = call(
        "--config.max_labels_per_class=10",
        "--config.generator.learning_rate_drops=(0.5,)",
        f"--config={REPOSITORY}/configs/cifair10.py:baseline",
        "--config.classifier.learning_rate=1",
        "--config.compare_with_baseline",
        "--config.seed",
        "4",
        "--stage=classifier",
        "--retrain",
        "--workdir=here",
    )
    assert code == 0, errors
    settings = given["settings"]
    assert (settings["dataset"]["name"], settings["experiment"]) == ("cifair10", "baseline")
    assert settings["max_labels_per_class"] == 10
    assert settings["generator"]["learning_rate_drops"] == (0.5,)
    assert settings["classifier"]["learning_rate"] == 1.0
    assert settings["compare_with_baseline"] is True
    assert settings["seed"] == 4
    assert (given["stage"], given["retrain"], given["workdir"]) == ("classifier", True, "here")


def test_all_images_can_be_asked_for_where_a_file_limits_them(call):
    code, _, errors, given = call("--config.max_labels_per_class=None")
    assert code == 0, errors
    assert given["settings"]["max_labels_per_class"] is None
    assert "-all-per-class-" in given["workdir"]


@pytest.mark.parametrize("stage", ["all", "classifier", "generator"])
def test_without_a_config_a_run_continues_with_its_own_settings(call, tmp_path, stage):
    stored = load("digits:mixup")
    stored.classifier.epochs = 7
    for name in ("run", "several/seed-3"):
        Workdir(tmp_path / name).check(stored)
        Workdir(tmp_path / name).claim(stored)
    code, _, errors, given = call(f"--stage={stage}", "--workdir=run", "--config.checkpoint.every_seconds=5")
    assert code == 0, errors
    found = given["settings"]
    assert (found["experiment"], found["classifier"]["epochs"]) == ("mixup", 7)
    assert found["checkpoint"]["every_seconds"] == 5 and given["workdir"] == "run"
    parsed = main_command.parse_arguments([f"--stage={stage}", "--workdir=several", "--config.seeds=3,4"])
    assert (parsed.config.experiment, parsed.config.seeds) == ("mixup", "3,4")
    assert call(f"--stage={stage}", "--workdir=new").given["settings"]["experiment"] == "chimeramix_grid"


def test_a_time_limit_is_not_added_to_a_run_that_was_begun_without_one(call, tmp_path):
    Workdir(tmp_path / "run").check(load("digits:mixup"))
    Workdir(tmp_path / "run").claim(load("digits:mixup"))
    code, _, errors, _ = call("--workdir=run", "--minutes=5")
    assert (code, errors) == (
        2,
        "chimeramix: --minutes: --workdir=run holds a run that was begun without it; leave it out\n",
    )


def test_without_a_config_a_choice_continues_with_the_settings_that_it_was_begun_with(tmp_path):
    choice = load("digits:auto")
    choice.minutes = 3.0
    run = Workdir(tmp_path)
    Record(settings.config_to_dict(choice)).write(run)
    run.claim(load("digits:mixup"))  # as in the final run
    parsed = main_command.parse_arguments([f"--workdir={tmp_path}"])
    assert (parsed.config.experiment, parsed.config.minutes) == ("auto", 3.0)


@pytest.mark.parametrize("stage", ["predict", "evaluate", "report", "export", "update"])
def test_a_folder_of_runs_is_told_from_a_run(call, tmp_path, stage):
    Workdir(tmp_path / "runs" / "photos").check(load("digits"))
    Workdir(tmp_path / "runs" / "photos").claim(load("digits"))
    images = ["--images=a.jpg"] if stage == "predict" else []
    code, _, errors, _ = call(f"--stage={stage}", "--workdir=runs", *images)
    assert (code, errors) == (2, "chimeramix: --workdir=runs: holds no run; did you mean runs/photos?\n")


def test_the_end_of_a_run_shows_the_table_and_the_files(call):
    _, output, errors, _ = call()
    assert "chimeramix_grid" in output
    assert "+12.5 percentage points" in output
    assert output.endswith("\n\nwritten to somewhere:\n  results.json\n")
    assert errors == ""


def test_what_the_run_refuses_is_one_line_with_exit_code_2(call, monkeypatch):
    def refuse(config, workdir, **options):
        raise InputError("workdir: holds another run")

    monkeypatch.setattr(chimeramix_jax, "train_and_evaluate", refuse)
    assert call() == (2, "", "chimeramix: workdir: holds another run\n", {})


@pytest.mark.parametrize("ending", ["host memory", "device memory"])
def test_a_run_without_memory_says_so_in_one_line_and_exits_with_1(run_stub, ending):
    process = run_stub(ending)
    assert (process.returncode, process.stderr.count("\n")) == (1, 1), process.stderr
    assert process.stderr.startswith("chimeramix: out of memory: ") and "batch_size" in process.stderr


@pytest.mark.parametrize(
    ("arguments", "advised"),
    [
        (["--config=digits"], ["--config.generator", "--config.classifier", "--config.evaluation"]),
        (["--config=digits", "--config.seeds=0,1"], ["--config.evaluation", "--config.seeds_per_call"]),
        (["--config=digits", "--stage=evaluate"], ["--config.evaluation.batch_size"]),
        (["--config=digits", "--stage=check"], []),
    ],
)
def test_advice_for_less_memory_names_only_flags_that_help_the_stage(arguments, advised):
    advice = main_command.less_memory(main_command.parse_arguments(arguments))
    assert all(flag in advice for flag in advised)
    assert ("seeds_per_call" in advice) == ("--config.seeds_per_call" in advised) and bool(advice) == bool(advised)


def test_an_interrupted_run_says_how_to_continue_and_exits_with_130(run_stub):
    process = run_stub("interrupt")
    assert process.returncode == 128 + signal.SIGINT
    assert process.stderr == "chimeramix: interrupted; the same command continues the run\n"


def test_the_version_is_told(call):
    declared = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert call("--version") == (0, f"chimeramix {declared}\n", "", {})


def test_a_script_can_start_the_program_in_its_own_process(tmp_path):
    code = "import sys; from chimeramix_jax.command_line import run; sys.argv = ['script', '--stage=trian']; run()"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 2 and process.stderr.startswith("chimeramix: ") and "trian" in process.stderr


def test_a_home_folder_is_meant_by_a_tilde_behind_an_equals_sign(call, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mine.py").write_text((REPOSITORY / "configs" / "digits.py").read_text())
    code, _, errors, given = call("--config=~/mine.py:baseline", "--workdir=~/run/")
    assert code == 0, errors
    assert given["workdir"] == str(tmp_path / "home" / "run")
    assert not (tmp_path / "~").exists()


def test_blanks_in_a_files_name_are_told_as_they_are(call):
    assert "--config=two  blanks.py: no such file" in call("--config=two  blanks.py").errors


@pytest.mark.parametrize("module", ["absl", "ml_collections"])
def test_an_interruption_while_the_program_is_imported_is_one_line(tmp_path, module):
    code = textwrap.dedent("""
        import builtins, signal, sys
        signal.signal(signal.SIGINT, signal.default_int_handler)
        real = builtins.__import__
        def importing(name, *arguments):
            if name == sys.argv[1]:
                builtins.__import__ = real
                signal.raise_signal(signal.SIGINT)
            return real(name, *arguments)
        builtins.__import__ = importing
        sys.path.insert(0, sys.argv[2])
        from chimeramix_jax.__main__ import run
        run()
    """)
    process = subprocess.run(
        [sys.executable, "-c", code, module, str(REPOSITORY)], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert (process.returncode, process.stderr) == (130, "chimeramix: interrupted\n")
