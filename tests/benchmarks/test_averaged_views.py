"""Mirror images and shifted crops, measured for runs that are finished."""

import shutil

import numpy as np
import pytest
from PIL import Image

import chimeramix_jax
from benchmarks.averaged_predictions import VIEWS
from benchmarks.averaged_views import AVERAGED, NEWEST, Measured, finished, measured, table
from chimeramix_jax.errors import InputError

EXPECTED = {"image": (1, False), "crops, mirror": (5, True)}  # the others are parts of the latter


@pytest.fixture
def config(photo_settings, tmp_path):
    generator = np.random.default_rng(0)
    for split, count in (("train", 2), ("test", 4)):
        for number in range(10 * count):
            place = tmp_path / "photos" / split / f"class {number % 10}" / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place)
    seen = {"augment.horizontal_flip": True, "augment.crop_padding_fraction": 0.125}
    return photo_settings(tmp_path / "photos", "baseline", **seen)


@pytest.mark.parametrize("average", [0.0, 0.5])
def test_views_are_measured_as_evaluation_does_and_the_run_stays_as_it_is(config, tmp_path, average):
    config.classifier.averaged_weights = average
    run = tmp_path / "run"
    chimeramix_jax.train_and_evaluate(config, run)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    rows = list(measured(run, finished(run)))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert [row.weights for row in rows] == ([AVERAGED, NEWEST] if average else [NEWEST])
    for name, (crops, mirror) in EXPECTED.items():
        config.evaluation.crops, config.evaluation.mirror = crops, mirror
        results = chimeramix_jax.train_and_evaluate(config, run, stage="evaluate")
        assert rows[0].accuracies[name] == pytest.approx(results["test"]["top1"])
    if average:
        config.classifier.averaged_weights, config.evaluation.crops, config.evaluation.mirror = 0.0, 1, False
        without = chimeramix_jax.train_and_evaluate(config, tmp_path / "without")
        assert rows[1].accuracies["image"] == pytest.approx(without["test"]["top1"])


def test_an_unfinished_run_and_one_trained_without_mirror_images_are_refused(config, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        finished(tmp_path)
    config.augment.horizontal_flip = False
    chimeramix_jax.train_and_evaluate(config, tmp_path / "run")
    with pytest.raises(InputError, match=r"evaluation\.mirror"):
        finished(tmp_path / "run")
    config.augment.horizontal_flip, config.seed = True, 1
    chimeramix_jax.train_and_evaluate(config, tmp_path / "other")
    shutil.rmtree(tmp_path / "other" / "classifier")
    with pytest.raises(InputError, match="holds no finished classifier"):
        finished(tmp_path / "other")


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
