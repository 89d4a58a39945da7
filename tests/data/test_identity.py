import json

import numpy as np
import pytest

from chimeramix_jax.data.identity import DataIdentity, Split, changes, image_digest, packed, unpacked


def data(train, test, unused=None):
    """Builds an identity from images by class: ``{"cat": "ab"}`` has the images a and b."""
    names = tuple(sorted({**train, **test}))

    def split(images):
        pairs = [(image, label) for label, name in enumerate(names) for image in images.get(name, "")]
        return Split(tuple(image for image, _ in pairs), tuple(label for _, label in pairs))

    return DataIdentity(names, split(train), split(test), split(unused or {}))


BEFORE = data({"cat": "abc", "dog": "ijk"}, {"cat": "x", "dog": "y"})


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (data({"cat": "abc", "dog": "ijk"}, {"cat": "x", "dog": "y"}), []),
        (data({"cat": "abcd", "dog": "ijk"}, {"cat": "x", "dog": "y"}), ["1 new image"]),
        (data({"cat": "ab", "dog": "ijk"}, {"cat": "x", "dog": "y"}), ["1 image missing"]),
        (data({"cat": "abc", "dog": "ijk"}, {"cat": "x", "dog": "z"}), ["1 new image", "1 image missing"]),
        (data({"cat": "bca", "dog": "ijk"}, {"cat": "x", "dog": "y"}), ["the same images in another order"]),
        (data({"cat": "ijk", "dog": "abc"}, {"cat": "y", "dog": "x"}), ["8 images moved to another class"]),
        (data({"cow": "abc", "dog": "ijk"}, {"cow": "x", "dog": "y"}), ["class 'cat' is now called 'cow'"]),
        (data({"cat": "abc"}, {"cat": "x"}), ["class 'dog' is missing", "4 images missing"]),
        (
            data({"cat": "abc", "dog": "ijk", "kiwi": "pq"}, {"cat": "x", "dog": "y", "kiwi": "r"}),
            ["class 'kiwi' is new", "3 new images"],
        ),
        (
            data({"cat": "xbc", "dog": "ijk"}, {"cat": "a", "dog": "y"}),
            ["1 image moved from test to training", "1 image moved from training to test"],
        ),
    ],
)
def test_changes_are_described_in_words(now, expected):
    assert changes(BEFORE, now) == expected


def test_copies_of_an_image_are_counted():
    assert changes(data({"cat": "aa"}, {"cat": "x"}), data({"cat": "aaa"}, {"cat": "x"})) == ["1 new image"]


def test_unused_images_help_to_describe_changes_but_are_not_compared_themselves():
    before = data({"cat": "ab"}, {"cat": "x"}, {"cat": "cd"})
    assert changes(before, data({"cat": "ab"}, {"cat": "x"}, {"cat": "cde"})) == []
    redrawn = data({"cat": "ac"}, {"cat": "x"}, {"cat": "bde"})
    assert changes(before, redrawn) == [
        "1 new image",
        "1 image moved from training to unused",
        "1 image moved from unused to training",
    ]


def test_other_test_images_do_not_matter_if_only_training_data_are_compared():
    now = data({"cat": "abc", "dog": "ijk"}, {"cat": "z", "dog": "y"})
    assert changes(BEFORE, now, train_only=True) == []
    assert changes(BEFORE, data({"cat": "abcd", "dog": "ijk"}, {}), train_only=True) == ["1 new image"]


def test_the_unordered_digest_depends_only_on_the_labelled_images():
    shuffled = DataIdentity(
        BEFORE.class_names, Split(BEFORE.train.images[::-1], BEFORE.train.labels[::-1]), Split((), ())
    )
    assert shuffled.unordered("train") == BEFORE.unordered("train")
    assert shuffled.digests()["train"] != BEFORE.digests()["train"]
    assert data({"cat": "ijk", "dog": "abc"}, {}).unordered("train") != BEFORE.unordered("train")


def test_an_image_digest_depends_on_pixels_and_size():
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    changed = pixels.copy()
    changed[3, 3, 2] += 1
    digests = {image_digest(image) for image in (pixels, changed, pixels.reshape(2, 8, 3), pixels.transpose(1, 0, 2))}
    assert len(digests) == 4
    assert image_digest(np.asfortranarray(pixels)) == image_digest(pixels)


def test_an_identity_survives_json():
    assert DataIdentity.from_dict(json.loads(json.dumps(BEFORE.to_dict()))) == BEFORE


@pytest.mark.parametrize("stored", [{}, {"class_names": []}, BEFORE.to_dict() | {"train": {"images": 3}}])
def test_content_that_is_not_an_identity_is_refused(stored):
    with pytest.raises(ValueError, match="not a stored data identity"):
        DataIdentity.from_dict(stored)


def test_digests_are_packed_in_eight_bytes_each_without_order_and_number():
    digests = [image_digest(np.full((2, 2, 3), value, np.uint8)) for value in range(50)]
    digests += ["0" * 16, "f" * 16, "000000000000000a"]
    numbers = packed([*digests, *digests[:5]])
    assert numbers.nbytes == 8 * len(digests)
    np.testing.assert_array_equal(numbers, packed(digests[::-1]))
    assert unpacked(numbers) == set(digests) and unpacked(packed([])) == set()
