import numpy as np
import pytest

from chimeramix_jax.reporting.calibration_error import MOST_BINS, calibration, rejections
from chimeramix_jax.reporting.statistics import wilson_interval


def drawn(count, excess=0.0):
    """Confidences from 0.5 to 1, and outcomes that are right as often as these say, or less often by ``excess``."""
    random = np.random.default_rng(0)
    confidences = random.uniform(0.5, 1, count)
    return confidences, random.random(count) < confidences - excess


@pytest.mark.parametrize("count", [60, 2000])
def test_a_calibrated_classifier_has_no_larger_error_than_chance_explains(count):
    measured = calibration(*drawn(count))
    assert 0 < measured.error <= measured.error_by_chance
    assert measured.error_by_chance < (0.2 if count == 60 else 0.04)


def test_a_classifier_that_is_too_sure_has_the_error_by_which_it_is_too_sure():
    measured = calibration(*drawn(5000, excess=0.2))
    assert measured.error == pytest.approx(0.2, abs=0.02) and measured.error > measured.error_by_chance
    assert measured.confidence - measured.accuracy == pytest.approx(0.2, abs=0.02)


def test_the_error_is_the_weighted_mean_over_bins_of_equal_width():
    confidences = np.repeat([0.9, 0.5], [300, 100])
    right = np.concatenate([np.arange(300) < 180, np.arange(100) < 60])
    measured = calibration(confidences, right)
    assert measured.error == pytest.approx(0.75 * 0.3 + 0.25 * 0.1)
    low, high = measured.bins
    assert (low.images, high.images) == (100, 300) and (low.accuracy, high.accuracy) == (0.6, 0.6)
    assert (high.low, high.high) == (pytest.approx(13 / 15), pytest.approx(14 / 15))
    assert high.interval == wilson_interval(180, 300)


def test_certainty_belongs_to_the_last_bin_and_a_bound_to_the_bin_below():
    measured = calibration(np.repeat([0.0, 1 / 3, 1.0], 150), np.ones(450, bool))
    assert [(row.low, row.high) for row in measured.bins] == [
        (0, pytest.approx(1 / 15)),
        (pytest.approx(4 / 15), pytest.approx(5 / 15)),
        (pytest.approx(14 / 15), 1),
    ]


@pytest.mark.parametrize(("count", "bins"), [(1, 1), (39, 1), (40, 2), (299, 14)])
def test_few_images_are_divided_into_fewer_bins_of_equal_numbers(count, bins):
    confidences, right = drawn(count)
    measured = calibration(confidences, right)
    sizes = [row.images for row in measured.bins]
    assert len(sizes) == bins < MOST_BINS and max(sizes) - min(sizes) <= 1 and sum(sizes) == count
    assert measured.bins[0].low == confidences.min() and measured.bins[-1].high == confidences.max()
    assert all(before.high <= after.low for before, after in zip(measured.bins, measured.bins[1:], strict=False))


def test_what_chance_explains_is_the_quantile_of_a_binomial_distribution_in_a_single_bin():
    measured = calibration(np.full(20, 0.5), np.arange(20) < 10)
    assert (measured.error, measured.error_by_chance) == (0.0, pytest.approx(4 / 20))  # P(|X - 10| > 4) is 4.1 %


def test_rejection_counts_what_is_answered_and_right():
    rows = rejections(np.array([0.2, 0.6, 0.6, 0.9]), np.array([True, False, True, True]), (0.0, 0.6, 0.95))
    assert [(row.answered, row.share, row.right, row.accuracy) for row in rows] == [
        (4, 1.0, 3, 0.75),
        (3, 0.75, 2, pytest.approx(2 / 3)),
        (0, 0.0, 0, None),
    ]
    assert rows[1].interval == wilson_interval(2, 3) and rows[2].interval is None
