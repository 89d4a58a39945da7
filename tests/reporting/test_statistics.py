import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from chimeramix_jax.reporting.statistics import decimals, estimate, is_beyond_chance, mcnemar, only_right


@given(st.lists(st.integers(-1000, 1000).map(lambda thousandths: thousandths / 1000), min_size=2, max_size=30))
def test_mean_deviation_and_interval_are_those_of_students_t(values):
    found = estimate(values)
    assert found.count == len(values)
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    assert found.mean == pytest.approx(mean, abs=1e-12)
    assert found.standard_deviation == pytest.approx(deviation, abs=1e-12)
    if deviation:  # scipy has no interval of equal values
        expected = stats.t.interval(0.95, len(values) - 1, mean, deviation / len(values) ** 0.5)
        assert found.interval == pytest.approx(expected, abs=1e-9)


def test_equal_values_have_an_interval_of_no_length():
    assert estimate([0.5, 0.5, 0.5]).interval == (0.5, 0.5)


def test_a_single_value_has_no_spread_and_no_interval():
    found = estimate([0.9])
    assert (found.mean, found.standard_deviation, found.interval, found.count) == (0.9, None, None, 1)


def test_no_value_has_no_mean():
    with pytest.raises(ValueError, match="no values"):
        estimate([])


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemars_test_is_the_exact_one(first, second):
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-9)


def test_the_images_that_one_alone_has_right_are_counted():
    first, second = np.array([[1, 1, 1, 0, 0], [1, 0, 0, 1, 0]], dtype=bool)
    assert only_right(first, second) == (2, 1)


def test_six_to_nothing_is_beyond_chance_and_five_to_nothing_is_not():
    assert is_beyond_chance(mcnemar(6, 0)) and not is_beyond_chance(mcnemar(5, 0))


@pytest.mark.parametrize(
    ("images", "expected"), [(1, 0), (20, 0), (100, 0), (101, 1), (1000, 1), (1001, 2), (10**6, 2)]
)
def test_a_percentage_has_as_many_decimals_as_its_images_carry(images, expected):
    assert decimals(images) == expected
