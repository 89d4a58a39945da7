import numpy as np
import pytest

from chimeramix_jax.report import confusion

NAMES = ("cat", "dog", "owl")
MATRIX = np.array([[6, 3, 1], [0, 10, 0], [4, 3, 3]])


def test_cells_show_their_images_and_are_coloured_by_their_share_of_the_class():
    table = confusion.heat_table(MATRIX, NAMES)
    cells = dict(table.rows)["owl"]
    assert [cell.count for cell in cells] == [4, 3, 3]
    assert [cell.share for cell in cells] == [0.4, 0.3, 0.3]
    assert cells[0].tooltip == "owl: 4 of 10 predicted as cat"
    assert [cell.style for cell in cells] == ["wrong-5", "wrong-5", "right-5"]
    assert [cell.style for cell in dict(table.rows)["dog"]] == ["", "right-6", ""]


@pytest.mark.parametrize(("classes", "dense"), [(2, False), (20, False), (21, True), (100, True)])
def test_large_tables_have_narrow_cells(classes, dense):
    table = confusion.heat_table(np.eye(classes, dtype=int), [str(label) for label in range(classes)])
    assert table.dense == dense and len(table.rows) == classes


def test_a_class_without_images_has_an_empty_row_and_no_accuracy():
    matrix = np.array([[5, 0], [0, 0]])
    assert [cell.style for cell in confusion.heat_table(matrix, ("a", "b")).rows[1][1]] == ["", ""]
    assert [row.name for row in confusion.class_accuracies(matrix, ("a", "b"))] == ["a"]


def test_classes_without_images_are_named_in_a_sentence():
    def found(*totals):
        names = [chr(ord("a") + place) for place in range(len(totals))]
        return confusion.without_images(np.diag(totals), names)

    assert found(3, 2) == "" and found(3, 0, 2) == "of the class “b”"
    assert found(0, 1, 0, 0) == "of the classes “a”, “c” and “d”"
    assert found(1, *[0] * 6) == "of 6 classes, such as “b” and “c”"


def test_the_most_confused_pairs_come_first_and_correct_images_are_no_pair():
    pairs = confusion.most_confused(MATRIX, NAMES, 3)
    assert [(pair.true, pair.predicted) for pair in pairs] == [("owl", "cat"), ("cat", "dog"), ("owl", "dog")]
    assert [pair.count for pair in pairs] == [4, 3, 3]
    assert pairs[0].share == 0.4
    assert len(confusion.most_confused(MATRIX, NAMES, 100)) == 4
    assert confusion.most_confused(np.eye(3, dtype=int), NAMES, 5) == []


def test_classes_are_ranked_by_accuracy():
    accuracies = confusion.class_accuracies(MATRIX, NAMES)
    assert [(row.name, row.accuracy) for row in accuracies] == [("dog", 1.0), ("cat", 0.6), ("owl", 0.3)]
