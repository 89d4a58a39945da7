"""The comparison of an old and a new model in words."""

import pytest

from chimeramix_jax.reporting import update_text
from chimeramix_jax.reporting.statistics import mcnemar, paired_interval


def figures(number, both, only_old, only_new):
    return {
        "number": number,
        "old_right": both + only_old,
        "new_right": both + only_new,
        "only_old_right": only_old,
        "only_new_right": only_new,
        "difference": (only_new - only_old) / number,
        "interval": list(paired_interval(only_new, only_old, number)),
        "mcnemar_p": mcnemar(only_new, only_old),
    }


def record(**changes):
    left_out = dict.fromkeys(("new_training_photos", "now_training_photos", "no_longer_training_photos"), 0)
    return {
        "photos": {},
        "new_classes": {"names": [], "number": 0, "new_right": 0},
        "classes_gone": [],
        "left_out": left_out | changes.pop("left_out", {}),
        "by_folds": {"old": False, "new": False},
        "recipe_was_chosen": False,
    } | changes


@pytest.mark.parametrize(
    ("counts", "expected", "is_worse"),
    [
        ((52, 30, 3, 7), "right on 4 more of the 52 photos that neither model was trained on; so small a", False),
        ((52, 30, 1, 9), "on 8 more of the 52 photos that neither model was trained on; a difference that", False),
        ((52, 30, 9, 1), "on 8 fewer of the 52 photos that neither model was trained on; a difference that", True),
        ((52, 30, 4, 1), "on 3 fewer of the 52 photos that neither model was trained on; so small a", False),
        ((52, 30, 4, 4), "Both models are right on 34 of the 52 photos that neither model was trained on.", False),
    ],
)
def test_the_conclusion_says_which_model_is_better_and_whether_that_could_be_chance(counts, expected, is_worse):
    compared = record(photos={"old photos": figures(*counts), "all": figures(*counts)})
    assert expected in update_text.conclusion(compared)
    assert update_text.is_worse(compared) == is_worse


def test_the_conclusion_names_the_test_of_photos_of_which_some_are_of_a_group():
    grouped = figures(52, 30, 1, 9) | {"groups": 12, "mcnemar_p": 0.2}
    test = "could be chance (exact McNemar test over 12 groups and single images, p = 0.2)"
    assert test in update_text.conclusion(record(photos={"all": grouped}))


def test_the_table_has_a_row_for_all_photos_only_if_there_are_two_groups():
    old, new, both = figures(40, 20, 2, 4), figures(12, 5, 1, 3), figures(52, 25, 3, 7)
    rows = update_text.rows(record(photos={"old photos": old, "new photos": new, "all": both}))
    assert [row[:5] for row in rows] == [
        ["old photos", "40", "55%", "60%", "+5 points"],
        ["new photos", "12", "50%", "67%", "+17 points"],
        ["all", "52", "54%", "62%", "+8 points"],
    ]
    assert [row[0] for row in update_text.rows(record(photos={"new photos": new, "all": new}))] == ["new photos"]
    assert rows[2][5] == "-5 to +20"


def test_what_could_not_be_compared_is_said():
    text = update_text.text(record())
    assert text.startswith("The folder holds no photo that neither model was trained on")
    text = update_text.text(
        record(
            left_out={
                "new_training_photos": 9,
                "now_training_photos": 2,
                "no_longer_training_photos": 1,
                "related_to_training_photos": 4,
            },
            new_classes={"names": ["kiwi"], "number": 3, "new_right": 2},
            classes_gone=["plum"],
            photos={"new photos": figures(12, 5, 1, 3), "all": figures(12, 5, 1, 3)},
            by_folds={"old": True, "new": True},
        )
    )
    for part in (
        "Not compared, because only the new model was trained on them: 9 new photos and 2 old photos.",
        "near duplicates of them, or on others of their group: 4 photos.",
        "Not compared, because only the old model was trained on them: 1 photo.",
        "The old model does not know the new class 'kiwi': of 3 photos there that the new model was not trained on, "
        "it is right on 2.",
        "The old model can still answer 'plum', which is always wrong now.",
        "That favours the old model a little.",
    ):
        assert part in text
    assert "recipe" not in text


def test_what_a_choice_means_for_the_comparison_is_said():
    chosen = record(
        left_out={"training_photos_of_both": 20}, by_folds={"old": False, "new": True}, recipe_was_chosen=True
    )
    text = update_text.text(chosen)
    assert (
        "Not compared, because the old run has no model like its final one without them: 20 old photos. The models "
        "that its choice trained without them had a part of the time only." in text
    )
    assert "The recipe was kept, not chosen again." in text and "favours" not in text
    stored_before = record(by_folds={"old": True, "new": True}, recipe_was_chosen=True)
    assert "That favours the new model." in update_text.text(stored_before)
