"""Runs with folds: small ones on a folder without test images, through Python and the command line."""

import contextlib
import csv
import io
import json
import re
import shutil
import signal
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from networks import logits_of
from photos import write_photos
from PIL import Image

import chimeramix_jax
from chimeramix_jax.command_line import main_command
from chimeramix_jax.config import default_workdir, from_json
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.findings import held_out_from
from chimeramix_jax.data.fitting import squared
from chimeramix_jax.data.image_files import read_rgb
from chimeramix_jax.data.image_paths import IgnoredFilesWarning
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.results import closing_text
from chimeramix_jax.runs.data_check import refuse_copies
from chimeramix_jax.runs.out_of_fold import config_of_fold
from chimeramix_jax.runs.request import Request
from chimeramix_jax.runs.run import load_dataset
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime.stopping import Stopped
from chimeramix_jax.summary.trials import find_runs
from chimeramix_jax.sweep.folder import check_folder, write_plan
from chimeramix_jax.sweep.selection import select
from chimeramix_jax.training.temperature import probabilities as scale
from chimeramix_jax.workflow import with_folds

PER_CLASS = 4  # of ``write_photos``


@pytest.fixture(scope="module")
def settings(photo_settings):
    def make(photos, experiment="baseline", **changes):
        return photo_settings(photos, experiment, **({"max_labels_per_class": None, "folds": 2} | changes))

    return make


@pytest.fixture(scope="module")
def finished(tmp_path_factory, settings):
    """A folder of photos without test/, and a finished run with two folds on it.

    Beside them is what was printed.
    """
    root = tmp_path_factory.mktemp("folds")
    write_photos(root / "photos")
    printed = io.StringIO()
    with contextlib.redirect_stderr(printed):
        returned = chimeramix_jax.train_and_evaluate(settings(root / "photos"), root / "run")
    (root / "printed").write_text(printed.getvalue())
    return root, returned


def results(workdir):
    return json.loads((workdir / "results.json").read_text())


def load_stored(workdir):
    return from_json((workdir / "config.json").read_text())


def identity(workdir, split):
    return Counter(json.loads((workdir / "data.json").read_text())[split]["images"])


def test_every_photo_is_predicted_by_a_model_that_has_not_seen_it_and_the_final_model_has_all(finished):
    run = finished[0] / "run"
    everything = identity(run, "train")
    folds = [run / "folds" / f"fold-{number}-of-2" for number in (1, 2)]
    assert len(everything) == sum(everything.values()) == 10 * PER_CLASS
    assert identity(folds[0], "held_out") + identity(folds[1], "held_out") == everything
    for fold in folds:
        assert not identity(fold, "train").keys() & identity(fold, "held_out").keys()
        assert identity(fold, "train").keys() | identity(fold, "held_out").keys() == everything.keys()
    assert not identity(run, "held_out")
    assert [load_stored(path).dataset.evaluate_on for path in (run, *folds)] == ["test", "validation", "validation"]


@pytest.mark.slow
def test_every_fold_and_the_final_model_have_a_generator_of_their_own(settings, tmp_path):
    write_photos(tmp_path / "photos")
    config = settings(tmp_path / "photos", "chimeramix_grid")
    for _ in range(2):  # also when generators of the other folds are already there
        chimeramix_jax.train_and_evaluate(config, tmp_path / "run", stage="generator")
        shutil.rmtree(tmp_path / "run" / "folds" / "fold-2-of-2", ignore_errors=True)
    for run in (tmp_path / "run", tmp_path / "run" / "folds" / "fold-1-of-2"):
        assert (run / "generator").exists() and not (run / "generator_from.json").exists()
    chimeramix_jax.train_and_evaluate(config, tmp_path / "run")
    assert results(tmp_path / "run")["folds"]["predictions"] == 10 * PER_CLASS
    assert not list((tmp_path / "run").rglob("generator_from.json"))
    other, first = tmp_path / "other", tmp_path / "run"  # a classifier on the generators of another run
    chimeramix_jax.train_and_evaluate(config, other, stage="classifier", generator_workdir=first)
    assert results(other)["folds"]["top1"] == results(first)["folds"]["top1"]
    assert len(list(other.rglob("generator_from.json"))) == 3


def test_each_fold_is_given_the_generator_of_the_same_fold(settings, tmp_path):
    first = tmp_path / "first"
    config = settings(tmp_path / "photos", "chimeramix_grid")
    request = Request(config, Workdir(tmp_path / "second"), "classifier", generator_workdir=first)
    assert with_folds._request_of_fold(request, 2, False).generator_workdir is None  # a run without folds
    (first / "folds" / "fold-2-of-2").mkdir(parents=True)
    assert with_folds._request_of_fold(request, 2, False).generator_workdir == first / "folds" / "fold-2-of-2"


def test_a_run_that_is_stopped_in_its_folds_is_a_run_for_everything_else(tmp_path, data_dir, monkeypatch):
    def stop(runs):
        runs[0].claim()
        raise Stopped(signal.SIGTERM)

    monkeypatch.setattr(with_folds, "_completed", stop)
    overrides = [f"--config.dataset.data_dir={data_dir}", "--config.folds=2"]
    (run,) = select(tmp_path / "sweep", "digits", "baseline", "5", "0", overrides)
    write_plan(tmp_path / "sweep", [run])
    for _ in range(2):
        with pytest.raises(Stopped):
            chimeramix_jax.train_and_evaluate(run.config, run.workdir)
        assert [found.path for found in find_runs(tmp_path / "sweep", print)] == [run.workdir]
        check_folder(tmp_path / "sweep", [run])
    assert Workdir(run.workdir).read_data() == load_few_shot(run.config.dataset, 5, 0, 2).identity


def test_the_results_are_those_of_all_predictions_and_said_to_be_the_expected_accuracy(finished):
    root, returned = finished
    found = results(root / "run")
    folds, parts = found["folds"], [results(root / "run" / "folds" / f"fold-{number}-of-2") for number in (1, 2)]
    assert "test" not in found and "validation" not in found
    assert folds["confusion"] == np.sum([part["validation"]["confusion"] for part in parts], axis=0).tolist()
    assert folds["top1"] == np.trace(folds["confusion"]) / (10 * PER_CLASS) == folds["expected_accuracy"]
    per_class = np.diagonal(folds["confusion"]) / np.sum(folds["confusion"], axis=1)
    assert folds["macro_accuracy"] == pytest.approx(np.mean(per_class))
    assert (folds["folds"], folds["repeats"], folds["examples"], folds["predictions"]) == (2, 1, 40, 40)
    assert folds["interval"][0] <= folds["top1"] <= folds["interval"][1]
    assert [fold["workdir"] for fold in folds["runs"]] == ["folds/fold-1-of-2", "folds/fold-2-of-2"]
    text = closing_text(returned)
    assert "measured on the 40 images in 2 folds, each predicted by a model trained without it" in text
    assert "the expected accuracy of the final model" in text
    assert returned["summary"][0]["top_1"] == folds["top1"]


def test_the_report_shows_the_folds(finished):
    page = " ".join(re.sub("<[^>]*>", " ", (finished[0] / "run" / "report.html").read_text()).split())
    expected = results(finished[0] / "run")["folds"]["top1"]
    assert f"{100 * expected:.0f} % is the expected accuracy of the final model" in page
    assert "40 out-of-fold images" in page and "folds/fold-2-of-2" in page


def test_every_photo_is_listed_once_beside_photos_that_its_model_was_trained_on(finished):
    run = finished[0] / "run"
    with open(run / "held_out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    left_out = {}
    for fold in (1, 2):
        with open(run / "folds" / f"fold-{fold}-of-2" / "held_out.csv", newline="") as file:
            left_out |= {row["image"]: (fold, row) for row in csv.DictReader(file)}
    assert len(rows) == len(left_out) == 10 * PER_CLASS
    losses = [float(row["loss"]) for row in rows]
    assert losses == sorted(losses, reverse=True)
    for row in rows:
        fold, of_fold = left_out[row["image"]]
        calibrated = {"probability", "probability_of_true_class"}
        assert {key: row[key] for key in row.keys() - calibrated} == {
            key: of_fold[key] for key in row.keys() - calibrated
        }
        nearest = [row[f"nearest_{place}"] for place in (1, 2, 3)]
        assert len(set(nearest)) == 3 and all(left_out[name][0] != fold for name in nearest)
        assert row["nearest_1_class"] == nearest[0].split("/")[0]
    wrong = [row["image"] for row in rows if row["true_class"] != row["predicted_class"]]
    assert np.trace(results(run)["folds"]["confusion"]) == len(rows) - len(wrong)
    page = (run / "report.html").read_text()
    shown = page.split('<section id="mistakes">')[1].split("</section>\n\n")[0]
    assert f"{len(wrong)} misclassified images" in shown and wrong[0] in shown
    assert "Each was predicted by a model trained without it" in shown
    assert '<a href="#folds">Folds</a>' in page and '<section id="folds">' in page


def probabilities_of(run, photos, temperature):
    """Returns the probabilities of photos at a temperature, from the restored network alone."""
    pixels = np.stack([np.asarray(squared(read_rgb(path), 8)) for path in photos])
    return scale(logits_of(chimeramix_jax.restore_classifier(run), pixels), temperature)


def test_the_folds_give_a_temperature_that_predictions_and_exports_have(finished, tmp_path):
    root, returned = finished
    run, calibration = root / "run", results(root / "run")["calibration"]
    assert calibration["fitted_on"] == calibration["measured_on"] == "folds" and calibration["cross_fitted"]
    assert calibration["fitted_images"] == calibration["images"] == 40
    temperature = calibration["temperature"]
    assert temperature > 1.5  # the photos are noise, so no certainty is justified
    assert calibration["after"]["confidence"] < calibration["before"]["confidence"]
    assert calibration["after"]["accuracy"] == results(run)["folds"]["top1"]  # dividing the logits changes no class
    assert f"probabilities: temperature {temperature:.2f}, from 40 out-of-fold images" in closing_text(returned)
    page = " ".join(re.sub("<[^>]*>", " ", (run / "report.html").read_text()).split())
    assert f"a temperature of {temperature:.2f}, which was fitted on 40 out-of-fold images" in page
    assert not any("calibration" in results(run / "folds" / f"fold-{fold}-of-2") for fold in (1, 2))

    photos = sorted((root / "photos" / "class 3").iterdir())
    expected = probabilities_of(run, photos, temperature)
    model = tmp_path / "model.zip"
    chimeramix_jax.export(run, model)
    for source in (run, model):
        for prediction, row in zip(chimeramix_jax.predict(source, photos), expected, strict=True):
            np.testing.assert_allclose(prediction.probabilities, np.sort(row)[::-1], rtol=1e-3)
    exported = chimeramix_jax.export(run, tmp_path / "model.onnx")
    assert exported.agreement.kind == "training"
    session = onnxruntime.InferenceSession(exported.path)
    assert float(session.get_modelmeta().custom_metadata_map["temperature"]) == temperature
    images = np.stack([np.asarray(Image.open(path)) for path in photos])
    np.testing.assert_allclose(session.run(None, {"images": images})[0], expected, atol=1e-4)


def test_the_list_of_photos_has_the_probabilities_that_the_temperature_gives(finished):
    run = finished[0] / "run"
    with open(run / "held_out.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    by_fold = {}
    for fold in (1, 2):
        with open(run / "folds" / f"fold-{fold}-of-2" / "held_out.csv", newline="") as file:
            by_fold |= {row["image"]: float(row["probability"]) for row in csv.DictReader(file)}
    assert all(float(row["probability"]) < by_fold[row["image"]] for row in rows)


def test_the_data_are_described_once_for_all_folds(finished):
    root, _ = finished
    lines = [line for line in (root / "printed").read_text().splitlines() if line.startswith("data: ")]
    assert lines[0] == "data: 10 classes, 40 training images"
    assert "data: no test images: accuracy is measured by cross-validation on the training images" in lines
    assert sum("exact duplicates" in line for line in lines) == 1
    found = json.loads((root / "run" / "check.json").read_text())
    assert found["images"] == {"train": 40, "held_out": 0, "unused": 0}
    of_fold = json.loads((root / "run" / "folds" / "fold-1-of-2" / "check.json").read_text())
    assert of_fold["exact_duplicates"] == [] and of_fold["held_out_from"] == "train"
    assert of_fold["images"]["train"] + of_fold["images"]["held_out"] == 40
    assert results(root / "run")["held_out_from"] == "folds"
    checked = chimeramix_jax.check_data(load_stored(root / "run"), root / "run")  # as --stage=check
    assert checked["images"] == found["images"] and checked["held_out_from"] == "folds"


def test_a_model_file_of_a_run_without_test_images_has_no_report(finished, tmp_path):
    run = finished[0] / "run"
    chimeramix_jax.export(run, tmp_path / "model.zip")
    with pytest.raises(InputError, match=r"model.zip: the run had no test images"):
        chimeramix_jax.train_and_evaluate(load_stored(run), tmp_path / "model.zip", stage="report")


def test_copies_are_in_one_fold_and_own_validation_images_in_none(settings, tmp_path):
    photos = tmp_path / "photos"
    for split, first in (("train", 0), ("val", 20), ("test", 30)):
        write_photos(photos, split, first=first)
    shutil.copy(photos / "train" / "class 3" / "0.png", photos / "train" / "class 3" / "same.png")
    config = settings(photos)
    with pytest.warns(IgnoredFilesWarning, match="val is used only with"):
        final = load_few_shot(config.dataset, None, 0, 2)
    assert len(final.train.labels) == 41 and len(final.held_out.labels) == 40 and final.own_validation
    files = []
    for fold in (1, 2):
        own = config_of_fold(config, fold)
        dataset = load_dataset(own)
        refuse_copies(own, dataset)
        assert dataset.directory == photos and held_out_from(dataset, "validation") == "train"
        assert {original.file for original in dataset.originals.held_out} == {*dataset.held_out.names}
        distinct = [dataset.train.names[position] for position in dataset.distinct_training]
        assert [original.file for original in dataset.originals.train] == distinct
        assert len({*distinct}) == len(distinct) and {*distinct} == {*final.train.names} - {*dataset.held_out.names}
        files += dataset.held_out.names
    assert sorted(files) == sorted(final.train.names) and all(name.startswith("train/") for name in files)


def test_a_fold_is_an_ordinary_run_and_the_final_model_predicts(finished):
    root, _ = finished
    fold = root / "run" / "folds" / "fold-1-of-2"
    again = chimeramix_jax.train_and_evaluate(load_stored(fold), fold, stage="evaluate")
    assert again["validation"]["examples"] == results(fold)["validation"]["examples"]
    assert "the fold that was left out of training" in closing_text(again)
    for run in (fold, root / "run"):
        assert len(chimeramix_jax.predict(run, root / "photos" / "class 3")) == PER_CLASS


def test_a_model_file_knows_the_photos_of_the_final_model_or_those_of_a_fold_as_its_run_does(finished, tmp_path):
    photos, run = finished[0] / "photos", finished[0] / "run"
    new = np.zeros((30, 20, 3), np.uint8)
    for workdir, known in ((run, 10 * PER_CLASS), (run / "folds" / "fold-1-of-2", 10 * PER_CLASS // 2)):
        model = chimeramix_jax.export(workdir, tmp_path / f"{workdir.name}.zip").path
        of_run, of_file = (
            [prediction.trained_on for prediction in chimeramix_jax.predict(source, [photos, new])]
            for source in (workdir, model)
        )
        assert of_run == of_file and of_run.count(True) == known and of_run[-1] is False


def test_the_finished_command_trains_nothing_and_other_folds_are_refused(finished, settings, capsys):
    root, _ = finished
    chimeramix_jax.train_and_evaluate(settings(root / "photos"), root / "run")
    assert "steps" not in capsys.readouterr().err
    with pytest.raises(InputError, match="folds: 2 stored, 3 requested"):
        chimeramix_jax.train_and_evaluate(settings(root / "photos", folds=3), root / "run")


def test_a_fold_that_was_lost_is_trained_again_to_the_same_results(finished, settings, tmp_path):
    copy = Path(shutil.copytree(finished[0], tmp_path / "copy"))
    before, lost = results(copy / "run"), copy / "run" / "folds" / "fold-2-of-2"
    shutil.rmtree(lost)
    config = settings(copy / "photos")
    with pytest.raises(InputError, match=rf"holds no finished classifier; .*, or with --workdir={copy / 'run'} alone$"):
        chimeramix_jax.train_and_evaluate(config, copy / "run", stage="evaluate")
    assert not lost.exists()
    chimeramix_jax.train_and_evaluate(config, copy / "run")
    assert results(copy / "run")["folds"] == before["folds"]


@pytest.mark.parametrize("where", ["of the folds' own", "of test/"])
def test_the_test_images_are_only_used_by_the_final_model(settings, tmp_path, where):
    write_photos(tmp_path / "photos", "train" if where == "of test/" else "")
    if where == "of test/":
        write_photos(tmp_path / "photos", "test", first=50, per_class=1)
    config = settings(tmp_path / "photos", "baseline", folds=2, fold_repeats=2)
    final = load_few_shot(config.dataset, None, 0, 2)
    assert len(final.train.labels) == 40 and len(final.held_out.labels) == (10 if where == "of test/" else 0)
    test = set(final.identity.held_out.images)
    seen = []
    for fold in (1, 2, 3, 4):
        dataset = load_few_shot(config.dataset, None, 0, 2, fold)
        assert not test & {*dataset.identity.train.images, *dataset.identity.held_out.images}
        seen += dataset.identity.held_out.images
    assert Counter(seen) == dict.fromkeys(final.identity.train.images, 2)
    assert set(seen[:20]) != set(seen[40:60])  # the second division is another one


def test_folds_repeated_beside_test_images_are_counted_per_image(settings, tmp_path):
    write_photos(tmp_path / "photos", "train")
    write_photos(tmp_path / "photos", "test", first=50, per_class=1)
    config = settings(tmp_path / "photos", "baseline", folds=2, fold_repeats=2, **{"classifier.epochs": 1})
    returned = chimeramix_jax.train_and_evaluate(config, tmp_path / "run")
    assert returned["test"]["examples"] == 10 == returned["summary"][0]["examples"]
    folds = returned["folds"]
    assert (folds["examples"], folds["predictions"], np.sum(folds["confusion"])) == (40, 80, 80)
    assert folds["top1"] == np.trace(folds["confusion"]) / 80
    names = sorted(path.name for path in (tmp_path / "run" / "folds").iterdir())
    assert names == ["fold-1-of-2", "fold-1-of-2-again-1", "fold-2-of-2", "fold-2-of-2-again-1"]
    text = closing_text(returned)
    assert "measured on 10 test images" in text
    assert "expected from the 40 images in 2 folds, divided 2 times, each predicted by a model trained without" in text


@pytest.mark.parametrize(
    ("experiment", "per_class", "folds", "expected"),
    [
        ("baseline", 3, 5, "folds: 5, but class 'class 0' has only 3 different training images"),
        ("baseline", 1, 2, "without a test folder each class needs two"),
        ("chimeramix_grid", 3, 2, "the number of training images of class 'class 0' without fold 1 is 1"),
    ],
)
def test_folds_that_the_photos_do_not_allow_are_refused_before_anything_is_written(
    settings, tmp_path, experiment, per_class, folds, expected
):
    write_photos(tmp_path / "photos", per_class=per_class)
    with pytest.raises(InputError) as caught:
        chimeramix_jax.train_and_evaluate(
            settings(tmp_path / "photos", experiment, folds=folds), tmp_path / "run", stage="all"
        )
    assert expected in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--folds=1"], "--folds: '1' is not allowed; it must be a whole number from 2"),
        (["--fold_repeats=2"], "fold_repeats: 2, but folds is 0"),
        (["--folds=2", "--config.seeds=0,1"], "seeds: '0,1', but folds are trained for one seed"),
        (["--folds=2", "--config.fold=3"], "fold: 3, but there are 2 folds"),
        (["--folds=2", "--config.fold=1"], "a model without fold 1 is measured on that fold"),
        (["--folds=2", "--stage=predict"], "--folds: --stage=predict does not take it"),
    ],
)
def test_flags_of_folds_that_do_not_fit_are_refused(arguments, expected):
    with pytest.raises(InputError, match=re.escape(expected)):
        main_command.parse_arguments([*arguments, "--config=digits"])


def test_the_flags_set_the_settings_and_name_the_directory():
    config = main_command.parse_arguments(["--folds=5", "--fold_repeats=3", "--config=digits"]).config
    assert (config.folds, config.fold_repeats) == (5, 3)
    assert default_workdir(config) == "runs/digits-chimeramix_grid-5-per-class-seed-0-5-folds-3-times"
