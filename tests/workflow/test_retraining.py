"""Runs that are trained again, and stopped meanwhile: real ones, with tiny networks."""

import signal

import pytest
from photos import write_photo, write_photos

import chimeramix_jax
from chimeramix_jax import report
from chimeramix_jax.runtime import stopping
from chimeramix_jax.runtime.stopping import Stopped
from chimeramix_jax.training import checkpoints
from chimeramix_jax.training.calls import StepCall


@pytest.fixture
def stopped_after(monkeypatch):
    """Stops every training after this many calls; returns the list of those that were run."""
    run_step, ran, most = StepCall.run, [], []

    def run(call):
        if most and len(ran) >= most[0]:
            raise Stopped(signal.SIGTERM)
        ran.append(call)
        return run_step(call)

    def set_most(count):
        ran.clear()
        most[:] = [] if count is None else [count]
        return ran

    monkeypatch.setattr(StepCall, "run", run)
    return set_most


def moved_aside(run):
    return sorted(path.relative_to(run) for path in run.rglob("*.replaced-*"))


def test_the_same_command_continues_a_retraining_and_a_later_one_begins_anew(photo_settings, tmp_path, stopped_after):
    photos, run = tmp_path / "photos", tmp_path / "run"
    write_photos(photos)
    config = photo_settings(photos, "baseline", **{"classifier.epochs": 2, "folds": 2, "max_labels_per_class": None})

    def retrain():
        chimeramix_jax.train_and_evaluate(config, run, retrain=True)

    ran = stopped_after(None)
    chimeramix_jax.train_and_evaluate(config, run)
    steps = len(ran)
    assert not moved_aside(run)
    stopped_after(steps - 2)  # in the final run, when both folds are finished
    with pytest.raises(Stopped):
        retrain()
    aside = moved_aside(run)
    assert {path.name for path in aside} >= {"classifier.replaced-1", "results.replaced-1.json"}
    assert checkpoints.newest(run / "classifier")["precision"] == "float32"
    config.precision = "float32"  # what "auto" meant
    ran = stopped_after(None)
    retrain()
    config.precision = "auto"
    assert len(ran) == 2 and moved_aside(run) == aside
    assert (run / "results.json").exists() and not list(run.rglob("retraining.json"))
    stopped_after(0)
    with pytest.raises(Stopped):
        retrain()
    assert run / "classifier.replaced-2" in {run / path for path in moved_aside(run)}
    again = moved_aside(run)
    write_photo(photos / "class 0/0.png", 9000)  # what was begun is of no use for this one
    with pytest.raises(Stopped):
        retrain()
    assert len(moved_aside(run)) >= len(again)
    ran = stopped_after(None)
    retrain()
    assert len(ran) >= steps and (run / "results.json").exists()


def test_seeds_that_are_finished_are_not_trained_once_more_when_the_others_continue(
    photo_settings, tmp_path, monkeypatch, stopped_after
):
    write_photos(tmp_path / "photos", "train")
    write_photos(tmp_path / "photos", "test", per_class=1, first=50)
    config = photo_settings(tmp_path / "photos", "baseline", seeds="0,1", max_labels_per_class=None)
    runs = [tmp_path / f"run-{seed}" for seed in (0, 1)]
    write = report.write

    def stopped_when_the_first_is_finished(*arguments):
        write(*arguments)
        monkeypatch.setattr(stopping._requests, "first", signal.SIGTERM)

    def retrain():
        chimeramix_jax.train_and_evaluate_seeds(config, tmp_path / "run-{seed}", retrain=True)

    ran = stopped_after(None)
    retrain()  # nothing is there yet
    steps = len(ran)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(report, "write", stopped_when_the_first_is_finished)
        retrain()
    monkeypatch.setattr(stopping._requests, "first", None)
    assert [(run / "results.json").exists() for run in runs] == [True, False]
    ran = stopped_after(None)
    retrain()
    assert len(ran) < steps / 2
    for run in runs:
        assert not (run / "classifier.replaced-2").exists() and not (run / "retraining.json").exists()
        assert (run / "results.json").exists()
