import argparse

import numpy as np
import pytest
from flax import nnx
from PIL import Image
from scipy import stats

from benchmarks import unknown_classes
from benchmarks.unknown_classes import auroc, scores_of, unknown_accepted
from chimeramix_jax.config import load
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.training.networks import build_classifier
from chimeramix_jax.training.prediction import CompiledClassifier


def test_the_area_is_that_of_the_rank_sum_test():
    random = np.random.default_rng(0)
    known, unknown = random.integers(2, 9, 50) / 10, random.integers(0, 7, 70) / 10  # with ties
    expected = stats.mannwhitneyu(known, unknown).statistic / (50 * 70)
    assert auroc(known, unknown) == pytest.approx(expected) and auroc(known, known) == 0.5
    assert (auroc(known + 1, unknown), auroc(unknown, known + 1)) == (1, 0)


def test_the_threshold_accepts_95_percent_of_the_known():
    known, unknown = np.arange(100) / 100, np.array([0.049, 0.05, 0.2])
    assert unknown_accepted(known, unknown) == pytest.approx(2 / 3)
    assert unknown_accepted(np.zeros(5), np.array([-1.0, 0.0])) == 0.5


def test_scores_are_higher_for_certain_photos():
    scores = scores_of(np.array([[0.0, 0.0], [4.0, 0.0]], np.float32), 2.0)
    assert all(low < high for low, high in scores.values())
    assert scores["probability"][1] == pytest.approx(1 / (1 + np.exp(-2)))
    assert scores["energy"][1] == pytest.approx(2 * np.log(np.exp(2) + 1))
    assert scores["energy, no temperature"][0] == pytest.approx(np.log(2))


def test_the_default_experiment_is_that_of_a_folder_of_photos(tmp_path, monkeypatch):
    def measure(arguments, seed):
        raise LookupError(arguments.experiment)

    monkeypatch.setattr(unknown_classes, "_measure", measure)
    monkeypatch.setattr(unknown_classes.cpu_setup, "prepare", lambda: None)
    monkeypatch.setattr("sys.argv", ["unknown_classes", f"--images={tmp_path}"])
    with pytest.raises(LookupError, match=f"^{load('image_folder').experiment}$"):
        unknown_classes.main()


def test_photos_are_seen_in_the_views_that_the_temperature_was_fitted_for(tmp_path, monkeypatch):
    config = load("image_folder")
    config.update_from_flattened_dict(
        {"classifier.model": "wrn-10-1", "classifier.image_side": 8, "dataset.image_side": 32}
    )
    network = build_classifier(config, 2, nnx.Rngs(0)).eval()
    monkeypatch.setattr("chimeramix_jax.runs.restore.restore_classifier", lambda run: network)
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    logits = unknown_classes._logits(tmp_path / "run", config, [tmp_path / "photo.png"])
    assert config.evaluation.crops == 5 and config.evaluation.mirror
    seen = resize(pixels[None], 8)
    np.testing.assert_allclose(logits, CompiledClassifier(network, config).logits(seen), rtol=1e-4)
    config.update_from_flattened_dict({"evaluation.crops": 1, "evaluation.mirror": False})
    assert not np.allclose(logits, CompiledClassifier(network, config).logits(seen), rtol=1e-3)


@pytest.mark.parametrize("splits", [True, False])
def test_photos_are_trained_on_or_scored_but_not_both(tmp_path, splits):
    for split in ("train", "test") if splits else ("",):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(6):
                Image.new("L", (8, 8), 10 * number).save(tmp_path / split / name / f"{number}.png")
    arguments = argparse.Namespace(images=tmp_path, per_class=4, others=3)
    training, others = unknown_classes._divided(arguments, 0)
    for name in "ab":
        assert len({*training[name]}) == 4 and len({*others[name]}) == (3 if splits else 2)
        assert not {*training[name]} & {*others[name]}
    arguments.per_class = 7
    with pytest.raises(SystemExit, match="has 6 photos, too few to train on 7 of them"):
        unknown_classes._divided(arguments, 0)
