"""True classes from the names of folders, and the accuracy on them."""

import csv
import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from chimeramix_jax.config import from_json
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.use import prediction_formats
from chimeramix_jax.use.labelled_folders import true_classes
from chimeramix_jax.use.prediction_accuracy import accuracy_text
from chimeramix_jax.use.prediction_formats import Prediction

IMAGES_PER_CLASS = 4


def found(*paths, names=("cat", "dog", "h\u00e9ron")):
    return {str(path): name for path, name in true_classes(map(Path, paths), names).items()}


def test_the_true_class_is_the_name_of_the_folder_if_folders_of_several_classes_lie_side_by_side():
    assert found("photos/cat/a.jpg", "photos/dog/a.jpg", "photos/new/b.jpg", "photos/c.jpg") == {
        "photos/cat/a.jpg": "cat",
        "photos/dog/a.jpg": "dog",
    }


def test_a_single_folder_called_like_a_class_says_nothing():
    assert found("cat/a.jpg", "cat/b.jpg", "elsewhere/dog/c.jpg") == {}


def test_folders_count_relative_to_the_current_one_and_in_any_unicode_form(monkeypatch, tmp_path):
    (tmp_path / "cat").mkdir()
    monkeypatch.chdir(tmp_path / "cat")
    assert found("a.jpg", "../he\u0301ron/b.jpg") == {"a.jpg": "cat", "../he\u0301ron/b.jpg": "h\u00e9ron"}


def predictions(*pairs):
    return [
        Prediction(f"{number}.png", Path(f"{number}.png"), (predicted, "other"), (0.75, 0.25), true)
        for number, (true, predicted) in enumerate(pairs)
    ]


def test_the_accuracy_and_the_confusion_matrix_count_images_with_a_true_class():
    text = accuracy_text(
        predictions(("cat", "cat"), ("cat", "dog"), ("dog", "dog"), ("owl", "cat"), (None, "dog")),
        ("cat", "dog", "owl"),
    )
    lines = text.splitlines()
    assert lines[0].startswith("accuracy: 50% (2 of 4 images in folders named after classes; 95 % interval 15% to 85%)")
    assert lines[1] == "not counted: 1 image in other folders"
    assert lines[-5].split() == ["true", "class", "cat", "dog", "owl"]
    assert [line.split() for line in lines[-3:]] == [
        ["cat", "1", "1", "."],
        ["dog", ".", "1", "."],
        ["owl", "1", ".", "."],
    ]


@pytest.mark.parametrize(
    ("names", "heads"),
    [
        (("0", "1", "2"), ["0", "1", "2"]),
        (("0", "x" * 90, "2"), ["A", "B", "C"]),
        (("cat", "x" * 90, "owl"), ["1", "2", "3"]),
    ],
)
def test_no_column_of_the_matrix_has_the_name_of_another_class(names, heads):
    lines = accuracy_text(predictions((names[0], names[2])), names).splitlines()
    assert lines[-5].split()[2:] == heads
    assert lines[-3].split() == [*([] if heads == list(names) else heads[:1]), names[0], ".", ".", "1"]


def test_images_that_were_trained_on_do_not_count_unless_there_are_no_others():
    pairs = ("cat", "cat"), ("cat", "dog"), ("dog", "dog"), (None, "dog")
    known = (True, False, False, True)
    rows = [dataclasses.replace(row, trained_on=on) for row, on in zip(predictions(*pairs), known, strict=True)]
    lines = accuracy_text(rows, ("cat", "dog")).splitlines()
    assert lines[0].startswith("accuracy: 50% (1 of 2 images in folders named after classes; ")
    assert lines[1].startswith("1 of 3 images were trained on, so accuracy and matrix leave them out")
    assert lines[2] == "not counted: 1 image in other folders"
    assert [line.split()[1:] for line in lines[-2:]] == [[".", "1"], [".", "1"]]
    lines = accuracy_text([dataclasses.replace(row, trained_on=True) for row in rows], ("cat", "dog")).splitlines()
    assert lines[0].startswith("accuracy on training images: 67% (2 of 3 images ")
    assert lines[1] == "All of them were trained on, so this says nothing about new images."


def test_answered_images_are_counted_apart_if_there_is_a_threshold():
    answers = (True, True, False, False, True)
    rows = predictions(("cat", "cat"), ("cat", "dog"), ("dog", "dog"), ("owl", "cat"), (None, "dog"))
    rows = [dataclasses.replace(row, answered=answered) for row, answered in zip(rows, answers, strict=True)]
    lines = accuracy_text(rows, ("cat", "dog", "owl")).splitlines()
    assert lines[0].startswith("accuracy: 50% (2 of 4 images")
    assert lines[1].startswith("answered: 2 of 4, of which 1 are right (50%, 95 % interval 9% to 91%); ")
    none = [dataclasses.replace(row, answered=False) for row in rows]
    assert accuracy_text(none, ("cat", "dog", "owl")).splitlines()[1] == "answered: none of 4"


def test_many_classes_have_a_list_of_confusions_instead_of_a_matrix():
    names = tuple(f"class {number}" for number in range(30))
    text = accuracy_text(
        predictions(*[("class 3", "class 7")] * 2, ("class 1", "class 2"), ("class 0", "class 0")), names
    )
    assert [line.split() for line in text.splitlines()[-2:]] == [
        ["class", "3", "class", "7", "2"],
        ["class", "1", "class", "2", "1"],
    ]
    assert "no image was misclassified" in accuracy_text(predictions(("class 0", "class 0")), names)


def test_every_format_has_the_true_classes_and_only_if_some_are_known():
    some, none = predictions(("cat", "cat"), (None, "dog")), predictions((None, "cat"))
    table = prediction_formats.table(some).splitlines()
    assert table[0].split() == ["image", "true", "class", "class", "probability", "next"]
    assert [line.split()[1] for line in table[2:]] == ["cat", "?"]
    rows = list(csv.DictReader(io.StringIO(prediction_formats.csv_text(some))))
    assert [row["true_class"] for row in rows] == ["cat", ""]
    assert [row.get("true_class") for row in json.loads(prediction_formats.json_text(some))] == ["cat", None]
    assert not any("true" in write(none) for write in prediction_formats.FORMATS.values())


def test_csv_and_json_say_which_labelled_images_were_trained_on_as_far_as_that_is_known():
    rows = predictions(("cat", "cat"), ("dog", "dog"), (None, "dog"))
    known = [dataclasses.replace(row, trained_on=on) for row, on in zip(rows, (True, False, False), strict=True)]
    in_csv = csv.DictReader(io.StringIO(prediction_formats.csv_text(known)))
    assert [(row["true_class"], row["trained_on"]) for row in in_csv] == [("cat", "yes"), ("dog", "no"), ("", "no")]
    assert [row.get("trained_on") for row in json.loads(prediction_formats.json_text(known))] == [True, False, None]
    for silent in (rows, known[2:]):  # unknown, and without true classes
        assert "trained_on" not in prediction_formats.csv_text(silent) + prediction_formats.json_text(silent)


@pytest.fixture(scope="module")
def photos(trained_run, tmp_path_factory):
    """Some of the run's test images in a folder per class, one of an unknown class, and how many lie in classes."""
    config = from_json((trained_run / "config.json").read_text())
    test = load_few_shot(config.dataset, config.max_labels_per_class, config.seed).held_out
    root = tmp_path_factory.mktemp("photos")
    for label in range(10):
        (root / str(label)).mkdir()
        for index in np.flatnonzero(test.labels == label)[:IMAGES_PER_CLASS]:
            Image.fromarray(test.images[index]).save(root / str(label) / f"{test.names[index]}.png")
    (root / "unknown").mkdir()
    Image.fromarray(test.images[0]).save(root / "unknown" / "a.png")
    return root


def csv_rows(path):
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


def predict(workdir, *arguments):
    command = [sys.executable, ROOT / "main.py", "--stage=predict", f"--workdir={workdir}", *arguments]
    process = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return process.returncode, process.stdout, process.stderr


def test_predicting_class_folders_prints_the_accuracy_below_and_explains_mistakes(trained_run, photos, tmp_path):
    code, output, errors = predict(trained_run, f"--images={photos}", f"--explain={tmp_path / 'why'}")
    assert code == 0 and all(line.startswith("predict: ") for line in errors.splitlines())  # progress, if it is slow
    held_out = {row["image"]: row for row in csv_rows(trained_run / "held_out.csv")}
    names = sorted(
        (path.stem for path in photos.glob("?/*.png")), key=lambda name: (held_out[name]["true_class"], name)
    )
    right = sum(held_out[name]["true_class"] == held_out[name]["predicted_class"] for name in names)
    assert f"\naccuracy: {right / 40:.0%} ({right} of 40 images in folders named after classes; " in output
    assert "\nnot counted: 1 image in other folders\n" in output
    matrix = [line.split()[1:] for line in output.partition("confusion matrix")[2].splitlines()[3:13]]
    assert sum(int(row[place]) for place, row in enumerate(matrix) if row[place] != ".") == right
    rows = csv_rows(tmp_path / "why" / "explanations.csv")
    assert len(rows) == 41
    for row in rows:
        known = held_out.get(Path(row["image"]).stem)
        if known is not None and known["true_class"] != known["predicted_class"]:
            assert (row["class"], row["against"]) == (known["predicted_class"], known["true_class"])
            odds = np.log(float(known["probability"]) / float(known["probability_of_true_class"]))
            assert float(row["log_odds"]) == pytest.approx(odds, abs=1e-3) and float(row["log_odds"]) >= 0
        assert float(row["full_colour"]) >= abs(float(row["log_odds"]))
        with Image.open(tmp_path / "why" / row["picture"]) as picture:
            assert picture.width > 600
    assert [row["picture"] for row in rows[::40]] == [f"0-{names[0]}.png", "a.png"]


def test_the_accuracy_does_not_disturb_what_other_programs_read(trained_run, photos, tmp_path):
    code, output, errors = predict(trained_run, f"--images={photos}", "--format=json")
    assert code == 0 and len(json.loads(output)) == 41 and "accuracy: " in errors
    code, output, errors = predict(trained_run, f"--images={photos}", f"--output={tmp_path / 'classes.csv'}")
    assert (code, errors) == (0, "") and output.startswith("accuracy: ")
    assert (tmp_path / "classes.csv").read_text().count("\n") == 42
