import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chimeramix_jax.reporting.statistics import (
    decimals,
    estimate,
    holm,
    is_significant,
    mcnemar,
    only_right,
    paired_interval,
    paired_t_test,
    wilson_interval,
)


@given(st.lists(st.integers(-1000, 1000).map(lambda thousandths: thousandths / 1000), min_size=2, max_size=30))
def test_the_interval_of_the_mean_is_students_t(values):
    result = estimate(values)
    assert result.count == len(values)
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    assert result.mean == pytest.approx(mean, abs=1e-12)
    assert result.standard_deviation == pytest.approx(deviation, abs=1e-12)
    if deviation:  # SciPy has no interval for equal values
        expected = stats.t.interval(0.95, len(values) - 1, mean, deviation / len(values) ** 0.5)
        assert result.interval == pytest.approx(expected, abs=1e-9)


def test_equal_values_have_an_interval_of_length_zero():
    assert estimate([0.5, 0.5, 0.5]).interval == (0.5, 0.5)


def test_a_single_value_has_no_spread_and_no_interval():
    result = estimate([0.9])
    assert (result.mean, result.standard_deviation, result.interval, result.count) == (0.9, None, None, 1)


def test_no_values_are_rejected():
    with pytest.raises(ValueError, match="no values"):
        estimate([])


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemars_test_is_exact(first, second):
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_images_that_only_one_classifier_has_right_are_counted():
    first, second = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 1, 0]], dtype=bool)
    assert only_right(first, second) == (2, 1)


def test_six_to_none_is_significant_and_five_to_none_is_not():
    assert is_significant(mcnemar(6, 0)) and not is_significant(mcnemar(5, 0))


@pytest.mark.parametrize(
    ("images", "expected"), [(1, 0), (20, 0), (100, 0), (101, 1), (1000, 1), (1001, 2), (10**6, 2)]
)
def test_decimals_follow_from_the_number_of_images(images, expected):
    assert decimals(images) == expected


def test_the_interval_of_an_accuracy_is_wilsons():
    low, high = wilson_interval(81, 263)  # the example of Newcombe (1998): 0.2553 to 0.3662
    assert (low, high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert wilson_interval(20, 20).high == 1.0 and wilson_interval(20, 20).low < 0.9
    assert wilson_interval(0, 20).low == 0.0
    for successes, trials in ((0, 1), (1, 1), (3, 7), (697, 697), (1234, 10_000)):
        expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
        assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.lists(st.integers(-1000, 1000).map(lambda thousandths: thousandths / 1000), min_size=2, max_size=30))
def test_the_paired_test_is_students_and_agrees_with_the_interval(differences):
    p_value = paired_t_test(differences)
    if len(set(differences)) == 1:  # without a spread there is no test
        assert p_value is None
        return
    assert p_value == pytest.approx(stats.ttest_1samp(differences, 0.0).pvalue, abs=1e-9)
    low, high = estimate(differences).interval
    if abs(p_value - 0.05) > 1e-6:
        assert (p_value < 0.05) == (low > 0 or high < 0)


def test_a_single_difference_cannot_be_tested():
    assert paired_t_test([0.1]) is None


def test_holms_correction_multiplies_the_smallest_by_the_number_of_tests_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # a textbook example
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("only_first", "only_second", "images"), [(0, 0, 50), (6, 0, 52), (3, 7, 52), (1, 0, 1)])
def test_the_interval_of_a_paired_difference_is_that_of_bonett_and_price(only_first, only_second, images):
    first, second, total = only_first + 1, only_second + 1, images + 2
    spread = ((first + second) / total - ((first - second) / total) ** 2) / total
    bounds = [(first - second) / total + sign * 1.959964 * spread**0.5 for sign in (-1, 1)]
    interval = paired_interval(only_first, only_second, images)
    assert interval == pytest.approx((max(bounds[0], -1), min(bounds[1], 1)), abs=1e-6)
    assert tuple(paired_interval(only_second, only_first, images)) == pytest.approx((-interval[1], -interval[0]))


def test_the_interval_of_a_paired_difference_covers_it_as_often_as_it_says():
    rng, images, shares = np.random.default_rng(0), 40, (0.15, 0.25)
    draws = rng.multinomial(images, [*shares, 1 - sum(shares)], size=4000)
    covered = [
        low <= shares[0] - shares[1] <= high
        for low, high in (paired_interval(int(first), int(second), images) for first, second, _ in draws)
    ]
    assert 0.93 < np.mean(covered) < 0.98
