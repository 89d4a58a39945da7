"""Calibration errors at temperatures of the same and of other photos."""

import numpy as np
import pytest

from benchmarks.averaged_views import NEWEST, Outputs
from benchmarks.temperatures import Predictions, error, folders_table, runs_table


def predictions(images, temperature, seed):
    """Returns the predictions of a classifier that is calibrated at a temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(20_000, 4))
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    modest = temperature * logits
    log_probabilities = modest - np.log(np.exp(modest).sum(axis=1, keepdims=True))
    views = np.stack([log_probabilities, log_probabilities])[None]
    return Predictions.of(f"{images}-{seed}", Outputs(images, NEWEST, views, labels))


def test_the_temperature_of_other_photos_is_measured_beside_the_folders_own():
    runs = [predictions("modest", 0.5, 0), predictions("modest", 0.5, 1), predictions("right", 1.0, 2)]
    assert [run.temperature for run in runs] == pytest.approx([0.5, 0.5, 1.0], abs=0.03)
    assert error(runs[0].averaged, runs[0].labels) > 0.1 > 0.02 > error(runs[0].averaged, runs[0].labels, 0.5)
    header, _, modest, right = (line.split("  ") for line in folders_table(runs).splitlines())
    assert header[0] == "images"
    assert (modest[0], right[0]) == ("modest", "right")
    of_modest, of_right = (float(line[-1].split("(")[1].rstrip(")")) for line in (modest, right))
    assert of_modest == pytest.approx(1.0, abs=0.03)
    assert of_right == pytest.approx(0.5, abs=0.03)
    assert float(right[-1].split("(")[0]) > 10  # a temperature that is too low makes it too certain
    assert len(runs_table(runs).splitlines()) == 5


def test_probabilities_are_averaged_over_views_and_logits_beside_them():
    shares = np.array([[[[0.9, 0.1]], [[0.5, 0.5]]]])
    found = Predictions.of("run", Outputs("photos", NEWEST, np.log(shares), np.array([0])))
    assert np.exp(found.averaged) == pytest.approx(np.array([[0.7, 0.3]]))
    odds = np.exp(found.averaged_logits)
    assert odds / odds.sum() == pytest.approx(np.array([[0.75, 0.25]]))
