import numpy as np
import pytest
from scipy import stats

from chimeramix_jax.report import confusion
from chimeramix_jax.reporting.statistics import wilson_interval

NAMES = ("cat", "dog", "owl")
MATRIX = np.array([[6, 3, 1], [0, 10, 0], [4, 3, 3]])


def test_cells_tell_how_many_images_were_taken_for_what_and_colour_their_share_of_the_class():
    table = confusion.heat_table(MATRIX, NAMES)
    cells = dict(table.rows)["owl"]
    assert [cell.count for cell in cells] == [4, 3, 3]
    assert cells[0].explanation == "owl: 4 of 10 taken for cat"
    assert [cell.style for cell in cells] == ["wrong-5", "wrong-5", "right-5"]
    assert [cell.style for cell in dict(table.rows)["dog"]] == ["", "right-6", ""]


@pytest.mark.parametrize(("classes", "dense"), [(2, False), (20, False), (21, True), (100, True)])
def test_large_tables_are_narrow(classes, dense):
    table = confusion.heat_table(np.eye(classes, dtype=int), [str(label) for label in range(classes)])
    assert table.dense == dense and len(table.rows) == classes


def test_a_class_without_images_has_an_empty_row_and_no_share():
    matrix = np.array([[5, 0], [0, 0]])
    assert [cell.style for cell in confusion.heat_table(matrix, ("a", "b")).rows[1][1]] == ["", ""]
    assert [one.name for one in confusion.class_shares(matrix, ("a", "b"))] == ["a"]


def test_the_most_confused_pairs_come_first_and_hits_are_none():
    pairs = confusion.most_confused(MATRIX, NAMES, 3)
    assert [(one.true, one.predicted) for one in pairs] == [("owl", "cat"), ("cat", "dog"), ("owl", "dog")]
    assert [one.count for one in pairs] == [4, 3, 3]
    assert pairs[0].share == 0.4
    assert len(confusion.most_confused(MATRIX, NAMES, 100)) == 4
    assert confusion.most_confused(np.eye(3, dtype=int), NAMES, 5) == []


def test_classes_are_ranked_by_the_share_that_was_recognized():
    shares = confusion.class_shares(MATRIX, NAMES)
    assert [(one.name, one.share) for one in shares] == [("dog", 1.0), ("cat", 0.6), ("owl", 0.3)]


@pytest.mark.parametrize("paper", ["#ffffff", "#f5f7f9", "#1b2128", "#000000"])
@pytest.mark.parametrize("colour", ["#0b5c94", "#a34800", "#62b6f2", "#777777"])
def test_numbers_stand_out_from_every_cell(paper, colour):
    rules = confusion.heat_rules(paper, colour, colour).splitlines()
    assert len(rules) == 2 * len(confusion.LEVELS)
    for rule in rules:
        ground, ink = (part.split(";")[0].strip() for part in rule.split(":")[1:])
        assert confusion.contrast(ground, ink) >= 4.5


def test_contrast_is_that_of_the_wcag():
    assert confusion.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert confusion.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)  # known to fail by a hair


def test_the_interval_is_wilsons():
    low, high = wilson_interval(81, 263)  # an example of Newcombe (1998): 0.2553 to 0.3662
    assert (low, high) == (pytest.approx(0.2553, abs=5e-5), pytest.approx(0.3662, abs=5e-5))
    assert wilson_interval(20, 20).high == 1.0 and wilson_interval(20, 20).low < 0.9
    assert wilson_interval(0, 20).low == 0.0
    for successes, trials in ((0, 1), (1, 1), (3, 7), (697, 697), (1234, 10_000)):
        expected = stats.binomtest(successes, trials).proportion_ci(method="wilson")
        assert wilson_interval(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-12)
