"""The comparison of ways to average predictions: accuracies from probabilities, and the table."""

import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.averaged_predictions import VIEWS, Study, accuracies, table
from chimeramix_jax import files
from chimeramix_jax.errors import InputError
from chimeramix_jax.training.evaluation_views import EvaluationViews


def test_the_views_of_the_rows_are_those_of_evaluation():
    shifted, both = EvaluationViews(shift=1), EvaluationViews(shift=1, mirror=True)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 4, 3)), jnp.float32)
    seen = [np.asarray(view) for view in both(images)]
    assert len(VIEWS["crops, mirror"]) == len(seen) == both.count
    for name, views in (("crops", shifted), ("mirror", EvaluationViews(mirror=True)), ("image", EvaluationViews())):
        expected = [np.asarray(view) for view in views(images)]
        np.testing.assert_array_equal(np.stack([seen[place] for place in VIEWS[name]]), np.stack(expected))


def test_accuracies_are_those_of_averaged_probabilities():
    shares = np.full((2, 10, 2, 2), 0.5)
    shares[0, :, 0], shares[1, :, 0] = (0.9, 0.1), (0.4, 0.6)  # together, the first image is of the first class
    shares[:, 0, 1], shares[:, 1:, 1] = (0.4, 0.6), (0.8, 0.2)  # only the image itself looks like the second class
    found = accuracies(np.log(shares), np.array([0, 1]))
    assert found["image"] == {"members": [1.0, 0.5], "ensemble": 1.0}
    for name in ("mirror", "crops", "crops, mirror"):
        assert found[name] == {"members": [0.5, 0.0], "ensemble": 0.5}


def test_another_study_in_the_same_folder_is_refused(tmp_path):
    study = Study(["photos/a", "photos/b"], 20, 10, 2, (0, 1), 500, tmp_path)
    study.check()
    files.write_json(tmp_path / "study.json", study._identity())
    dataclasses.replace(study, seeds=(2,), images=["photos/b", "photos/c"]).check()  # more of the same
    for change, message in (
        ({"epochs": 11}, "epochs was 10, now it is 11"),
        ({"most": 100}, "most was 500, now it is 100"),
        ({"changes": ["--config.classifier.dropout_rate=0.1"]}, r"changes was \[\], now it is \['--config"),
        ({"images": ["others/a"]}, "--images: was '.*photos/a', now it is '.*others/a'"),
        ({"images": ["photos/a", "others/a"]}, "several folders are called 'a'"),
    ):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(study, **change).check()


def test_settings_that_the_study_sets_itself_cannot_be_changed(tmp_path):
    for change in ("evaluation.mirror=false", "classifier.epochs=3"):
        study = Study(["photos/a"], 20, 10, 2, (0,), 500, tmp_path, [f"--config.{change}"])
        with pytest.raises(InputError, match=rf"^--config: {change.partition('=')[0]} cannot be changed"):
            study.config_of("photos/a", 0)


def test_the_table_compares_with_a_single_network_and_a_single_view(tmp_path):
    study = Study(["photos/a", "photos/b"], 20, 10, 2, (0, 1), 500, tmp_path)
    for seed, gain in ((0, 0.02), (1, 0.04)):
        place = study.result_file("photos/a", seed)
        place.parent.mkdir(exist_ok=True)
        of_views = {name: {"members": [0.5, 0.6], "ensemble": 0.55 + gain} for name in VIEWS}
        place.write_text(json.dumps({"accuracies": of_views}))
    lines = table(study).splitlines()
    assert lines[2].split() == ["one", "network,", "image", "55.0", "unfinished"]
    assert lines[6].split()[:5] == ["2", "networks,", "image", "58.0", "(+3.00"]
