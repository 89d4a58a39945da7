"""Intervals and tests for images of which some belong together."""

import math

import numpy as np
import pytest
from scipy.special import ndtri

from chimeramix_jax.reporting import statistics
from chimeramix_jax.reporting.clustered import (
    EFFECTIVE,
    accuracy_interval,
    effective_number,
    name_of_test,
    note,
    paired_interval,
    paired_test,
)
from chimeramix_jax.reporting.statistics import mcnemar, wilson_interval


def simulated(random, accuracy, units, size, alike):
    """Whether images are right, where a share ``alike`` of the reasons is the same for all images of a unit."""
    shared = math.sqrt(alike) * random.standard_normal((units, 1))
    own = math.sqrt(1 - alike) * random.standard_normal((units, size))
    return (shared + own < ndtri(accuracy)).ravel(), [f"object {unit}" for unit in range(units) for _ in range(size)]


@pytest.mark.parametrize(("units", "size"), [(100, 2), (40, 5), (20, 10), (8, 5)])
@pytest.mark.parametrize("alike", [0.0, 0.3, 1.0])
def test_intervals_cover_the_truth_about_as_often_as_they_say(units, size, alike):
    random, covered, repeats = np.random.default_rng(0), 0, 400
    for _ in range(repeats):
        right, names = simulated(random, 0.6, units, size, alike)
        low, high = accuracy_interval({EFFECTIVE: effective_number(right, names)}, right.mean())
        covered += low <= 0.6 <= high
    assert 0.92 - 2 * math.sqrt(0.92 * 0.08 / repeats) < covered / repeats


def test_the_interval_for_independent_images_covers_the_truth_far_too_rarely():
    random, covered = np.random.default_rng(0), 0
    for _ in range(200):
        right, _ = simulated(random, 0.6, 20, 10, 1.0)
        low, high = accuracy_interval({"examples": len(right)}, right.mean())
        covered += low <= 0.6 <= high
    assert covered / 200 < 0.7


def test_images_that_are_right_and_wrong_together_count_as_one():
    right = np.repeat(np.random.default_rng(0).random(50) < 0.7, 4)
    effective = effective_number(right, [str(unit) for unit in np.repeat(np.arange(50), 4)])
    assert 45 < effective < 50  # a little less than 50, since their spread is estimated
    assert effective_number(np.ones(12), ["a"] * 6 + ["b"] * 6) == 2
    assert effective_number(np.array([True, False, True]), ["a"] * 3) == 1


def test_without_images_that_belong_together_nothing_changes():
    right = np.array([True, False, True, True])
    assert effective_number(right, None) is effective_number(right, list("abcd")) is None
    assert accuracy_interval({"examples": 4}, 0.75) == wilson_interval(3, 4)
    assert note(None) == "" and name_of_test(None) == "exact McNemar test"
    assert "as much as 31 independent images" in note(31.4) and "over 12 groups" in name_of_test(12)


@pytest.mark.parametrize("units", [None, [str(image) for image in range(60)]])
def test_without_them_the_paired_test_is_mcnemars(units):
    random = np.random.default_rng(1)
    first, second = random.random(60) < 0.8, random.random(60) < 0.5
    p_value = paired_test(first, second, units)
    assert p_value == mcnemar(int(np.sum(first & ~second)), int(np.sum(second & ~first))) < 0.05


def test_the_paired_test_flips_the_signs_of_the_units_differences():
    first = np.array([1, 1, 1, 1, 1, 0, 1, 1], bool)
    second = np.array([0, 0, 0, 1, 0, 1, 1, 0], bool)
    units = ["a", "a", "a", "b", "b", "c", "c", "d"]  # differences 3, 1, -1 and 1, so the sum is 4 of at most 6
    signs = np.stack(np.meshgrid(*[[-1, 1]] * 4), -1).reshape(-1, 4)
    expected = np.mean(np.abs(signs @ [3, 1, 1, 1]) >= 4)
    assert paired_test(first, second, units) == pytest.approx(expected)
    assert paired_test(first, first, units) == 1
    whole = paired_test(np.repeat(first, 5), np.repeat(second, 5), np.repeat(range(8), 5).astype(str).tolist())
    assert whole == pytest.approx(paired_test(first, second, None))  # five copies of each image say no more than one


def test_two_equally_good_classifiers_rarely_differ_significantly_on_images_that_belong_together():
    random, repeats = np.random.default_rng(0), 300
    found = {"units": 0, "images": 0}
    for _ in range(repeats):
        (first, names), (second, _) = (simulated(random, 0.7, 20, 10, 0.8) for _ in range(2))
        found["units"] += paired_test(first, second, names) < 0.05
        found["images"] += paired_test(first, second, None) < 0.05
    assert found["units"] / repeats < 0.05 + 2 * math.sqrt(0.05 * 0.95 / repeats)
    assert found["images"] / repeats > 0.2


@pytest.mark.parametrize(("units", "size"), [(100, 2), (20, 10), (8, 5)])
@pytest.mark.parametrize("alike", [0.0, 0.8])
def test_intervals_of_a_difference_cover_the_truth_about_as_often_as_they_say(units, size, alike):
    random, covered, repeats = np.random.default_rng(0), 0, 300
    for _ in range(repeats):
        (first, names), (second, _) = (simulated(random, share, units, size, alike) for share in (0.7, 0.6))
        low, high = paired_interval(first, second, names)
        covered += low <= 0.1 <= high
    assert 0.92 - 2 * math.sqrt(0.92 * 0.08 / repeats) < covered / repeats


def test_the_interval_of_a_difference_is_the_usual_one_without_images_that_belong_together():
    first, second = (np.array(right, bool) for right in ([1, 1, 1, 0, 1], [0, 1, 0, 1, 1]))
    usual = statistics.paired_interval(2, 1, 5)
    assert paired_interval(first, second, None) == paired_interval(first, second, list("abcde")) == usual
    low, high = paired_interval(np.repeat(first, 9), np.repeat(second, 9), [*"abcde"] * 9)
    assert (low, high) != pytest.approx(usual)  # the images are not named by their units
    low, high = paired_interval(np.repeat(first, 9), np.repeat(second, 9), [unit for unit in "abcde" for _ in range(9)])
    assert low <= usual.low and high >= usual.high  # nine copies of each image say no more than one
    assert paired_interval(first, first, list("aabbc")) == statistics.paired_interval(0, 0, 3)
