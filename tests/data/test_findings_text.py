import pytest

from chimeramix_jax.data import findings_text


def made(**changes):
    """Returns findings of an early version about 40 training and 8 test images of two classes, with these changes."""
    ends = {"smallest": {"images": 20, "class": "a"}, "largest": {"images": 20, "class": "b"}}
    return {
        "classes": [{"name": name, "train": 20, "held_out": 4, "unused": 0} for name in "ab"],
        "evaluate_on": "test",
        "held_out_from": "test",
        "images": {"train": 40, "held_out": 8, "unused": 0},
        "imbalance": {"train": ends, "held_out": ends},
        "sides": {"width": [96, 96, 96], "height": [64, 80, 96]},
        "network_side": 32,
        "enlarged": 0,
        "elongated": 0,
        "flat": [],
        "unreadable": [],
        "exact_duplicates": [],
        "near_duplicates": [],
        "near_for_training_only": False,
    } | changes


def group(*names, **about):
    files = [{"file": name, "class": "a", "split": "train"} for name in names]
    return {"across_the_split": False, "between_classes": False, "files": files} | about


def test_copies_in_several_folds_are_said_to_make_the_expected_accuracy_too_high():
    spanning, within = group("a", "b", across_folds=True), group("c", "d", across_folds=False)
    only_folds = {"held_out_from": "folds", "images": {"train": 40, "held_out": 0, "unused": 0}, "folds": 5}
    text = findings_text.full_text(made(near_duplicates=[within, spanning], **only_folds))
    assert "\nnear duplicates: 2 groups of images; 1 in several folds, none in several classes\n" in text
    assert "\n1 group of near duplicates spans several folds: its images are predicted by models that were" in text
    assert "so the expected accuracy is too high" in text and "both training" not in text
    assert text.index("  a ~ b") < text.index("  c ~ d")
    beside_test = findings_text.full_text(made(near_duplicates=[spanning], folds=5))
    assert "1 group of images; none in both training and test images, 1 in several folds, none in" in beside_test
    assert "keep_together" not in text  # an early version
    own_division = made(near_duplicates=[group("a", "b", across_the_split=True)], held_out_from="train")
    for findings in (own_division, made(near_duplicates=[spanning], **only_folds)):
        advised = findings_text.full_text(findings | {"near_together": False})
        assert "\n--config.dataset.keep_together=near_duplicates divides the images without separating" in advised
        assert "keep_together" not in findings_text.full_text(findings | {"near_together": True})
    assert "keep_together" not in findings_text.full_text(
        own_division | {"near_together": False, "held_out_from": "test"}
    )
    harmless = findings_text.full_text(made(near_duplicates=[within], **only_folds))
    assert "none in several folds" in harmless and "too high" not in harmless


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("train", "test images: held out of the training images"),
        ("test", "test images: from the data's own test part"),
        ("validation", "validation images: from the data's own validation part"),
    ],
)
def test_it_is_said_where_the_test_images_come_from_and_at_which_size_images_are_seen(source, line):
    lines = findings_text.summary(made(held_out_from=source))
    assert line in lines
    assert "image size in pixels: 96 wide, 64 to 96 (median 80) high; the network sees 32x32 pixels" in lines


def test_findings_of_earlier_versions_say_nothing_of_folds():
    only_folds = {"held_out_from": "folds", "images": {"train": 40, "held_out": 0, "unused": 0}}
    text = findings_text.full_text(made(near_duplicates=[group("a", "b")], **only_folds))
    assert "near duplicates: 1 group of images; none in several classes" in text and "several folds" not in text


def test_photos_of_one_scene_are_told_from_copies_in_a_sentence():
    alike = "of 48 images are in one group of near duplicates: they look too much alike for this search to tell copies"
    for count in (2, 11):
        assert alike not in findings_text.full_text(made(near_duplicates=[group(*"abcdefghijk"[:count])]))
    many = made(near_duplicates=[group("x", "y"), group(*"abcdefghijkl")])
    assert f"12 {alike}" in findings_text.full_text(many) and any(alike in line for line in findings_text.summary(many))


def test_names_with_control_characters_stay_in_their_line():
    names = ["new\nline.png", "\x1b[31mred.png"]
    copies = group(*names)
    lines = [*findings_text._files("unreadable files", names, 9), *findings_text._groups("copies", [copies], made(), 9)]
    assert r"  new\nline.png" in lines and r"  new\nline.png = \x1b[31mred.png" in lines
    ends = {"smallest": {"images": 1, "class": "a\rb"}, "largest": {"images": 2, "class": "\x1bc"}}
    assert r"1 (a\rb) to 2 (\x1bc)" in findings_text._balance(ends, "training")


def test_images_of_a_group_that_the_run_does_not_use_are_marked():
    pair = group("train/a.png", "test/b.png")
    pair["files"][0]["split"] = "unused"
    assert "\n  train/a.png (unused) ~ test/b.png\n" in findings_text.full_text(made(near_duplicates=[pair])) + "\n"


def test_names_of_classes_that_may_mean_the_same_are_listed():
    line = "names that may mean the same class: "
    assert line not in findings_text.full_text(made())  # an early version
    text = findings_text.full_text(made(alike_names=[["traffic-light", "traffic_light"], ["1", "01\x1b[31m"]]))
    assert f"\n{line}traffic-light, traffic_light\n{line}1, 01" in text and "\x1b" not in text
