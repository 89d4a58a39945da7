"""The command, with runs that train nothing."""

import csv
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, TINY
from tune.conftest import RATE

from chimeramix_jax import config as settings
from chimeramix_jax.command_line import program
from chimeramix_jax.runtime.invocation import from_here, installing
from chimeramix_jax.tune.trial import Plan

TABLE_WIDTH = 80


def rows(folder):
    with open(folder / "search.csv", newline="") as table:
        return list(csv.DictReader(table))


def trained(calls):
    """The calls that trained or measured a classifier."""
    return [call for call in calls() if call["stage"] != "generator"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where a finished search is kept for other tests."""
    return tmp_path_factory.mktemp("kept") / "search"


@pytest.fixture
def searched(tune, tmp_path, kept):
    """The folder of a search that has finished a trial, which only the first test to need it carries out."""
    folder = tmp_path / "search"
    if kept.exists():
        shutil.copytree(kept, folder)
    else:
        assert tune(RATE, "--trials=1")[0] == 0
        shutil.copytree(folder, kept)
    return folder


def test_a_search_ends_with_a_config_file_that_can_be_run(tune, tmp_path, calls):
    folder = tmp_path / "search"
    code, output, errors = tune(RATE, "--trials=5", "--pruner=none", "--config.classifier.epochs=7")
    assert code == 0, errors
    assert [int(row["trial"]) for row in rows(folder)] == [0, 1, 2, 3, 4]
    assert {row["state"] for row in rows(folder)} == {"done"}
    assert float(rows(folder)[0]["accuracy"]) == 1.0  # the first trial has the config file's own rate, 0.1
    config = settings.load(str(folder / "best.py"))
    best = max(rows(folder), key=lambda row: float(row["accuracy"]))
    assert config.classifier.learning_rate == float(best["classifier.learning_rate"]) == 0.1
    assert config.classifier.epochs == 7 and config.dataset.evaluate_on == "test"
    settings.check(config)
    assert "Of 5 trials, trial 0 had the best accuracy: 100% on 100 validation images." in (
        " ".join((folder / "best.py").read_text().split())
    )
    assert max(map(len, output.partition("written:")[0].splitlines())) < TABLE_WIDTH
    command = f"{shlex.join(from_here())} --config={folder / 'best.py'}"
    assert output.splitlines()[-1].endswith(f": {command}")
    assert command in " ".join((folder / "best.py").read_text().split())
    page = (folder / "search.html").read_text()
    assert page.count("<circle") == 5 and "classifier.learning_rate" in page and "100%" in page


def test_trials_never_look_at_test_images(tune, calls):
    assert tune(RATE, "--trials=2", "--config.compare_with_baseline=true")[0] == 0
    for call in calls():
        assert call["config.dataset.evaluate_on"] == "validation"
        assert call["config.compare_with_baseline"] == "False"


def test_the_same_command_changes_nothing_and_more_trials_continue(tune, tmp_path, calls):
    first = tune(RATE, "--trials=2")
    again = tune(RATE, "--trials=2")
    assert again == (0, first[1], "") and len(calls()) == 2
    assert tune(RATE, "--trials=3")[0] == 0
    assert len(calls()) == 3 and len(rows(tmp_path / "search")) == 3


def test_trials_do_not_depend_on_interruptions(tune, tmp_path):
    assert tune(RATE, "--trials=4", "--pruner=none")[0] == 0
    at_once = [row["classifier.learning_rate"] for row in rows(tmp_path / "search")]
    other = f"--workdir={tmp_path / 'other'}"
    for trials in (1, 3, 4):
        assert tune(RATE, f"--trials={trials}", "--pruner=none", other)[0] == 0
    assert [row["classifier.learning_rate"] for row in rows(tmp_path / "other")] == at_once
    assert len(set(at_once)) == 4


def test_trials_that_are_behind_are_stopped_early_and_keep_their_files(tune, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_SECONDS", "1")
    code, output, errors = tune(RATE, "--trials=4", "--sampler=random", "--config.classifier.epochs=4")
    assert code == 0
    stopped = [row for row in rows(tmp_path / "search") if row["state"] == "stopped early"]
    assert stopped and f"{len(stopped)} stopped early" in output and "stopped early, because" in errors
    for row in stopped:
        folder = tmp_path / "search" / row["workdir"]
        assert (folder / "classifier" / "metrics.jsonl").exists() and not (folder / "results.json").exists()
        assert float(row["accuracy"]) < 1


def test_trials_with_one_generator_train_it_once(tune, tmp_path, calls):
    space = f"{RATE},mixing.probability=0.1:0.9"
    assert tune(space, "--trials=3", config="digits:chimeramix_grid")[0] == 0
    (generator,) = [call for call in calls() if call["stage"] == "generator"]
    assert len(trained(calls)) == 3
    for call in trained(calls):
        assert call["generator_workdir"] == generator["workdir"] and call["stage"] == "classifier"
    assert "config.classifier.learning_rate" not in generator and "config.mixing.probability" not in generator


def test_every_kind_of_mask_has_its_own_generator_and_none_needs_none(tune, calls):
    masks = "--search=mixing.mask=grid|segmentation|none"
    assert tune(masks, "--trials=8", "--sampler=random", "--pruner=none", config="digits:chimeramix_grid")[0] == 0
    of_masks = [call["config.mixing.mask"] for call in calls() if call["stage"] == "generator"]
    used = {call["config.mixing.mask"] for call in trained(calls)}
    assert sorted(of_masks) == sorted(used - {"none"}) and "none" in used and len(used) > 1
    for call in trained(calls):
        assert ("generator_workdir" in call) == (call["config.mixing.mask"] != "none")


def test_folds_judge_a_trial_together(tune, tmp_path, calls):
    code, output, _ = tune(RATE, "--folds=5", "--trials=1")
    assert code == 0
    assert [call["config.fold"] for call in calls()] == ["1", "2", "3", "4", "5"]
    assert [call["workdir"].split("/")[-1] for call in calls()] == [f"fold-{fold}-of-5" for fold in range(1, 6)]
    (row,) = rows(tmp_path / "search")
    assert (row["images"], row["seconds"]) == ("50", "7.5") and "100%" in output
    assert settings.load(str(tmp_path / "search" / "best.py")).folds == 0  # the final model has test images


def test_an_image_counts_once_however_often_it_was_predicted(tune, tmp_path, calls):
    code, _, errors = tune(RATE, "--folds=5", "--config.fold_repeats=2", "--trials=1")
    assert code == 0, errors
    assert len(calls()) == 10
    (row,) = rows(tmp_path / "search")
    assert (row["images"], row["accuracy"]) == ("50", "1.000000")


def test_a_setting_that_is_searched_reaches_a_trial_once(tmp_path):
    overrides = ("--config.classifier.learning_rate=0.5", "--config.compare_with_baseline=true", "--config.seed=1")
    plan = Plan(tmp_path, "digits:baseline", overrides, settings.load("digits:baseline"), prunes=True)
    changes = plan.arguments({"classifier.learning_rate": 0.1}, fold=0, epochs=8)[1:]
    assert changes == [
        "--config.seed=1",
        "--config.classifier.learning_rate=0.1",
        "--config.dataset.evaluate_on=validation",
        "--config.compare_with_baseline=False",
        "--config.evaluation.every_epochs=2",
    ]


def test_a_trial_gets_the_code_of_the_ideas_that_it_uses_so_that_a_changed_file_is_refused(
    tmp_path, nothing_registered
):
    file = tmp_path / "mine.py"
    shutil.copy(ROOT / "docs" / "own_ideas" / "focal_loss.py", file)
    config = settings.load(f"{file}:focal")
    plan = Plan(tmp_path / "search", f"{file}:focal", (), config, prunes=False)
    expected = f"--config.classifier.loss_code={config.classifier.loss_code}"
    assert plan.arguments({}, fold=0, epochs=8)[-1] == expected
    assert not any("_code=" in one for one in plan.arguments({"classifier.loss": "cross_entropy"}, fold=0, epochs=8))
    of_the_program = Plan(tmp_path / "search", str(file), (), settings.load("digits:baseline"), prunes=False)
    assert of_the_program.arguments({"classifier.loss": "focal"}, fold=0, epochs=8)[-1] == expected


def test_a_trial_that_diverges_is_one_of_the_results(tune, tmp_path):
    wide = "--search=classifier.learning_rate=0.05:1000:log"
    code, output, errors = tune(wide, "--trials=4", "--sampler=random")
    assert code == 0 and "diverged" in output and ": diverged" in errors
    assert "diverged" in {row["state"] for row in rows(tmp_path / "search")}


def test_failures_are_named_and_too_many_in_a_row_end_the_search(tune, tmp_path):
    failing = "--search=classifier.learning_rate=1e-6:1e-4:log"
    code, _, errors = tune(failing, "--trials=9")
    assert code == 2
    assert "3 trials failed one after the other, the last with: " in errors
    assert errors.rstrip().endswith("classifier.learning_rate: is too small for this test")
    assert len(rows(tmp_path / "search")) == 3 and not (tmp_path / "search" / "best.py").exists()


def test_one_failure_is_the_exit_code_1(tune, tmp_path):
    assert tune("--search=classifier.learning_rate=1e-6:0.9", "--config.classifier.learning_rate=1e-5", "--trials=2")[
        0
    ] == (1)
    first, second = rows(tmp_path / "search")
    assert first["state"] == "failed" and first["problem"].endswith("is too small for this test")
    assert second["state"] == "done"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([RATE, "--folds=2"], "folds: 0 stored, 2 requested"),
        ([RATE, "--config.classifier.epochs=3"], "classifier.epochs: 20 stored, 3 requested"),
        (["--search=classifier.learning_rate=0.01:0.8:log"], "search of classifier.learning_rate: 0.01:0.9:log stored"),
        ([f"{RATE},classifier.dropout_rate=0:0.5"], "search of classifier.dropout_rate: none stored"),
    ],
)
def test_another_search_in_the_folder_is_refused(tune, searched, calls, arguments, named):
    before, runs = (searched / "search.log").read_bytes(), calls()
    code, output, errors = tune(*arguments, "--trials=2")
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert "holds another search" in errors and named in errors
    assert (searched / "search.log").read_bytes() == before and calls() == runs


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "--config: tune needs it"),
        (["--config=digits:baseline", "--trial=3"], "did you mean --trials?"),
        (["--config=digits:baseline", "--trials=0"], "--trials: '0' is not allowed"),
        (["--config=digits:baseline", "--sampler=grid"], "--sampler: 'grid' is not known"),
        (["--config=digits:auto"], "experiment: 'auto'"),
        (["--config=digits:baseline", "--config.seeds=0:3"], "seeds: '0:3', but in a search"),
        (["--config=digits:baseline", "--search=seed=0:4"], "seed: cannot be searched"),
        (["--config=digits:baseline", "--search=classifier.epochs=0:4"], "classifier.epochs: 0 is not allowed"),
        (["--config=digits:baseline", "--workdir={occupied}"], "is not empty and not a search"),
        (["--config=digits:baseline", "--workdir={occupied}/thesis.tex"], "thesis.tex: is not a folder"),
        (["--config=digits:baseline", "--config.max_labels_per_class=None"], "--folds=5 judges trials by folds"),
        (["--config=digits:baseline", "--folds=9"], "folds: 9, but class"),
        (["--config=digits:baseline", "--folds=5", "--config.folds=4"], "folds: is set twice, to '4' and '5'"),
        (["--config=digits:baseline", "--ray_cpus=4"], "--ray_cpus: --launcher=local does not take it"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_exit_code_2(tmp_path, capsys, data_dir, monkeypatch, arguments, named):
    monkeypatch.setattr("chimeramix_jax.command_line.exits.quiet_libraries", lambda: None)
    occupied = tmp_path / "occupied"
    occupied.mkdir()
    (occupied / "thesis.tex").touch()
    filled = [argument.format(occupied=occupied) for argument in arguments]
    data = [f"--config.dataset.data_dir={data_dir}"]
    monkeypatch.chdir(tmp_path)
    assert program.main(["tune", *filled, *data]) == 2
    output, errors = capsys.readouterr()
    assert output == "" and errors.count("\n") == 1 and named in errors
    assert [path.name for path in tmp_path.iterdir()] == ["occupied"]


def test_a_ray_cluster_that_cannot_be_reached_is_refused_before_anything_is_written(tune, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    code, output, errors = tune(RATE, "--launcher=ray", "--ray_address=127.0.0.1:1")
    assert (code, output) == (2, "") and errors.count("\n") == 1 and "no Ray cluster can be reached" in errors
    assert not (tmp_path / "search").exists()


def test_a_missing_optuna_is_one_line(monkeypatch, capsys):
    found = program.choose(["tune"])[0].importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "optuna" else found(name))
    assert program.main(["tune", "--config=digits:baseline"]) == 2
    assert capsys.readouterr().err == f"chimeramix: tune: optuna is not installed; run {installing('optuna')}\n"


def test_a_config_file_says_what_to_search(tune, tmp_path):
    own = tmp_path / "own.py"
    own.write_text(
        "from chimeramix_jax.config import load\n\n\ndef get_config():\n    return load('digits:baseline')\n\n\n"
        "def get_search_space():\n    return {'classifier.learning_rate': '0.1:0.2', 'augment.cutout': [True, False]}\n"
    )
    assert tune("--trials=1", config=own)[0] == 0
    about = json.loads((tmp_path / "search" / "search.json").read_text())
    assert about["space"] == {"classifier.learning_rate": "0.1:0.2", "augment.cutout": "True|False"}
    assert str(own) in (tmp_path / "search" / "best.py").read_text()


def test_an_incomplete_line_that_a_kill_left_in_the_journal_is_removed(tune, searched):
    with open(searched / "search.log", "ab") as journal:
        journal.write(b'{"op_code":4,"wor')
    assert tune(RATE, "--trials=2")[0] == 0
    assert len(rows(searched)) == 2


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("search.json", lambda text: "{}", "has no config, which must be a JSON object; restore"),
        (
            "search.json",
            lambda text: text.replace('"space": {', '"space": 5, "other": {'),
            "has no space, which must be",
        ),
        ("search.json", lambda text: text.replace('"seed": 0', '"seed": "x"'), "seed: 'x' is not allowed; it must be"),
        ("search.json", lambda text: text[:-9], "cannot be read: "),
        ("search.log", lambda text: text + "garbage\n", "is not an entry of Optuna's journal; restore the file"),
        ("search.log", lambda text: text + "5\n", "b'5' is not an entry of Optuna's journal; restore the file"),
        ("search.log", lambda text: "\n" + text, "line 1: b'' is not an entry of Optuna's journal; restore the file"),
        ("search.log", lambda text: text + '{"op_code": 99}\n', "AssertionError: Should not reach.; restore the file"),
        ("search.log", lambda text: text + '{"op_code": 4}\n', "; restore the file from a backup, or choose another"),
    ],
)
def test_damaged_files_of_a_search_are_named_and_stay(tune, searched, name, change, problem):
    path = searched / name
    damaged = change(path.read_text())
    path.write_text(damaged)
    code, output, errors = tune(RATE, "--trials=2")
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"chimeramix: {path}: ") and problem in errors
    assert path.read_text() == damaged


def _wait_for(calls, count, process):
    until = time.monotonic() + 120
    while len(calls()) < count:
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def kept_stopped(tmp_path_factory):
    """Where a search that was stopped is kept for other tests."""
    return tmp_path_factory.mktemp("kept-stopped") / "search"


@pytest.fixture
def stopped(start_tune, tmp_path, calls, kept_stopped):
    """The folder of a search that was stopped in its first trial, which only the first test to need it carries out."""
    folder = tmp_path / "search"
    if kept_stopped.exists():
        return shutil.copytree(kept_stopped, folder)
    process = start_tune(RATE, "--trials=2", seconds=60)
    _wait_for(calls, 1, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143 and "the same command continues the search" in errors
    assert "trial 0: stopped; the same command continues it" in errors
    assert [call["workdir"].split("/")[-1] for call in calls()] == ["0"]
    shutil.copytree(folder, kept_stopped)
    return folder


@pytest.mark.parametrize("results", [None, "{}", '{"seconds": {"classifier": 1.0}}', '{"test": {"top1": 1}}'])
def test_a_search_that_was_stopped_continues_its_trial(stopped, tune, calls, results):
    if results is not None:  # without a validation accuracy, they are no results of a trial
        (stopped / "trials" / "0" / "results.json").write_text(results)
    before = len(calls())
    assert tune(RATE, "--trials=2")[0] == 0
    assert [call["workdir"].split("/")[-1] for call in calls()[before:]] == ["0", "1"]
    assert rows(stopped)[0]["state"] == "done"


def test_a_trial_that_was_stopped_from_outside_is_left_for_the_next_command(tune, tmp_path, calls, monkeypatch):
    monkeypatch.setenv("FAKE_STOPPED", "0")
    code, output, errors = tune(RATE, "--trials=2")
    assert code == 1 and "trial 0: stopped; the same command continues it" in errors
    assert "stopped from outside: trials 0; the same command continues them" in output
    assert [row["state"] for row in rows(tmp_path / "search")] == ["not finished", "done"] and len(calls()) == 2
    monkeypatch.delenv("FAKE_STOPPED")
    code, output, _ = tune(RATE, "--trials=2")
    assert code == 0 and "stopped from outside" not in output
    assert [row["state"] for row in rows(tmp_path / "search")] == ["done", "done"]


def test_a_search_that_was_killed_continues_its_trial(start_tune, tune, tmp_path, calls):
    process = start_tune(RATE, "--trials=2", seconds=2)
    _wait_for(calls, 1, process)
    process.kill()
    process.communicate(timeout=60)
    assert tune(RATE, "--trials=2")[0] == 0
    assert len(rows(tmp_path / "search")) == 2
    assert {call["workdir"].split("/")[-1] for call in calls()} == {"0", "1"}


def test_a_search_of_a_version_with_fewer_settings_continues(tune, searched, calls):
    about, runs = searched / "search.json", len(calls())
    stored = json.loads(about.read_text())
    del stored["config"]["dataset"]["fit"]
    about.write_text(json.dumps(stored))
    code, _, errors = tune(RATE, "--trials=2")
    assert code == 0, errors
    assert len(rows(searched)) == 2 and len(calls()) == runs + 1


def test_two_processes_share_a_search(start_tune, tmp_path, calls):
    both = [start_tune(RATE, "--trials=6", "--pruner=none", seconds=0.5, processes=2) for _ in range(2)]
    ended = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], ended
    numbers = [sorted(map(int, re.findall(r"trial (\d+): ", errors))) for _, errors in ended]
    assert sorted([*numbers[0], *numbers[1]]) == list(range(6)) and all(numbers)
    assert len(calls()) == 6 and len({call["config.classifier.learning_rate"] for call in calls()}) == 6


@pytest.mark.slow
def test_a_real_search_that_was_killed_continues_and_its_result_can_be_trained(data_dir, tmp_path):
    values = {"dataset.data_dir": data_dir} | TINY
    overrides = [f"--config.{key}={value}" for key, value in values.items()]
    folder = tmp_path / "search"
    space = "--search=classifier.learning_rate=0.01:0.5:log,mixing.probability=0:1"
    begin = [sys.executable, str(ROOT / "main.py"), "tune", "--config=digits:chimeramix_grid", *overrides]
    command = [*begin, space, "--trials=3", f"--workdir={folder}"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
    until = time.monotonic() + 900
    while not (folder / "trials" / "1" / "classifier").exists():
        assert process.poll() is None and time.monotonic() < until, process.communicate()
        time.sleep(0.1)
    process.kill()
    process.communicate()
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stderr
    assert len(rows(folder)) == 3 and rows(folder)[0]["state"] == "done"
    assert len(list((folder / "generators").iterdir())) == 1
    for results in folder.glob("trials/*/results.json"):
        content = json.loads(results.read_text())
        assert "validation" in content and "test" not in content
    assert (folder / "trials" / "0" / "generator_from.json").exists()

    train = [sys.executable, str(ROOT / "main.py"), f"--config={folder / 'best.py'}", f"--workdir={tmp_path / 'final'}"]
    train += ["--config.compare_with_baseline=false"]
    final = subprocess.run(train, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert final.returncode == 0, final.stderr
    assert "test" in json.loads((tmp_path / "final" / "results.json").read_text())
