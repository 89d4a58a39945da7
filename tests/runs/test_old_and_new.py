"""Which photos two models may be compared on, with models whose answers are given instead of trained."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from chimeramix_jax.config import load
from chimeramix_jax.data.dataset import FewShotDataset, LabelledImages
from chimeramix_jax.data.identity import DataIdentity, Split
from chimeramix_jax.data.originals import Original, Originals
from chimeramix_jax.runs.old_and_new import compare
from chimeramix_jax.runs.unseen import Models
from chimeramix_jax.runs.workdir import Workdir

NAMES = ("rose", "tulip")


@dataclass(frozen=True)
class GivenAnswers(Models):
    """Models that are right on some photos; notes which model was to classify which photo, and under which name."""

    right_on: frozenset[str] = frozenset()
    classified: dict[str, tuple[Path, str]] = field(default_factory=dict)

    def right(self, pixels, true_names, models):
        photos = [chr(pixel) for pixel in pixels[:, 0, 0, 0]]
        self.classified.update(zip(photos, zip(models, true_names, strict=True), strict=True))
        return np.array([photo in self.right_on for photo in photos], bool)


def data(train, held_out, names=NAMES):
    """Creates the data of photos named by one letter: ``{"a": 0}`` is a photo of class 0. A tuple holds copies."""
    parts = []
    for photos in (train, held_out):
        letters = [letter for letter in photos for _ in range(1 + letter.isupper())]  # capitals are there twice
        images = np.array([ord(letter) for letter in letters], np.uint8).reshape(-1, 1, 1, 1) + np.zeros(
            (8, 8, 3), np.uint8
        )
        labels = np.array([photos[letter] for letter in letters], np.int32)
        parts.append((LabelledImages(images, labels, tuple(letters)), Split(tuple(letters), tuple(labels.tolist()))))
    (train_images, train_split), (held_out_images, held_out_split) = parts
    identity = DataIdentity(names, train_split, held_out_split)
    indices = np.arange(len(train_images.labels))
    return FewShotDataset("image_folder", names, train_images, indices, held_out_images, content=identity)


def models(path, dataset, right_on="", left_out_by=None, photos_of_folds=None):
    return GivenAnswers(
        Workdir(path), load("digits"), dataset.identity, left_out_by or {}, photos_of_folds or {}, frozenset(right_on)
    )


@pytest.fixture
def compared(tmp_path):
    def run(before, now, old_right="", new_right="", old_folds=None, new_folds=None, photos_of_folds=None):
        old = models(tmp_path / "old", before, old_right, old_folds, photos_of_folds)
        new = models(tmp_path / "new", now, new_right, new_folds, photos_of_folds)
        return compare(old, new, now), old, new

    return run


def test_only_photos_that_neither_model_was_trained_on_count_and_copies_count_once(compared):
    before = data({"a": 0, "b": 1, "c": 0}, {"d": 0, "e": 1, "f": 1})
    now = data({"a": 0, "b": 1, "f": 1, "n": 0}, {"c": 0, "d": 0, "e": 1, "X": 1, "y": 0, "z": 1})
    record, old, new = compared(before, now, "dXc", "deXycn")
    figures = {group: (row["number"], row["old_right"], row["new_right"]) for group, row in record["photos"].items()}
    assert figures == {"old photos": (2, 1, 2), "new photos": (3, 1, 2), "all": (5, 2, 4)}
    assert record["left_out"] == {
        "new_training_photos": 1, "now_training_photos": 1, "no_longer_training_photos": 1,
        "training_photos_of_both": 0, "related_to_training_photos": 0,
    }  # fmt: skip
    assert set(old.classified) == set(new.classified) == set("deXyz")
    assert {model for model, _ in old.classified.values()} == {old.workdir.path}
    assert record["by_folds"] == {"old": False, "new": False}


def test_a_photo_that_was_a_training_photo_under_another_class_does_not_count_either(compared):
    record, _, _ = compared(data({"a": 0, "b": 1}, {"c": 0}), data({"b": 1, "d": 0}, {"a": 1, "c": 0}))
    assert record["photos"]["all"]["number"] == 1
    assert record["left_out"]["no_longer_training_photos"] == 1


def test_with_folds_each_photo_is_classified_by_a_model_that_left_it_out(compared):
    before = data({"a": 0, "b": 1, "c": 0, "d": 1}, {"t": 0})
    now = data({"a": 0, "b": 1, "c": 0, "n": 1}, {"t": 0})
    one, two, three = map(Path, ("one", "two", "three"))
    record, old, new = compared(
        before, now, "", "an", {"a": one, "b": two, "d": two}, {"a": three, "b": three, "c": three, "n": three}
    )
    assert {photo: model for photo, (model, _) in old.classified.items()} == {
        "a": one, "b": two, "n": old.workdir.path, "t": old.workdir.path,
    }  # fmt: skip
    assert {photo: model for photo, (model, _) in new.classified.items()} == {
        "a": three, "b": three, "n": three, "t": new.workdir.path,
    }  # fmt: skip
    assert record["photos"]["all"]["number"] == 4 and record["by_folds"] == {"old": True, "new": True}
    assert record["left_out"]["training_photos_of_both"] == 1  # c, whose fold the old run has not trained
    assert record["left_out"]["no_longer_training_photos"] == 0


def test_new_renamed_and_removed_classes(compared):
    before = data({"a": 0, "b": 1, "c": 2}, {"d": 0, "e": 1, "f": 2}, ("plum", "rose", "tulip"))
    now = data({"k": 0, "b": 1, "c": 2}, {"l": 0, "m": 0, "e": 1, "f": 2}, ("kiwi", "rose", "violet"))
    record, old, new = compared(before, now, "ef", "lf")
    assert record["photos"]["all"]["number"] == 2 and record["photos"]["all"]["only_old_right"] == 1
    assert record["new_classes"] == {"names": ["kiwi"], "number": 2, "new_right": 1}
    assert record["classes_gone"] == ["plum"]
    assert (old.classified["f"][1], new.classified["f"][1]) == ("tulip", "violet")


def test_without_a_photo_to_compare_there_are_no_figures(compared):
    record, old, _ = compared(data({"a": 0, "b": 1}, {"c": 0}), data({"a": 0, "c": 0}, {"b": 1}))
    assert record["photos"] == {} and not old.classified


HASHES = {letter: np.random.default_rng(ord(letter)).bytes(16).hex() for letter in "abcdefghij"}


def described(dataset, like=None, groups=None):
    """Describes the photos of a data set, of which some look like another or are in a group."""

    def original(letter, label):
        perceptual_hash = HASHES[(like or {}).get(letter, letter)]
        return Original(letter, label, 8, 8, letter, perceptual_hash, (groups or {}).get(letter, ""))

    parts = (
        tuple(map(original, split.images, split.labels))
        for split in (dataset.identity.train, dataset.identity.held_out)
    )
    return replace(dataset, originals=Originals(*parts, (), ()))


def test_photos_near_training_photos_or_of_their_group_do_not_count(compared):
    before = data({"a": 0, "b": 1}, {"c": 0, "d": 1, "e": 0})
    now = data({"a": 0, "b": 1, "i": 1}, {"c": 0, "d": 1, "e": 0, "f": 1, "g": 0})
    record, old, _ = compared(before, described(now, like={"c": "a", "g": "d"}, groups={"i": "burst", "f": "burst"}))
    assert set(old.classified) == {"d", "e", "g"}  # c is near a, and f is of a group with i, which only the new run has
    assert record["photos"]["all"]["number"] == 3
    assert record["left_out"]["related_to_training_photos"] == 2
    assert sum(record["left_out"].values()) == 3  # and i, a new training photo
    assert set(compared(before, now)[1].classified) == set("cdefg")  # of which nothing else is known


def test_photos_of_a_group_count_as_a_whole_in_the_interval_and_the_test(compared):
    before = data({"a": 0, "b": 1}, {})
    now = data({"a": 0, "b": 1}, dict.fromkeys("cdefghij", 0))
    bursts = dict.fromkeys("cde", "one") | dict.fromkeys("fgh", "two")
    figures = [
        compared(before, described(now, groups=groups), "c", "cdefghij")[0]["photos"]["all"] for groups in ({}, bursts)
    ]
    same = ("number", "old_right", "new_right", "only_old_right", "only_new_right", "difference")
    assert [figures[0][name] for name in same] == [figures[1][name] for name in same] == [8, 1, 8, 0, 7, 7 / 8]
    assert "groups" not in figures[0] and figures[1]["groups"] == 4
    assert figures[0]["mcnemar_p"] == 2 / 2**7 and figures[1]["mcnemar_p"] == 2 / 2**4  # signs of 7 photos, of 4 units
    widths = [high - low for low, high in (one["interval"] for one in figures)]
    assert widths[1] > widths[0]


def test_a_fold_that_was_trained_on_a_near_duplicate_does_not_count(compared):
    now = data({"a": 0, "b": 1, "c": 0, "d": 1}, {})
    one, two = Path("one"), Path("two")
    folds, photos = {"a": one, "b": one, "c": two, "d": two}, {one: frozenset("cd"), two: frozenset("ab")}
    record, old, _ = compared(
        now, described(now, like={"c": "a"}), old_folds=folds, new_folds=folds, photos_of_folds=photos
    )
    assert set(old.classified) == {"b", "d"} and record["left_out"]["related_to_training_photos"] == 2
