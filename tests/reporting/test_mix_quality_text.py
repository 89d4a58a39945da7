"""What the text after a run and the report say about the generator's mixes."""

import pytest

from chimeramix_jax.reporting import mix_quality_text
from chimeramix_jax.reporting.results import closing_text

MIXES = {"examples": 400, "recognized": 0.5, "distance": 0.62}


def results(accuracy, paired=None, split="test", architecture="cyclegan"):
    measured = {"top1": accuracy, "examples": 640}
    about = {
        split: measured,
        "baseline": {split: measured},
        "mixes": MIXES,
        "config": {"dataset": {"evaluate_on": split}, "generator": {"architecture": architecture}},
    }
    return about | ({} if paired is None else {"against_baseline": paired})


@pytest.mark.parametrize(("accuracy", "warns"), [(0.4, False), (0.5, False), (0.57, False), (0.6, True), (0.84, True)])
def test_a_warning_is_given_if_mixes_are_recognised_less_often_than_photos_beyond_chance(accuracy, warns):
    assert bool(mix_quality_text.warning(results(accuracy), "test")) == warns


def test_a_classifier_that_gained_is_no_reason_to_warn():
    better = {"only_classifier_right": 60, "only_baseline_right": 20, "mcnemar_p": 1e-5}
    assert not mix_quality_text.warning(results(0.84, better), "test")
    worse = {"only_classifier_right": 20, "only_baseline_right": 60, "mcnemar_p": 1e-5}
    assert mix_quality_text.warning(results(0.84, worse), "test")
    by_chance = {"only_classifier_right": 22, "only_baseline_right": 20, "mcnemar_p": 0.88}
    assert mix_quality_text.warning(results(0.84, by_chance), "test")


def test_the_advice_is_not_what_the_run_already_did():
    published, patches = (
        mix_quality_text.warning(results(0.84, architecture=a), "test") for a in ("cyclegan", "patches")
    )
    assert "architecture=patches" in published and "patches" not in patches
    assert "--config.generator.epochs" in published and "--config.generator.epochs" in patches


def test_both_shares_and_their_images_are_named():
    text = mix_quality_text.in_words(results(0.84, split="folds"), "folds")
    assert "50.0% of 400 mixes and of 84.0% of the out-of-fold images" in text
    assert "62%" in mix_quality_text.distance_in_words(results(0.84))


def test_results_without_mixes_say_nothing():
    about = {"test": {"top1": 0.5, "examples": 10}}
    assert not mix_quality_text.in_words(about, "test") and not mix_quality_text.distance_in_words(about)
    assert not mix_quality_text.warning(about, "test")


def test_the_text_after_a_run_has_the_warning_within_80_columns_and_whole_flags():
    row = {"experiment": "chimeramix_grid", "max_labels_per_class": 20, "top_1": 0.6, "top_5": None, "seconds": 1.0}
    text = closing_text(results(0.84) | {"summary": [row | {"examples": 640, "alone": None}]})
    assert "--config.generator.architecture=patches" in text
    paragraph = next(part for part in text.split("\n\n") if part.startswith("The baseline, which"))
    assert all(len(line) <= 80 for line in paragraph.splitlines())
    assert "mixes" not in closing_text(results(0.4) | {"summary": [row | {"examples": 640, "alone": None}]})
