"""Mirror images and shifted crops, measured for runs that are finished."""

import shutil

import numpy as np
import pytest
from PIL import Image

import chimeramix_jax
from benchmarks.averaged_predictions import VIEWS
from benchmarks.averaged_views import AVERAGED, NEWEST, Measured, finished, measured, table
from chimeramix_jax.errors import InputError
from tests.runs import stored_settings

EXPECTED = {"image": (1, False), "crops, mirror": (5, True)}  # the others are parts of the latter


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for split, count in (("train", 2), ("test", 4)):
        for number in range(10 * count):
            place = root / split / f"class {number % 10}" / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place)
    return root


@pytest.fixture(scope="module")
def settings(photo_settings, photos):
    """Returns the settings of a run whose images are mirrored and shifted."""

    def make(averaged_weights):
        seen = {"augment.horizontal_flip": True, "augment.crop_padding_fraction": 0.125}
        return photo_settings(photos, "baseline", **seen, **{"classifier.averaged_weights": averaged_weights})

    return make


@pytest.fixture(scope="module")
def averaging(settings, tmp_path_factory):
    """A finished run whose weights are averaged, for tests to copy."""
    run = tmp_path_factory.mktemp("averaging") / "run"
    chimeramix_jax.train_and_evaluate(settings(0.5), run)
    return run


def test_views_are_measured_as_evaluation_does_and_the_run_stays_as_it_is(settings, averaging, tmp_path):
    config, run = settings(0.5), shutil.copytree(averaging, tmp_path / "run")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    rows = list(measured(run, finished(run)))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert [row.weights for row in rows] == [AVERAGED, NEWEST]
    for name, (crops, mirror) in EXPECTED.items():
        config.evaluation.crops, config.evaluation.mirror = crops, mirror
        results = chimeramix_jax.train_and_evaluate(config, run, stage="evaluate")
        assert rows[0].accuracies[name] == pytest.approx(results["test"]["top1"])
    results = chimeramix_jax.train_and_evaluate(settings(0.0), tmp_path / "without")
    (newest,) = measured(tmp_path / "without", finished(tmp_path / "without"))
    assert newest.weights == NEWEST and newest.accuracies["image"] == pytest.approx(results["test"]["top1"])
    assert newest.accuracies == pytest.approx(rows[1].accuracies)


def test_an_unfinished_run_and_one_trained_without_mirror_images_are_refused(averaging, tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        finished(tmp_path)
    plain = shutil.copytree(averaging, tmp_path / "plain")
    stored_settings.change(plain, lambda config: config["augment"].update(horizontal_flip=False))
    with pytest.raises(InputError, match=r"evaluation\.mirror"):
        finished(plain)
    unfinished = shutil.copytree(averaging, tmp_path / "unfinished")
    shutil.rmtree(unfinished / "classifier")
    with pytest.raises(InputError, match="holds no finished classifier"):
        finished(unfinished)


def test_mean_differences_are_to_one_view_with_the_newest_weights(tmp_path):
    def row(run, weights, *accuracies):
        return Measured(tmp_path / run, "photos", weights, 100, dict(zip(VIEWS, accuracies, strict=True)))

    rows = [
        row("a", AVERAGED, 0.60, 0.61, 0.62, 0.63),
        row("a", NEWEST, 0.50, 0.51, 0.52, 0.53),
        row("b", AVERAGED, 0.62, 0.63, 0.64, 0.65),
        row("b", NEWEST, 0.50, 0.51, 0.52, 0.53),
    ]
    lines = table(rows).splitlines()
    assert lines[2].split()[-5:] == ["100", "60.0", "61.0", "62.0", "63.0"]
    assert lines[-2].startswith("photos: 2 differences to image") and "+11.00 (-1.71 to +23.71)" in lines[-2]
    assert lines[-1].split()[-4:] == ["+3.00", "(+3.00", "to", "+3.00)"]
    assert table(rows, "mirror").splitlines()[-1].split()[-4:] == ["+2.00", "(+2.00", "to", "+2.00)"]
