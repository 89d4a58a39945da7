"""Classifying image files with a finished run, from Python and the command line."""

import csv
import io
import json
import os
import re
import shutil

import numpy as np
import pytest
from conftest import ROOT
from networks import logits_of
from PIL import Image

import chimeramix_jax
from chimeramix_jax.command_line import program
from chimeramix_jax.config import from_json
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.fitting import squared
from chimeramix_jax.data.image_files import read_rgb
from chimeramix_jax.errors import InputError
from chimeramix_jax.use import prediction_formats
from chimeramix_jax.use.prediction_formats import format_of
from tests.runs import stored_settings


@pytest.fixture
def photos(tmp_path):
    """Two images of random colours, whose shapes differ from the run's."""
    folder = tmp_path / "photos"
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, shape in (("a.png", (40, 60, 3)), ("b.jpg", (100, 30, 3))):
        Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(folder / name)
    return folder


@pytest.fixture
def predict(capsys):
    """Runs ``--stage=predict`` in this process; returns exit code, standard output and standard error."""

    def run(workdir, *arguments):
        capsys.readouterr()
        code = program.main(["--stage=predict", f"--workdir={workdir}", *arguments])
        return code, *capsys.readouterr()

    return run


def test_the_accuracy_on_files_of_the_test_images_equals_the_results(trained_run, tmp_path):
    config = from_json((trained_run / "config.json").read_text())
    test = load_few_shot(config.dataset, config.max_labels_per_class, config.seed).held_out
    for number, image in enumerate(test.images):
        Image.fromarray(image).save(tmp_path / f"{number:03}.png")
    predictions = chimeramix_jax.predict(trained_run, tmp_path)
    assert [prediction.path.name for prediction in predictions] == [f"{n:03}.png" for n in range(len(test.labels))]
    correct = [prediction.classes[0] == str(label) for prediction, label in zip(predictions, test.labels, strict=True)]
    assert np.mean(correct) == pytest.approx(
        json.loads((trained_run / "results.json").read_text())["test"]["top1"], abs=2e-3
    )


def test_predictions_say_whether_the_image_was_trained_on_as_far_as_that_is_recorded(trained_run, tmp_path):
    config = from_json((trained_run / "config.json").read_text())
    data = load_few_shot(config.dataset, config.max_labels_per_class, config.seed)
    images = [Image.fromarray(data.train.images[3]), Image.fromarray(data.held_out.images[0])]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"")
    predictions = chimeramix_jax.predict(trained_run, [tmp_path, *images])
    assert [prediction.trained_on for prediction in predictions] == [True, False, None, True, False]
    model = chimeramix_jax.export(trained_run, tmp_path / "model.zip").path
    again = chimeramix_jax.export(model, tmp_path / "again.zip").path
    for path in (model, again):
        assert [prediction.trained_on for prediction in chimeramix_jax.predict(path, images)] == [True, False]


@pytest.mark.parametrize("record", ["damaged", "missing", "of other images"])
def test_without_a_record_of_its_training_images_neither_a_run_nor_its_model_file_says_anything(
    trained_run, tmp_path, record
):
    run = shutil.copytree(trained_run, tmp_path / "run")
    stored = json.loads((run / "data.json").read_text())
    if record == "damaged":
        (run / "data.json").write_text("{")
    elif record == "missing":
        (run / "data.json").unlink()
    else:
        stored["train"] = stored["held_out"]
        (run / "data.json").write_text(json.dumps(stored))
    image = np.zeros((9, 9, 3), np.uint8)
    model = chimeramix_jax.export(run, tmp_path / "model.zip").path
    assert [chimeramix_jax.predict(source, image)[0].trained_on for source in (run, model)] == [None, None]


def test_photos_of_any_shape_are_prepared_like_those_of_an_image_folder(trained_run, photos):
    predictions = chimeramix_jax.predict(trained_run, photos)
    pixels = np.stack([np.asarray(squared(read_rgb(photos / name), 8)) for name in ("a.png", "b.jpg")])
    logits = logits_of(chimeramix_jax.restore_classifier(trained_run), pixels)
    for prediction, row in zip(predictions, logits, strict=True):
        best = np.argsort(-row)
        assert prediction.classes == tuple(str(label) for label in best)
        np.testing.assert_allclose(prediction.probabilities, np.exp(row[best]) / np.exp(row).sum(), rtol=1e-3)


@pytest.fixture
def mirrored_run(trained_run, tmp_path):
    """A copy of the run whose training is said to have mirrored images, and its settings, which average over both."""
    workdir = shutil.copytree(trained_run, tmp_path / "mirrored")
    stored_settings.change(workdir, lambda config: config["augment"].update(horizontal_flip=True))
    config = from_json((workdir / "config.json").read_text())
    config.evaluation.mirror = True
    return workdir, config


def test_probabilities_are_averaged_over_mirror_images_also_with_a_run_that_was_evaluated_without(mirrored_run, photos):
    workdir, config = mirrored_run
    predictions = chimeramix_jax.predict(workdir, photos, config=config)
    pixels = np.stack([np.asarray(squared(read_rgb(photos / name), 8)) for name in ("a.png", "b.jpg")])
    classifier = chimeramix_jax.restore_classifier(workdir)
    views = [np.exp(logits_of(classifier, view)) for view in (pixels, pixels[:, :, ::-1])]
    expected = sum(view / view.sum(axis=1, keepdims=True) for view in views) / 2
    for prediction, row in zip(predictions, expected, strict=True):
        np.testing.assert_allclose(prediction.probabilities, np.sort(row)[::-1], rtol=1e-3)


def test_a_finished_run_is_evaluated_again_with_mirror_images_but_not_trained_so(mirrored_run):
    workdir, config = mirrored_run
    before = json.loads((workdir / "results.json").read_text())["test"]["loss"]
    with pytest.raises(InputError, match=r"evaluation\.mirror: False stored, True requested"):
        chimeramix_jax.train_and_evaluate(config, workdir)
    results = chimeramix_jax.train_and_evaluate(config, workdir, stage="evaluate")
    test = load_few_shot(config.dataset, config.max_labels_per_class, config.seed).held_out
    classifier = chimeramix_jax.restore_classifier(workdir)
    views = [np.exp(logits_of(classifier, view)) for view in (test.images, test.images[:, :, ::-1])]
    probabilities = sum(view / view.sum(axis=1, keepdims=True) for view in views) / 2
    expected = -np.log(probabilities[np.arange(len(test.labels)), test.labels]).mean()
    np.testing.assert_allclose(results["test"]["loss"], expected, rtol=1e-4)
    assert abs(results["test"]["loss"] - before) > 1e-3
    assert from_json((workdir / "config.json").read_text()).evaluation.mirror


def test_unreadable_images_are_returned_with_their_errors_in_order(trained_run, photos):
    (photos / "aa.png").write_text("no image")
    first, unreadable, last = chimeramix_jax.predict(trained_run, photos)
    assert (first.path, unreadable.path, last.path) == (photos / "a.png", photos / "aa.png", photos / "b.jpg")
    assert first.error is None and last.error is None and first.predicted_class == first.classes[0]
    assert "aa.png is not an image" in str(unreadable.error) and unreadable.classes == unreadable.probabilities == ()
    for get in (lambda: unreadable.predicted_class, lambda: unreadable.probability):
        with pytest.raises(InputError, match=r"aa\.png is not an image"):
            get()


def test_a_single_error_is_raised_if_no_image_can_be_read(trained_run, photos):
    with pytest.raises(InputError, match=r"^--images: \S+/none\.png does not exist$"):
        chimeramix_jax.predict(trained_run, photos / "none.png")
    with pytest.raises(InputError, match=r"^--images: none of 7 images can be read: \S+/0 does not .*; and 2 more$"):
        chimeramix_jax.predict(trained_run, [photos / str(number) for number in range(7)])
    assert chimeramix_jax.predict(trained_run, []) == []


def test_a_table_is_printed_and_unreadable_images_are_named_with_exit_code_1(trained_run, photos, predict):
    (photos / "notes.png").write_text("no image")
    images = [f"--images={photos}/*.png,{photos}/b.jpg", f"--images={photos}/missing"]
    code, output, errors = predict(trained_run, *images)
    assert code == 1
    lines = output.splitlines()
    assert lines[0].split() == ["image", "class", "probability", "next"]
    assert [line.split()[0] for line in lines[2:]] == [f"{photos}/a.png", f"{photos}/b.jpg"]
    assert all(line.count("%") == 5 for line in lines[2:])
    assert errors.splitlines() == [
        f"chimeramix: --images: {photos}/notes.png is not an image that Pillow can read",
        f"chimeramix: --images: {photos}/missing does not exist",
        "chimeramix: 2 of 4 images could not be read",
    ]


def test_json_is_printed_and_csv_is_written_with_the_same_predictions(
    trained_run, photos, tmp_path, monkeypatch, predict
):
    monkeypatch.setenv("HOME", str(tmp_path))
    code, output, errors = predict(trained_run, f"--images={photos}", "--format=json")
    assert (code, errors) == (0, "")
    written = tmp_path / "out" / "predictions.csv"
    code, nothing, errors = predict(trained_run, f"--images={photos}", "--format=csv", "--output=~/out/predictions.csv")
    assert (code, nothing, errors) == (0, "", "")
    rows = list(csv.DictReader(io.StringIO(written.read_text())))
    for row, prediction in zip(rows, json.loads(output), strict=True):
        top = prediction["top"]
        assert row["image"] == prediction["image"]
        assert row["class_1"] == prediction["class"] == top[0]["class"]
        assert [row[f"class_{rank}"] for rank in range(1, 6)] == [guess["class"] for guess in top]
        assert float(row["probability_1"]) == prediction["probability"] >= top[1]["probability"] > 0
        assert sum(guess["probability"] for guess in top) <= 1 + 1e-6


def test_photos_below_the_threshold_are_none_of_these(trained_run, photos, predict):
    shares = {path.path: path.probabilities[0] for path in chimeramix_jax.predict(trained_run, photos)}
    low, high = sorted(shares, key=shares.get)
    between = f"--reject_below={(shares[low] + shares[high]) / 2:.6f}"
    code, output, errors = predict(trained_run, f"--images={photos}", "--format=csv", between)
    assert code == 0 and errors.count("\n") == 1
    assert errors.startswith("chimeramix: --reject_below: the run has no temperature, so its probabilities may be")
    rows = {row["image"]: row for row in csv.DictReader(io.StringIO(output))}
    assert list(rows[str(low)])[-1] == "answer" and float(rows[str(low)]["probability_1"]) == shares[low]
    assert rows[str(low)]["answer"] == "none of these" and rows[str(high)]["answer"] == rows[str(high)]["class_1"]
    rejected = chimeramix_jax.predict(trained_run, photos, reject_below=1.0)
    assert [(row.answered, row.answer) for row in rejected] == 2 * [(False, "none of these")]
    line = prediction_formats.table(rejected).splitlines()[-1]
    assert re.search(r"b\.jpg +none of these +- +\S+ \d+\.\d\d%, ", line) and line.count("%") == 5
    assert [row["answer"] for row in json.loads(prediction_formats.json_text(rejected))] == [None, None]
    assert all(row.answer == row.classes[0] for row in chimeramix_jax.predict(trained_run, photos, reject_below=0.0))
    for threshold in np.linspace(0, 1, 2):  # numbers of NumPy's own types
        (first, _) = chimeramix_jax.predict(trained_run, photos, reject_below=threshold)
        assert first.answer == ("none of these" if threshold else first.classes[0])
    for wrong in (-0.1, 60, float("nan")):
        with pytest.raises(InputError, match=r"reject_below: .*; it must be a number from 0 to 1"):
            chimeramix_jax.predict(trained_run, photos, reject_below=wrong)


def test_without_a_threshold_nothing_is_said_about_rejection(trained_run, photos):
    predictions = chimeramix_jax.predict(trained_run, photos)
    assert "answer" not in prediction_formats.csv_text(predictions) + prediction_formats.json_text(predictions)


def test_given_settings_must_equal_the_runs(trained_run, photos, predict):
    code, _, errors = predict(trained_run, f"--images={photos}", "--config=digits:baseline")
    assert code == 2 and errors.count("\n") == 1
    assert "other settings" in errors and "experiment: 'chimeramix_grid' stored, 'baseline' requested" in errors
    code, output, errors = predict(trained_run, f"--images={photos}", "--config.evaluation.batch_size=1")
    assert code == 0 and output.count("%") == 10, errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--images: --stage=predict needs it"),
        (["--images=*.nothing"], "--images: no file matches '*.nothing'"),
        (["--images=main.py"], "--images: main.py is not an image that Pillow can read"),
        (["--images=docs", "--format=png"], "--format: 'png' is not known; allowed: table, csv, json"),
        (["--images=docs/mixing.png", "--output=docs"], "--output=docs: is a folder; --stage=predict writes a file"),
        (["--images=docs/mixing.png", "--output=main.py/a.csv"], "main.py/a.csv: cannot be written because "),
        (
            ["--images=docs", "--reject_below=60"],
            "--reject_below: '60' is not allowed; it must be a number from 0 to 1",
        ),
        (["--images=docs", "--count=3"], "--count: --stage=predict does not take it; it is for generate"),
        (["--images=docs", "--config.seeds=0:2"], "seeds: '0:2', but --stage=predict uses one run"),
    ],
)
def test_unusable_arguments_are_refused_with_exit_code_2(trained_run, arguments, message, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    code = program.main(["--stage=predict", f"--workdir={trained_run}", *arguments])
    output, errors = capsys.readouterr()
    assert (code, output) == (2, "")
    assert message in errors.splitlines()[-1]


def test_a_directory_without_a_run_is_refused_with_exit_code_2(capsys):
    assert program.main(["--stage=predict", "--workdir=nowhere", "--images=docs"]) == 2
    assert "--workdir=nowhere: holds no run\n" in capsys.readouterr().err


def test_an_unfinished_classifier_is_refused(trained_run, photos, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    shutil.copy(trained_run / "config.json", workdir)
    with pytest.raises(InputError, match="holds no finished classifier; finish it with the command that began it"):
        chimeramix_jax.predict(workdir, photos)


def test_a_run_can_be_used_when_its_training_images_are_gone(trained_run, photos, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(trained_run, workdir)
    config = json.loads((workdir / "config.json").read_text())
    config["dataset"] |= {"name": "image_folder", "directory": "gone", "image_side": 8}
    (workdir / "config.json").write_text(json.dumps(config))
    again = chimeramix_jax.predict(workdir, photos)
    expected = chimeramix_jax.predict(trained_run, photos)
    assert [prediction.classes for prediction in again] == [prediction.classes for prediction in expected]


def test_rows_of_files_with_odd_names_can_be_told_apart_in_every_format(trained_run, photos):
    names = ["cr.png\r", "a\nb.png", "\x1b[31mred.png", "🐈.png", *map(os.fsdecode, (b"\xe8.png", b"\xe9.png"))]
    for name in names:
        shutil.copy(photos / "a.png", photos / name)
    shown = [f"{photos}/{name}" for name in (*names[:4], r"\xe8.png", r"\xe9.png")]
    predictions = chimeramix_jax.predict(trained_run, [photos / name for name in names], explain=photos.parent / "why")
    written = (photos.parent / "why" / "explanations.csv").read_bytes().decode()
    for text in (prediction_formats.csv_text(predictions), written):
        assert [row["image"] for row in csv.DictReader(io.StringIO(text, newline=""))] == shown
    assert [row["image"] for row in json.loads(prediction_formats.json_text(predictions))] == shown
    table = prediction_formats.table(predictions)
    assert len(table.splitlines()) == 8 and "\x1b" not in table and r"a\nb.png" in table and r"\xe9.png" in table


@pytest.mark.parametrize("output", ["o.xlsx", "O.TSV", "deep/o.jsonl", "photo.jpg"])
def test_the_ending_of_a_format_that_is_not_written_is_refused_unless_the_format_is_given(trained_run, output, capsys):
    arguments = ["--stage=predict", f"--workdir={trained_run}", "--images=none.png", f"--output={output}"]
    message = "is not written; allowed: .csv, .json, .txt for a table, or any ending with --format=table, csv, json"
    assert program.main(arguments) == 2 and message in capsys.readouterr().err
    assert program.main([*arguments, "--format=csv"]) == 2 and "none.png does not exist" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (None, "table"),
        ("a.csv", "csv"),
        ("A.CSV", "csv"),
        ("b.json", "json"),
        ("c.txt", "table"),
        ("csv", "table"),
        ("v1.2", "table"),
    ],
)
def test_a_files_extension_determines_the_format(output, expected):
    assert format_of(output) == expected
