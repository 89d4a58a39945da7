import dataclasses

import numpy as np
import pytest
from scipy import stats

from chimeramix_jax.report import verdict

NAMES = ("a", "b", "c", "d", "e")


def measured(right, examples=20):
    return verdict.MeasuredAccuracy.of(
        "mix", {"top1": right / examples, "macro_accuracy": 0.5, "loss": 1.0, "examples": examples}, 5
    )


def judged(right, labels, baseline=None):
    """Judges a classifier that has the first ``right`` images right, and a baseline that has others right."""
    labels = np.asarray(labels)
    wrong = (labels + 1) % 5
    position = np.arange(len(labels))
    predictions = {"classifier": np.where(position < right, labels, wrong)}
    if baseline is not None:
        predictions["baseline"] = np.where(np.isin(position, baseline), labels, wrong)
    of_baseline = None if baseline is None else measured(len(baseline), len(labels))
    return verdict.judge(measured(right, len(labels)), of_baseline, labels, predictions, NAMES)


@pytest.mark.parametrize(
    ("right", "words"),
    [
        (7, "too few test images to tell the two apart"),
        (9, "clearly more than chance"),
        (4, "too few test images to tell the two apart"),
    ],
)
def test_an_accuracy_is_compared_with_chance_by_its_interval(right, words):
    found = judged(right, np.arange(20) % 5)
    assert found.chance == 0.2 and found.against_chance == words
    p_value = 2 * stats.norm.sf(abs(right / 20 - 0.2) / np.sqrt(0.2 * 0.8 / 20))  # the score test, which Wilson inverts
    assert (p_value < 0.05) == (found.against_chance == "clearly more than chance")


def test_an_accuracy_below_chance_is_called_so():
    assert judged(5, np.arange(100) % 5).against_chance == "clearly less than chance"


@pytest.mark.parametrize(
    ("right", "sentence"),
    [
        (5, "The model is clearly worse than chance."),
        (20, "There are too few test images to tell the model from chance."),
        (50, "The model is clearly better than chance."),
    ],
)
def test_a_sentence_says_whether_the_model_is_better_than_chance(right, sentence):
    assert judged(right, np.arange(100) % 5).model_against_chance == sentence


def test_the_baseline_is_compared_image_by_image():
    found = judged(60, np.arange(100) % 5, baseline=range(20, 70))
    assert (found.difference.only_first, found.difference.only_second) == (20, 10)
    assert found.difference.p_value == pytest.approx(stats.binomtest(20, 30).pvalue)
    assert not found.difference.significant and found.difference.better


def test_without_the_baselines_answers_there_is_no_test():
    labels = np.arange(20) % 5
    assert verdict.judge(measured(7), measured(6), labels, {"classifier": labels}, NAMES).difference is None


def test_classes_of_different_sizes_are_compared_with_always_answering_the_largest():
    labels = np.repeat([0, 1, 2, 3, 4], [60, 10, 10, 10, 10])
    largest = judged(50, labels).largest
    assert (largest.name, largest.accuracy) == ("a", 0.6)
    assert (largest.difference.only_first, largest.difference.only_second) == (0, 10)
    assert largest.difference.significant and not largest.difference.better
    assert judged(7, np.arange(20) % 5).largest is None


def of_folds(**changes):
    folds = {"top1": 0.5, "expected_accuracy": 0.5, "macro_accuracy": 0.5, "loss": 1.0, "examples": 20, "repeats": 1}
    return verdict.MeasuredAccuracy.of("mix", folds | {"optimism": 0.0} | changes, 5)


def test_folds_are_judged_by_their_expected_accuracy_and_repeats_do_not_count_images_twice():
    once = of_folds()
    assert once == dataclasses.replace(measured(10), counted=True)
    twice = of_folds(repeats=2)
    assert (twice.accuracy, twice.examples, twice.interval, twice.counted) == (0.5, 20, once.interval, False)
    corrected = of_folds(expected_accuracy=0.4, optimism=0.1)
    assert (corrected.accuracy, corrected.interval) == (0.4, measured(8).interval) and not corrected.counted
    labels = np.repeat([0, 1, 2, 3, 4], [24, 4, 4, 4, 4])  # every image twice
    predictions = dict.fromkeys(("classifier", "baseline"), labels)
    found = verdict.judge(twice, twice, labels, predictions, NAMES, "out-of-fold images")
    assert found.difference is None and (found.largest.accuracy, found.largest.difference) == (0.6, None)
    few = verdict.judge(of_folds(expected_accuracy=0.25), None, labels, predictions, NAMES, "out-of-fold images")
    assert few.against_chance == "too few out-of-fold images to tell the two apart"
