"""A run on photos of which several show one object: its intervals and its comparison take them as a whole."""

import csv
import json

import numpy as np
import pytest

import chimeramix_jax
from chimeramix_jax.config import from_json
from chimeramix_jax.reporting.clustered import accuracy_interval, effective_number, note
from chimeramix_jax.reporting.results import closing_text
from tests.data.own_images import write_images, write_table

OBJECTS, VIEWS = 8, 4


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def measured(tmp_path_factory, photo_settings):
    """The directory of a finished run that folds measure, what it returned, and the group of each file."""
    root = tmp_path_factory.mktemp("groups")
    photos = write_images(root / "photos", OBJECTS * VIEWS)
    shown = [number // VIEWS for number in range(len(photos))]
    rows = [
        (f"photos/{path.name}", ("cat", "dog")[object_ % 2], f"object {object_}")
        for path, object_ in zip(photos, shown, strict=True)
    ]
    table = write_table(root / "photos.csv", rows, header="path,label,group")
    config = photo_settings(
        table, "chimeramix_grid_direct", folds=2, max_labels_per_class=None, compare_with_baseline=True
    )
    return root / "run", chimeramix_jax.train_and_evaluate(config, root / "run"), {row[0]: row[2] for row in rows}


def test_the_interval_is_that_of_the_effective_number_of_images(measured):
    run, returned, groups = measured
    held_out = rows_of(run / "held_out.csv")
    right = np.array([row["true_class"] == row["predicted_class"] for row in held_out])
    expected = effective_number(right, [groups[row["image"]] for row in held_out])
    folds = json.loads((run / "results.json").read_text())["folds"]
    assert 1 <= expected <= OBJECTS * VIEWS and folds["effective_examples"] == pytest.approx(expected)
    assert folds["interval"] == pytest.approx(accuracy_interval(folds, folds["top1"]))
    texts = closing_text(returned), (run / "report.html").read_text(), (run / "model_card.md").read_text()
    assert all(note(expected) in text.replace("\n", " ") for text in texts)


def test_the_comparison_with_the_baseline_is_a_test_over_groups(measured):
    run, returned, _ = measured
    compared = json.loads((run / "results.json").read_text())["against_baseline"]
    assert compared["groups"] == OBJECTS and 0 <= compared["mcnemar_p"] <= 1
    for text in (closing_text(returned), (run / "report.html").read_text(), (run / "model_card.md").read_text()):
        assert f"exact McNemar test over {OBJECTS} groups and single images" in text


def test_a_report_that_is_drawn_again_says_the_same(measured):
    run, _, _ = measured
    before = (run / "report.html").read_text()
    chimeramix_jax.train_and_evaluate(from_json((run / "config.json").read_text()), run, stage="report")
    assert (run / "report.html").read_text() == before
