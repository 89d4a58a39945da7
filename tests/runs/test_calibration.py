"""Which images a temperature is fitted on, and what the results say about it; no networks are trained."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from chimeramix_jax.config import load
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.image_paths import IgnoredFilesWarning
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.calibration_text import closing_line
from chimeramix_jax.runs.calibration import (
    MissingResultsWarning,
    Predicted,
    calibrated_results,
    calibration_of,
    temperature_of,
)
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.temperature import fitted_temperature, probabilities

SCALE = 3.0  # by which the logits are too large


def predicted(source, count, seed=0, repeats=1, scale=SCALE):
    random = np.random.default_rng(seed)
    logits = (1.5 * random.standard_normal((count, 4))).astype(np.float32)
    labels = np.array([random.choice(4, p=row) for row in probabilities(logits)])
    images = tuple(f"{source} {seed} {number:04}" for number in range(count))
    return Predicted(source, np.tile(scale * logits, (repeats, 1)), np.tile(labels, repeats), repeats * images)


def test_a_temperature_of_the_folds_is_measured_on_the_test_images():
    test, folds = predicted("test", 3000), predicted("folds", 2000, seed=1)
    found = calibrated_results(test, folds)
    assert found["temperature"] == fitted_temperature(folds.logits, folds.labels) == pytest.approx(SCALE, rel=0.1)
    assert (found["measured_on"], found["fitted_on"], found["cross_fitted"]) == ("test", "folds", False)
    assert (found["images"], found["fitted_images"]) == (3000, 2000)
    assert found["before"]["error"] > 0.2 > 0.05 > found["after"]["error"]
    assert found["before"]["accuracy"] == found["after"]["accuracy"] == np.mean(test.logits.argmax(1) == test.labels)
    assert [row["answered"] for row in found["rejection"]] == sorted(
        (row["answered"] for row in found["rejection"]), reverse=True
    )
    line = closing_line(found)
    assert line.startswith(f"probabilities: temperature {found['temperature']:.2f}, from 2000 out-of-fold images; ")
    assert f"{100 * found['before']['error']:.1f}%" in line and f"{100 * found['after']['error']:.1f}%" in line


def test_a_temperature_is_never_measured_on_an_image_that_it_was_fitted_on():
    folds = predicted("folds", 40, repeats=2)
    measured = folds.at(np.arange(40))
    found = calibrated_results(measured, folds)
    assert found["cross_fitted"] and found["fitted_images"] == found["images"] == 40
    groups = np.arange(40) % 5
    expected = np.empty(40)
    for group in range(5):
        others = np.tile(groups != group, 2)
        temperature = fitted_temperature(folds.logits[others], folds.labels[others])
        rows = groups == group
        expected[rows] = probabilities(measured.logits[rows], temperature).max(axis=1)
    assert found["after"]["confidence"] == pytest.approx(expected.mean())
    in_sample = probabilities(measured.logits, found["temperature"]).max(axis=1)
    assert abs(in_sample.mean() - expected.mean()) > 1e-5


@pytest.mark.parametrize(
    ("fitting", "own", "reason"),
    [
        (None, True, "train with --folds=5, or add validation images (val/ beside train/)."),
        (None, False, "train with --folds=5."),
        (predicted("folds", 19, repeats=3), True, "only 19 different out-of-fold images; it takes at least 20."),
        (predicted("validation", 50, scale=np.float32(np.inf)), True, "for the images to fit it on are not finite."),
    ],
)
def test_without_suitable_images_there_is_a_reason_and_no_temperature(fitting, own, reason):
    found = calibrated_results(predicted("test", 500), fitting, has_own_images=own)
    assert found["temperature"] is None and "after" not in found
    assert found["explanation"].startswith("No temperature was fitted, because ")
    assert found["explanation"].endswith(reason)
    assert found["before"]["error"] > 0.2 and found["rejection"][0]["answered"] == 500
    assert "no temperature was fitted, because" in closing_line(found)


def test_a_classifier_that_has_diverged_is_not_measured():
    found = calibrated_results(predicted("test", 30, scale=np.float32(np.nan)), predicted("folds", 30))
    assert found["temperature"] is None and "before" not in found and "not finite" in found["explanation"]
    assert closing_line(found).endswith("the classifier's outputs are not finite")


@pytest.fixture
def photos(data_dir, tmp_path):
    """The settings of a run on photos with val/, two of which are copies of training photos."""
    for split, first in (("train", 0), ("val", 1), ("test", 60)):
        for label in range(2):
            for number in range(first, first + (15 if split == "val" else 2)):
                path = tmp_path / "photos" / split / f"class {label}" / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng(100 * label + number).integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(path)
    config = load("image_folder:baseline")
    about = {"directory": str(tmp_path / "photos"), "data_dir": str(data_dir), "image_side": 8, "duplicates": "report"}
    config.update_from_flattened_dict({f"dataset.{key}": value for key, value in about.items()})
    config.classifier.image_side = 8
    return config


def calibrated(config, dataset):
    asked = []

    def logits_of(images):
        asked.append(images)
        return np.random.default_rng(0).standard_normal((len(images), 2)).astype(np.float32)

    logits = logits_of(dataset.held_out.images)
    return calibration_of(config, dataset, logits, None, "classifier", logits_of), asked[1:]


def test_own_validation_images_give_the_temperature_without_copies_of_other_images(photos):
    with pytest.warns(IgnoredFilesWarning, match="or to calibrate probabilities; this run evaluates on test"):
        dataset = load_few_shot(photos.dataset, None, 0)
    found, (images,) = calibrated(photos, dataset)
    assert images.shape == (28, 8, 8, 3)  # number 1 is also a training photo, in both classes
    assert (found["fitted_on"], found["fitted_images"], found["measured_on"]) == ("validation", 28, "test")
    assert found["images"] == 4 and not found["cross_fitted"] and found["temperature"] > 0


@pytest.mark.filterwarnings("ignore:dataset.directory")
def test_own_validation_images_that_nearly_equal_other_images_give_no_temperature(photos, tmp_path):
    for part, number in (("train", 1), ("test", 60)):
        for label in range(2):
            image = Image.open(tmp_path / "photos" / part / f"class {label}" / f"{number}.png")
            edited = np.asarray(image) // 4 * 4 + 1
            Image.fromarray(edited).save(tmp_path / "photos" / "val" / f"class {label}" / f"{number % 50}.png")
    found, (images,) = calibrated(photos, load_few_shot(photos.dataset, None, 0))
    assert len(images) == found["fitted_images"] == 26  # of 30, four of which are edited copies


@pytest.mark.filterwarnings("ignore:dataset.directory")
def test_validation_images_that_are_all_copies_are_said_to_be(photos, tmp_path):
    shutil.rmtree(tmp_path / "photos" / "val")
    shutil.copytree(tmp_path / "photos" / "test", tmp_path / "photos" / "val")
    found, others = calibrated(photos, load_few_shot(photos.dataset, None, 0))
    assert found["temperature"] is None and not others
    reason = "only 0 different validation images that are neither copies nor near duplicates of training or test images"
    assert f"{reason} (4 are); it takes at least 20." in found["explanation"]


def test_validation_images_that_a_run_is_measured_on_give_the_temperature_by_cross_fitting(photos):
    photos.dataset.evaluate_on = "validation"
    found, others = calibrated(photos, load_few_shot(photos.dataset, None, 0))
    assert found["cross_fitted"] and found["fitted_images"] == found["images"] == 30 and not others


def test_test_images_give_no_temperature(photos, tmp_path):
    (tmp_path / "photos" / "val").rename(tmp_path / "elsewhere")
    found, others = calibrated(photos, load_few_shot(photos.dataset, None, 0))
    assert found["temperature"] is None and not others


def test_the_temperature_of_a_run_is_read_and_checked(tmp_path):
    workdir = Workdir(tmp_path)
    with pytest.warns(MissingResultsWarning, match=r"holds no results.json.*--stage=evaluate --workdir="):
        assert temperature_of(workdir) == 1
    for stored, expected in (
        ({}, 1),
        ({"calibration": {"temperature": None}}, 1),
        ({"calibration": {"temperature": 2}}, 2),
    ):
        workdir.results.write_text(json.dumps(stored))
        assert temperature_of(workdir) == expected
    for wrong in (0, -1, "hot", True, [1]):
        workdir.results.write_text(json.dumps({"calibration": {"temperature": wrong}}))
        with pytest.raises(InputError, match=r"results.json: has the temperature .*--stage=evaluate"):
            temperature_of(workdir)
