import numpy as np
import pytest

from chimeramix_jax.data import holdout
from chimeramix_jax.errors import InputError

NAMES = ("cat", "dog", "owl")


def divide(classes, share=0.2, seed="0"):
    """Returns the held-out images as (digest, class) pairs, for digests given by class."""
    names = sorted(classes)
    images = [image for name in names for image in classes[name]]
    labels = np.array([label for label, name in enumerate(names) for _ in classes[name]])
    out = holdout.held_out(images, labels, share, seed, names)
    return {(image, names[label]) for image, label, kept in zip(images, labels, out, strict=True) if kept}


def digests(name, count):
    return [f"{name}{number}" for number in range(count)]


def test_an_image_stays_on_its_side_when_images_are_added_to_any_class():
    before = divide({name: digests(name, 60) for name in NAMES})
    after = divide({name: digests(name, 100) for name in (*NAMES, "kiwi")})
    known = {(image, name) for name in NAMES for image in digests(name, 60)}
    assert after & known == before


def test_names_and_order_of_the_images_and_classes_do_not_matter():
    images = {name: digests(name, 30) for name in NAMES}
    before = divide(images)
    renamed = {"a": images["owl"][::-1], "b": images["dog"], "c": images["cat"]}
    assert {image for image, _ in divide(renamed)} == {image for image, _ in before}


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_about_the_requested_share_of_every_class_is_held_out(share):
    for name in NAMES:
        out = divide({name: digests(name, 1000), "other": digests("other", 1000)}, share)
        assert sum(class_name == name for _, class_name in out) / 1000 == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("count", range(2, 12))
@pytest.mark.parametrize("share", [0.001, 0.2, 0.999])
def test_every_class_has_images_on_both_sides_and_at_most_twice_the_share_held_out(count, share):
    for seed in range(30):
        out = divide({"cat": digests("cat", count), "dog": digests("dog", 5)}, share, str(seed))
        held = sum(name == "cat" for _, name in out)
        assert 1 <= held <= min(count - 1, max(1, int(np.ceil(2 * share * count))))


def test_an_image_added_to_a_small_class_moves_at_most_one_other_and_usually_none():
    moves = []
    for seed in range(200):
        few, more = (divide({"cat": digests("cat", n), "dog": digests("dog", 5)}, seed=str(seed)) for n in (5, 6))
        moves.append(len({pair for pair in few ^ more if pair != ("cat5", "cat")}))
    assert max(moves) <= 1 and np.mean(moves) < 0.25


def test_copies_are_on_the_same_side_even_in_different_classes():
    for seed in range(30):
        classes = {"cat": [*digests("cat", 5) * 3, "both"], "dog": [*digests("dog", 5), "both", "both"]}
        names, images = sorted(classes), [image for name in sorted(classes) for image in classes[name]]
        labels = np.repeat([0, 1], [len(classes[name]) for name in names])
        kept = holdout.held_out(images, labels, 0.2, str(seed), names)
        for image in set(images):
            assert len(set(kept[[other == image for other in images]])) == 1


def test_copies_do_not_count_for_the_share():
    out = divide({"cat": ["a"] * 50 + ["b"], "dog": digests("dog", 9)})
    assert len(out & {("a", "cat"), ("b", "cat")}) == 1


@pytest.mark.parametrize("cats", [["dog0", "dog1"], ["a", "dog0"], [f"dog{number}" for number in range(6)]])
def test_a_class_of_copies_of_another_classs_images_has_images_on_both_sides(cats):
    for seed in range(20):
        out = divide({"cat": cats, "dog": digests("dog", 6)}, seed=str(seed))
        assert 0 < len({image for image, name in out if name == "cat"}) < len(cats)


def test_a_class_of_copies_of_a_single_image_is_refused():
    with pytest.raises(InputError, match="class 'cat' cannot be divided: it has 1 different image "):
        divide({"cat": ["a", "a", "a"], "dog": digests("dog", 6)})


def test_another_seed_holds_out_other_images():
    images = {name: digests(name, 50) for name in NAMES}
    assert divide(images, seed="0") != divide(images, seed="1")


def test_the_choice_never_changes_between_versions():
    # Every later version must hold out the same images of users' folders.
    assert divide({"cat": digests("cat", 10), "dog": digests("dog", 10)}) == {("cat6", "cat"), ("dog7", "dog")}
