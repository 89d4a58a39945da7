"""The runs that a choice tries, beside the same runs by themselves."""

import json

import pytest
from conftest import TINY

import chimeramix_jax
from chimeramix_jax.auto.halving import Schedule
from chimeramix_jax.auto.menu import config_of
from chimeramix_jax.auto.trials import TIMING, FoldTrials
from chimeramix_jax.config import load
from chimeramix_jax.runs.out_of_fold import config_of_fold
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training import epochs


@pytest.fixture
def config(data_dir):
    config = load("configs/digits.py:auto")
    growing = {"classifier.image_side": 16, "classifier.growing_sides": "8:0.5"}
    few = {"max_labels_per_class": 4, "folds": 2, "dataset.data_dir": str(data_dir)}
    config.update_from_flattened_dict(TINY | growing | few)
    return config


@pytest.fixture
def made(monkeypatch):
    """The side of every program that has been made, in order."""
    sides, functions = [], epochs.StepFunctions

    def watched(stage, side):
        sides.append((stage.name, side))
        return functions(stage, side)

    monkeypatch.setattr(epochs, "StepFunctions", watched)
    return sides


def test_runs_of_a_recipe_share_their_programs_and_each_is_what_it_would_be_alone(config, made, tmp_path):
    recipe = "chimeramix_grid"
    trials = FoldTrials(config, Workdir(tmp_path / "run"), [recipe], before=lambda workdir: None)
    trials.run(recipe, Schedule(1, 2), TIMING, 1)
    once = [("generator", None), ("classifier", 8), ("classifier", 16)]
    assert made == once
    tried, _ = trials.run(recipe, Schedule(2, 3), "rung-1", 2)  # another fold and more epochs
    assert made == once
    alone = config_of_fold(config_of(recipe, config, Schedule(2, 3)), 2)
    chimeramix_jax.train_and_evaluate(alone, tmp_path / "alone")
    shared = tmp_path / "run" / tried.workdir
    for file in ("classifier/metrics.jsonl", "generator/metrics.jsonl"):
        assert (shared / file).read_bytes() == (tmp_path / "alone" / file).read_bytes()
    stored = [json.loads((run / "results.json").read_text()) for run in (shared, tmp_path / "alone")]
    assert stored[0]["validation"] == stored[1]["validation"] and stored[0]["config"]["classifier"]["epochs"] == 3
