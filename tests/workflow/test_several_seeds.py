"""Several seeds through the real program: together, on several devices, and in several processes."""

import json
import os
import re
import shutil

import jax
import numpy as np
import pytest
from conftest import TINY
from flax import nnx

import chimeramix_jax
from chimeramix_jax.command_line import main_command, program
from chimeramix_jax.config import from_json, load
from chimeramix_jax.errors import InputError
from chimeramix_jax.workflow import several_seeds

FOUR_DEVICES = "--xla_force_host_platform_device_count=4"
BASELINE = "--config=configs/digits.py:baseline"
SLOWLY = {  # at the usual learning rate, training amplifies differences in rounding
    "classifier.epochs": 2,
    "classifier.learning_rate": 1e-3,
    "generator.epochs": 2,
    "generator.learning_rate": 1e-5,
}


@pytest.fixture(scope="module")
def settings(data_dir):
    def make(experiment="chimeramix_grid", **changes):
        config = load(f"configs/digits.py:{experiment}")
        data = {"dataset.data_dir": str(data_dir), "compare_with_baseline": False}
        config.update_from_flattened_dict(TINY | data | changes)
        return config

    return make


@pytest.fixture(scope="module")
def mixing_alone(settings, tmp_path_factory):
    """A run of seed 1 with mixing."""
    workdir = tmp_path_factory.mktemp("mixing") / "alone"
    chimeramix_jax.train_and_evaluate(settings(seed=1), workdir)
    return workdir


@pytest.fixture(scope="module")
def mixing_alone_slowly(settings, tmp_path_factory):
    """The same at a learning rate at which differences in rounding stay small."""
    workdir = tmp_path_factory.mktemp("mixing-slowly") / "alone"
    chimeramix_jax.train_and_evaluate(settings(seed=1, **SLOWLY), workdir)
    return workdir


@pytest.fixture(scope="module")
def baseline_alone_slowly(settings, tmp_path_factory):
    """A run of seed 1 without mixing, at this learning rate."""
    workdir = tmp_path_factory.mktemp("baseline-slowly") / "alone"
    chimeramix_jax.train_and_evaluate(settings("baseline", seed=1, **SLOWLY), workdir)
    return workdir


def log(workdir, stage):
    return [json.loads(line) for line in (workdir / stage / "metrics.jsonl").read_text().splitlines()]


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


def parameters(workdir):
    return jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(chimeramix_jax.restore_classifier(workdir))))


def assert_alike(workdir, expected, stages, tolerance):
    """Requires that all metrics of two runs agree up to rounding."""
    for stage in stages:
        for line, wanted in zip(log(workdir, stage), log(expected, stage), strict=True):
            exact = {name: line.pop(name) == wanted.pop(name) for name in ("stage", "epoch", "step")}
            assert all(exact.values())
            assert line == pytest.approx(wanted, rel=tolerance, abs=tolerance)
    assert results(workdir)["test"]["loss"] == pytest.approx(results(expected)["test"]["loss"], rel=tolerance)
    assert results(workdir)["train_indices"] == results(expected)["train_indices"]


@pytest.fixture(scope="module")
def together(run_main, settings, tmp_path_factory):
    """The folder of two seeds that were trained together, one of which had started alone, and what was printed."""
    folder = tmp_path_factory.mktemp("together")
    chimeramix_jax.train_and_evaluate(settings(seed=1), folder / "seed-1", stage="generator")
    code, output, errors = run_main("--config.seeds=0:2", f"--workdir={folder}", compare_with_baseline=False)
    assert code == 0, errors
    return folder, output, errors


@pytest.mark.slow
def test_seeds_trained_together_are_bit_for_bit_their_runs_alone_even_if_one_started_alone(mixing_alone, together):
    together, output, errors = together
    assert "generator, mean over seeds: 15/15" in errors
    # If the interval of two very different seeds exceeds 0 to 100 %, its ends are printed instead.
    assert re.search(r"^mean .*%\n95 % interval +(±|\d+(\.\d+)? to )", output, re.MULTILINE)
    for seed in (0, 1):
        assert results(together / f"seed-{seed}")["seed"] == seed
        assert f"{results(together / f'seed-{seed}')['test']['top1']:.1%}" in output
    for stage in ("generator", "classifier"):
        assert log(together / "seed-1", stage) == log(mixing_alone, stage)
        assert log(together / "seed-0", stage) != log(mixing_alone, stage)
    assert results(together / "seed-1")["test"] == results(mixing_alone)["test"]
    assert (together / "seed-1" / "config.json").read_text() == (mixing_alone / "config.json").read_text()
    jax.tree.map(np.testing.assert_array_equal, parameters(together / "seed-1"), parameters(mixing_alone))


@pytest.mark.slow
def test_finished_seeds_are_not_trained_again_together_or_alone(settings, together, capsys):
    together, _, _ = together
    capsys.readouterr()
    again = chimeramix_jax.train_and_evaluate_seeds(settings(seeds="1,0"), together)
    assert [result["seed"] for result in again] == [1, 0]
    alone = chimeramix_jax.train_and_evaluate(settings(seed=0), together / "seed-0")
    assert alone["summary"][0]["top_1"] == again[1]["summary"][0]["top_1"]
    assert "steps" not in capsys.readouterr().err


@pytest.mark.slow
def test_vectorised_seeds_are_their_runs_alone_up_to_rounding(settings, mixing_alone_slowly, tmp_path):
    config = settings(seeds="1,2", seeds_per_call=2, **SLOWLY)
    chimeramix_jax.train_and_evaluate_seeds(config, tmp_path)
    assert_alike(tmp_path / "seed-1", mixing_alone_slowly, ("generator", "classifier"), tolerance=1e-3)


@pytest.mark.slow
def test_seeds_spread_over_four_devices_are_their_runs_alone_up_to_rounding(
    run_main, baseline_alone_slowly, tmp_path, monkeypatch
):
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} {FOUR_DEVICES}")
    code, _, errors = run_main(BASELINE, "--config.seeds=0:5", f"--workdir={tmp_path}", **SLOWLY)
    assert code == 0, errors
    assert results(tmp_path / "seed-1")["device"]["count"] == 4
    assert_alike(tmp_path / "seed-1", baseline_alone_slowly, ("classifier",), tolerance=1e-3)


@pytest.mark.slow
def test_a_batch_spread_over_four_devices_trains_as_on_one(run_main, baseline_alone_slowly, tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"{os.environ['XLA_FLAGS']} {FOUR_DEVICES}")
    code, _, errors = run_main(BASELINE, f"--workdir={tmp_path}", seed=1, **SLOWLY)
    assert code == 0, errors
    assert "classifier (baseline): each batch of 8 is spread over 4 devices" in errors
    assert_alike(tmp_path, baseline_alone_slowly, ("classifier",), tolerance=1e-3)


def test_directories_of_other_runs_are_refused(settings, trained_run, tmp_path, capsys):
    for seed in (0, 1):
        shutil.copytree(trained_run, tmp_path / f"seed-{seed}")
    config = settings(seeds="1,0", **{"generator.learning_rate": 0.5})
    with pytest.raises(InputError, match="learning_rate"):
        chimeramix_jax.train_and_evaluate_seeds(config, tmp_path)
    assert "left out" not in capsys.readouterr().err
    assert not list(tmp_path.glob("*/lock.json"))  # which would keep other runs out


def test_a_seed_that_is_refused_is_named_and_does_not_keep_the_others_from_being_trained(settings, tmp_path, capsys):
    (tmp_path / "seed-1").mkdir()
    (tmp_path / "seed-1" / "config.json").write_text("no settings")
    with pytest.raises(InputError, match="seed-1"):
        chimeramix_jax.train_and_evaluate_seeds(settings("baseline", seeds="0,1,2"), tmp_path)
    assert "seed 1 is left out: " in capsys.readouterr().err
    assert results(tmp_path / "seed-2")["seeds_together"] == {"classifier": 2}
    assert [(tmp_path / f"seed-{seed}" / "results.json").exists() for seed in (0, 1, 2)] == [True, False, True]
    assert not list(tmp_path.glob("*/lock.json"))


def test_seeds_that_never_start_leave_no_locks_behind(settings, tmp_path, monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(several_seeds.Team, "run", refuse)
    with pytest.raises(RuntimeError, match="new thread"):
        chimeramix_jax.train_and_evaluate_seeds(settings("baseline", seeds="0,1"), tmp_path)
    assert not os.listdir(tmp_path)  # not even locks, which would keep other runs out


@pytest.mark.parametrize("pattern", ["", "seed-{seed}"])
def test_evaluating_several_seeds_again_uses_the_settings_of_the_first_seeds_run(trained_run, tmp_path, pattern):
    (tmp_path / "seed-4").mkdir()
    shutil.copy(trained_run / "config.json", tmp_path / "seed-4")
    evaluate = ["--stage=evaluate", "--config.seeds=4,5", f"--workdir={tmp_path / pattern}"]
    stored = load_stored(trained_run)
    stored.seeds = "4,5"
    for arguments in (evaluate, [evaluate[0], "--config.seeds", "4,5", evaluate[2]]):
        assert main_command.parse_arguments(arguments).config == stored
    assert main_command.parse_arguments(["--config=digits:baseline", *evaluate]).config.experiment == "baseline"
    assert main_command.parse_arguments(evaluate[1:]).config == stored  # a run that is continued takes them, too


def load_stored(workdir):
    return from_json((workdir / "config.json").read_text())


def test_several_seeds_are_refused_as_a_single_run(settings, tmp_path):
    with pytest.raises(InputError, match=r"seeds: '0,1'.*train_and_evaluate_seeds"):
        chimeramix_jax.train_and_evaluate(settings(seeds="0,1"), tmp_path)


def test_a_single_run_is_refused_as_several_seeds(settings, tmp_path):
    with pytest.raises(InputError, match=r"seeds: none are named.*train_and_evaluate for a single one"):
        chimeramix_jax.train_and_evaluate_seeds(settings(seeds=""), tmp_path)
    assert not list(tmp_path.iterdir())


def test_more_devices_than_available_are_refused(settings, tmp_path):
    with pytest.raises(InputError, match="devices: 4096 requested, but JAX finds"):
        chimeramix_jax.train_and_evaluate(settings(devices=4096), tmp_path)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--config.seeds=0,0"], ["seeds: '0,0' names 0 twice"]),
        (["--config.seeds=0:2", "--generator_workdir=runs/one"], ["--generator_workdir=runs/one", "'0:2'", "{seed}"]),
    ],
)
def test_arguments_that_do_not_suit_several_seeds_are_refused_in_one_line(tmp_path, capsys, arguments, parts):
    code = program.main([*arguments, f"--workdir={tmp_path / 'run'}"])
    output, errors = capsys.readouterr()
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert all(part in errors for part in parts)
    assert list(tmp_path.iterdir()) == []
