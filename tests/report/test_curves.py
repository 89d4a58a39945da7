import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chimeramix_jax.report import curves
from chimeramix_jax.report.curves import Series, chart, linear_ticks, logarithmic_ticks
from chimeramix_jax.report.training_charts import generator_charts

finite = st.floats(-1e9, 1e9, allow_subnormal=False).filter(lambda value: value == 0 or abs(value) > 1e-9)


@given(finite, finite)
def test_linear_ticks_are_few_evenly_spaced_and_include_all_values(first, second):
    low, high = sorted((first, second))
    ticks = linear_ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high))
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack
    steps = [after - before for before, after in itertools.pairwise(ticks)]
    assert min(steps) > 0 and math.isclose(min(steps), max(steps), rel_tol=1e-3)
    assert 2 <= len(ticks) <= 7


@given(st.floats(1e-8, 1e6), st.floats(10, 1e9))
def test_logarithmic_ticks_are_few_increasing_and_include_all_values(low, ratio):
    ticks = logarithmic_ticks(low, low * ratio)
    assert ticks == sorted(set(ticks))
    assert ticks[0] <= low * (1 + 1e-6) and ticks[-1] >= low * ratio * (1 - 1e-6)
    assert 2 <= len(ticks) <= 8


def test_ticks_are_round_numbers():
    assert linear_ticks(0.13, 0.92) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert linear_ticks(0, 20, whole=True) == [0, 5, 10, 15, 20]
    assert linear_ticks(0, 3, whole=True) == [0, 1, 2, 3]
    assert logarithmic_ticks(0.013, 0.7) == [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
    assert logarithmic_ticks(0.013, 70) == [0.01, 0.1, 1.0, 10.0, 100.0]


def test_a_line_runs_from_the_first_epoch_to_the_last_within_the_axes():
    [line] = chart("loss", "nats", [Series("training", [(1, 0.0), (2, 0.5), (4, 1.0)])]).lines
    (first_x, first_y), _, (last_x, last_y) = line.marks
    assert (first_y, last_y) == (curves.AREA.bottom, curves.AREA.top)
    assert last_x == curves.AREA.right
    assert first_x == pytest.approx(curves.AREA.left + (curves.AREA.right - curves.AREA.left) / 4, abs=0.1)
    assert line.path == "M" + "L".join(f"{x:g},{y:g}" for x, y in line.marks)


def test_a_line_has_a_gap_at_a_non_finite_measurement():
    [line] = chart("loss", "nats", [Series("training", [(1, 1.0), (2, None), (3, 2.0), (4, 3.0)])]).lines
    assert line.path.count("M") == 2 and line.path.count("L") == 1


def test_values_of_many_magnitudes_get_a_logarithmic_axis_labelled_as_such():
    many = chart("loss", "nats", [Series("training", [(1, 100.0), (2, 1.0), (3, 10.0)])])
    assert many.unit == "nats, logarithmic"
    high, low, middle = (y for _, y in many.lines[0].marks)
    assert middle == pytest.approx((high + low) / 2, abs=0.1)
    assert chart("loss", "nats", [Series("training", [(1, 2.0), (2, 1.0)])]).unit == "nats"
    assert chart("loss", "nats", [Series("training", [(1, 100.0), (2, 0.0)])]).unit == "nats"


def test_proportions_are_labelled_as_percentages():
    ticks = chart("right", "share", [Series("training", [(1, 0.1), (2, 1.0)])], percent=True).y_ticks
    assert [tick.text for tick in ticks] == ["0%", "25%", "50%", "75%", "100%"]


def test_a_constant_is_drawn():
    assert chart("rate", "rate", [Series("both", [(1, 2e-4), (2, 2e-4)])]).lines[0].path.startswith("M")
    assert chart("rate", "rate", [Series("both", [(1, 0.0)])]).lines[0].path.startswith("M")


def test_without_measurements_there_is_no_chart():
    assert chart("loss", "nats", []) is None
    assert chart("loss", "nats", [Series("training", [(1, None)]), Series("test", [])]) is None


def test_lines_of_a_log_without_an_epoch_are_not_drawn(tmp_path):
    lines = '{"generator": 3.0}\n{"epoch": 0, "generator": 2.0}\n'
    (tmp_path / "metrics.jsonl").write_text(lines)
    assert generator_charts(tmp_path) == []
    (tmp_path / "metrics.jsonl").write_text(lines + '{"epoch": 1, "generator": 1.5}\n')
    (drawn,) = generator_charts(tmp_path)
    assert [point for line in drawn.lines for point in line.series.points] == [(1, 1.5)]
