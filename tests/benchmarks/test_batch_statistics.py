"""Statistics of unmixed images, computed for runs that are finished."""

import json

import pytest
from flax import nnx

from benchmarks.batch_statistics import compared, table
from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError
from chimeramix_jax.models.wide_resnet import WideResNet
from chimeramix_jax.runs.restore import TrainedClassifier
from chimeramix_jax.training import unmixed_statistics


def test_a_runs_classifier_and_baseline_are_compared_and_the_run_stays_as_it_is(trained_run, monkeypatch):
    monkeypatch.setattr(unmixed_statistics, "VIEWS", 100)
    workdir = trained_run
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    rows = compared(workdir)
    results = json.loads((workdir / "results.json").read_text())
    stored = [results["test"]["top1"], results["baseline"]["test"]["top1"]]
    assert [row.running for row in rows] == pytest.approx(stored)
    assert [row.experiment for row in rows] == ["chimeramix_grid", "its baseline"]
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before
    assert f"{100 * (rows[0].unmixed - rows[0].running):+.1f}" in table(rows)


@pytest.mark.parametrize(
    ("changes", "epochs", "message"),
    [
        ({"classifier.batch_statistics": "unmixed"}, 5, "has unmixed statistics already"),
        ({}, 3, "is trained for 3 of 5 epochs; finish it"),
    ],
)
def test_a_run_whose_statistics_are_unmixed_and_an_unfinished_one_are_refused(
    tmp_path, monkeypatch, changes, epochs, message
):
    config = settings.load("digits:baseline")
    config.update_from_flattened_dict({"classifier.epochs": 5} | changes)
    about = {"config": settings.config_to_dict(config)}
    found = TrainedClassifier(WideResNet(10, 1, 2, rngs=nnx.Rngs(0)), ("0",), epochs, about)
    monkeypatch.setattr(TrainedClassifier, "newest", lambda directory: found)
    (tmp_path / "classifier").mkdir()
    with pytest.raises(InputError, match=message):
        compared(tmp_path)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no trained classifier"):
        compared(tmp_path)
