import numpy as np
import pytest

from chimeramix_jax.data.folds import filled_training_positions, fold_of_each
from chimeramix_jax.errors import InputError

NAMES = ("cat", "dog", "owl")


def divide(classes, count=5, seed="0"):
    """Returns the fold of every (digest, class) pair, for digests given by class."""
    names = sorted(classes)
    images = [image for name in names for image in classes[name]]
    labels = np.array([label for label, name in enumerate(names) for _ in classes[name]])
    folds = fold_of_each(images, labels, count, seed, names)
    return dict(zip(zip(images, (names[label] for label in labels), strict=True), folds.tolist(), strict=True))


def digests(name, count):
    return [f"{name}{number}" for number in range(count)]


@pytest.mark.parametrize("count", [2, 3, 5, 10])
@pytest.mark.parametrize("images", [10, 11, 37])
def test_every_class_is_spread_evenly_over_the_folds(count, images):
    folds = divide({name: digests(name, images) for name in NAMES}, count)
    for name in NAMES:
        sizes = np.bincount([fold for (_, of), fold in folds.items() if of == name], minlength=count)
        assert sizes.sum() == images and sizes.max() - sizes.min() <= 1


def test_the_larger_folds_are_not_the_same_in_all_classes():
    names = [f"class {number}" for number in range(40)]
    folds = divide({name: digests(name, 6) for name in names}, 5)
    assert np.ptp(np.bincount(list(folds.values()))) < 20  # 40, if all classes had theirs in the same fold


def test_names_of_files_and_the_order_of_the_images_do_not_matter_but_the_seed_does():
    classes = {name: digests(name, 20) for name in NAMES}
    assert divide({name: images[::-1] for name, images in classes.items()}) == divide(classes)
    assert divide(classes, seed="1") != divide(classes)


@pytest.mark.parametrize(("images", "most"), [(10, 1.6), (50, 2.2)])
def test_an_image_added_to_a_class_moves_one_or_two_others_of_it_and_none_of_other_classes(images, most):
    moved = []
    for seed in range(100):
        few, more = (
            divide({"cat": digests("cat", n), "dog": digests("dog", 7)}, 5, str(seed)) for n in (images, images + 1)
        )
        moves = [pair for pair in few if few[pair] != more[pair]]
        assert all(name == "cat" for _, name in moves)
        moved.append(len(moves))
    assert np.mean(moved) < most


def test_copies_of_an_image_are_in_one_fold_even_in_other_classes():
    classes = {"cat": [*digests("cat", 9), "cat1", "cat1", "both"], "dog": [*digests("dog", 9), "both"]}
    for seed in range(20):
        folds = divide(classes, 3, str(seed))
        assert folds["both", "cat"] == folds["both", "dog"]
        sizes = np.bincount([folds[image, "cat"] for image in {*classes["cat"]}], minlength=3)
        assert sizes.max() - sizes.min() <= 1
    labels = np.repeat(0, 12)
    assert len(set(fold_of_each(classes["cat"], labels, 3, "0", ["cat"])[[1, 9, 10]])) == 1


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (
            1,
            "only 1 different training image (copies and groups count once); folds need at least two images of every "
            "class",
        ),
        (2, "folds must be 2"),
        (4, "folds must be from 2 to 4"),
    ],
)
def test_more_folds_than_the_smallest_class_has_images_are_refused(images, expected):
    with pytest.raises(InputError) as caught:
        divide({"cat": digests("cat", images) * 2, "dog": digests("dog", 9)}, 5)
    assert str(caught.value).startswith("folds: 5, but class 'cat' has only ")
    assert str(caught.value).endswith(expected)


def test_classes_that_are_copies_of_each_other_are_refused_if_a_fold_has_all_of_them():
    shared = {"cat": digests("cat", 2), "dog": digests("cat", 2)}
    with pytest.raises(InputError, match="in one fold"):
        for seed in range(20):
            divide(shared, 2, str(seed))


def test_all_folds_train_on_equally_many_images_of_each_class():
    classes = {"cat": digests("cat", 11), "dog": [*digests("dog", 13), "dog1"], "owl": digests("owl", 5)}
    labels = np.array([label for label, name in enumerate(NAMES) for _ in classes[name]])
    images = [image for name in NAMES for image in classes[name]]
    folds = fold_of_each(images, labels, 5, "0", NAMES)
    counts = set()
    for fold in range(5):
        positions = filled_training_positions(folds, labels, fold)
        assert set(positions) == set(np.flatnonzero(folds != fold))
        assert len(positions) - len(set(positions)) <= 4
        counts.add(tuple(np.bincount(labels[positions]).tolist()))
    assert len(counts) == 1
