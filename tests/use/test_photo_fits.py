"""Runs on photos that are not square, for each ``dataset.fit``: evaluation, prediction, explanations and exports."""

import csv
import json
import shutil

import numpy as np
import onnx
import pytest
from conftest import TINY
from PIL import Image

import chimeramix_jax
from chimeramix_jax.command_line import program
from chimeramix_jax.config import from_json, load
from chimeramix_jax.config.rules import FITS
from chimeramix_jax.data.fitting import squared
from chimeramix_jax.errors import InputError
from chimeramix_jax.use.export import checking, onnx_file, stablehlo_file

TRAINING, TESTING = 2, 1  # photos per class


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos of ten classes, as many as the digits have, so that no other classifier must be compiled."""
    root, random = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, count in (("train", TRAINING), ("test", TESTING)):
        for label in range(10):
            folder = root / split / f"class {label}"
            folder.mkdir(parents=True)
            for number in range(count):
                width, height = ((60, 24), (25, 50), (40, 40))[(label + number) % 3]
                blocks = Image.fromarray(random.integers(0, 256, (5, 5, 3), np.uint8))
                blocks.resize((width, height), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return root


@pytest.fixture(scope="module", params=FITS)
def run(request, photos, data_dir, tmp_path_factory):
    """The directory of a finished run for each fit; its last folder is called like the fit."""
    config, workdir = load("digits:baseline"), tmp_path_factory.mktemp("runs") / request.param
    data = {"name": "image_folder", "directory": str(photos), "data_dir": str(data_dir), "image_side": 8}
    values = {f"dataset.{key}": value for key, value in (data | {"fit": request.param}).items()}
    config.update_from_flattened_dict(TINY | values)
    config.lock()
    chimeramix_jax.train_and_evaluate(config, workdir)
    return workdir


def held_out_rows(run):
    with open(run / "held_out.csv", newline="", encoding="utf-8") as table:
        return list(csv.DictReader(table))


def by_class(prediction):
    assert prediction.error is None, prediction.error
    return [share for _, share in sorted(zip(prediction.classes, prediction.probabilities, strict=True))]


def test_predictions_of_files_images_and_arrays_are_those_of_the_evaluation(run, photos):
    evaluated = held_out_rows(run)
    assert len(evaluated) == 10 * TESTING
    paths = [photos / row["image"] for row in evaluated]
    images = [Image.open(path) for path in paths]
    predictor = chimeramix_jax.Predictor(run)
    forms = [predictor.predict(form) for form in (paths, images, [np.asarray(image) for image in images])]
    for form in forms:
        for row, prediction in zip(evaluated, form, strict=True):
            shares = dict(zip(prediction.classes, prediction.probabilities, strict=True))
            assert shares[row["predicted_class"]] == pytest.approx(float(row["probability"]), abs=1e-5)
            assert shares[row["true_class"]] == pytest.approx(float(row["probability_of_true_class"]), abs=1e-5)
    for image in images:
        image.close()


def test_the_network_sees_the_photo_as_fitted_and_nothing_else(run, photos):
    """A photo gives the probabilities of its own square, and of no other fit's."""
    predictor = chimeramix_jax.Predictor(run)
    with Image.open(photos / "train/class 0/0.png") as file:
        photo = file.convert("RGB")
    assert photo.size == (60, 24)
    (of_photo, *of_squares) = map(by_class, predictor.predict([photo, *(squared(photo, 8, fit) for fit in FITS)]))
    for fit, of_square in zip(FITS, of_squares, strict=True):
        assert (of_photo == pytest.approx(of_square, abs=1e-5)) == (fit == run.name)


def photos_of_noise(height, width):
    return np.random.default_rng([height, width]).integers(0, 256, (2, height, width, 3), np.uint8)


def test_onnx_and_model_files_give_the_predictions_of_the_run(run, tmp_path):
    exported = chimeramix_jax.export(run, tmp_path / "photos.onnx")
    assert exported.agreement.difference < 1e-4
    about = {entry.key: entry.value for entry in onnx.load(exported.path).metadata_props}
    assert about["fit"] == run.name and json.loads(about["config"])["dataset"]["fit"] == run.name
    classify, model = onnx_file.runner(exported.path.read_bytes()), tmp_path / "photos.zip"
    chimeramix_jax.export(run, model)
    for height, width in ((20, 71), (90, 31)):
        images = photos_of_noise(height, width)
        expected, of_model = ([by_class(image) for image in chimeramix_jax.predict(it, images)] for it in (run, model))
        np.testing.assert_allclose(of_model, expected, atol=1e-6)
        # Pillow 13 resizes tall photos that are cropped in another order than exported files: see squaring.py.
        tolerance = 0.01 if run.name == "crop" and height > width else 1e-4
        np.testing.assert_allclose(classify(images), expected, atol=tolerance)


@pytest.mark.parametrize("run", ["pad", "stretch"], indirect=True)  # others are in test_export.py
def test_stablehlo_files_give_the_predictions_of_the_run(run, tmp_path, monkeypatch):
    monkeypatch.setattr(checking, "_PHOTO_SHAPES", checking._PHOTO_SHAPES[:1])  # JAX compiles for each of them
    exported = chimeramix_jax.export(run, tmp_path / "photos.stablehlo")
    assert exported.agreement.difference < 1e-4
    images = photos_of_noise(90, 31)
    expected = [by_class(prediction) for prediction in chimeramix_jax.predict(run, images)]
    np.testing.assert_allclose(stablehlo_file.runner(exported.path.read_bytes())(images), expected, atol=1e-4)


def test_an_explanation_shows_the_central_square_or_the_whole_photo(run, photos, tmp_path):
    chimeramix_jax.predict(run, photos / "train/class 0/0.png", explain=tmp_path / "why")
    with Image.open(tmp_path / "why/0.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    with Image.open(photos / "train/class 0/0.png") as photo:
        original = np.asarray(photo.convert("RGB"))
    shown = original[:, 18:42] if run.name == "crop" else original
    factor = {"crop": 13, "pad": 5, "stretch": 5}[run.name]  # 320 / 24 and 320 / 60, rounded
    height, width = shown.shape[0] * factor, shown.shape[1] * factor
    np.testing.assert_array_equal(pixels[:height:factor, :width:factor], shown)


def test_the_report_and_the_model_card_say_what_is_seen(run):
    words = {"crop": "Its largest central square", "pad": "with grey beside it", "stretch": "whatever its proportions"}
    card = (run / "model_card.md").read_text()
    assert [fit for fit, said in words.items() if said in card] == [run.name]
    assert ("(the whole photo" in (run / "report.html").read_text()) == (run.name != "crop")


def test_a_run_is_refused_with_another_fit_in_one_line(run, photos, capsys, tmp_path):
    other = "pad" if run.name == "crop" else "crop"
    message = f"dataset.fit: '{run.name}' stored, '{other}' requested"
    exported = chimeramix_jax.export(run, tmp_path / "photos.zip").path
    for stage, workdir in (("evaluate", run), ("predict", run), ("predict", exported)):
        images = [f"--images={photos / 'test'}"] if stage == "predict" else []
        code = program.main([f"--stage={stage}", f"--workdir={workdir}", *images, f"--config.dataset.fit={other}"])
        output, errors = capsys.readouterr()
        assert (code, output, errors.count("\n")) == (2, "", 1) and message in errors
    config = from_json((run / "config.json").read_text())
    config.dataset.fit = other
    with pytest.raises(InputError, match=message):
        chimeramix_jax.train_and_evaluate(config, run)


@pytest.mark.parametrize("fit", ["auto", "Crop", "1"])
def test_an_unknown_fit_is_refused_in_one_line(photos, fit, capsys, tmp_path):
    arguments = ["--config=image_folder", f"--config.dataset.directory={photos}", f"--workdir={tmp_path / 'run'}"]
    assert program.main([*arguments, f"--config.dataset.fit={fit}"]) == 2
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert f"dataset.fit: '{fit}' is not allowed; it must be one of crop, pad, stretch" in errors
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("run", ["crop"], indirect=True)
def test_a_run_from_before_the_setting_is_one_of_cropped_photos(run, photos, tmp_path):
    old = shutil.copytree(run, tmp_path / "old")
    stored = json.loads((old / "config.json").read_text())
    del stored["dataset"]["fit"]
    (old / "config.json").write_text(json.dumps(stored))
    (old / "report.html").unlink()
    images = sorted((photos / "test").rglob("*.png"))
    expected, actual = (list(map(by_class, chimeramix_jax.predict(workdir, images))) for workdir in (run, old))
    assert actual == expected
    config = from_json((run / "config.json").read_text())
    chimeramix_jax.train_and_evaluate(config, old, stage="evaluate")
    assert held_out_rows(old) == held_out_rows(run) and (old / "report.html").exists()
    config.dataset.fit = "pad"
    with pytest.raises(InputError, match=r"dataset\.fit: 'crop' stored, 'pad' requested"):
        chimeramix_jax.train_and_evaluate(config, old)
