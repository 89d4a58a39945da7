"""Statistics of unmixed images, computed for runs that are finished."""

import json

import pytest

from benchmarks.batch_statistics import compared, table
from chimeramix_jax.errors import InputError
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


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(InputError, match="holds no trained classifier"):
        compared(tmp_path)
