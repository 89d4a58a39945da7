"""What has changed in a folder of photos, class by class."""

import pytest

from chimeramix_jax.data.identity import DataIdentity, Split
from chimeramix_jax.data.photo_changes import photo_changes

CLASSES = ("roses", "tulips")


def split(*places):
    """Creates a split from (photo, class number) pairs."""
    return Split(tuple(photo for photo, _ in places), tuple(label for _, label in places))


def identity(train, held_out=(), unused=(), names=CLASSES):
    return DataIdentity(names, split(*train), split(*held_out), split(*unused))


BEFORE = identity([("a", 0), ("b", 0), ("c", 1)], [("d", 0), ("e", 1)], [("u", 1)])


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (identity([("c", 1), ("a", 0), ("b", 0)], [("e", 1), ("d", 0)]), []),  # order, and what is not used
        (
            identity([("a", 0), ("b", 0), ("c", 1), ("x", 0)], [("d", 0), ("e", 1), ("y", 0)], [("u", 1)]),
            ["roses: 2 new photos"],
        ),
        (
            identity([("a", 0), ("x", 0), ("c", 1)], [("d", 0)], [("u", 1)]),
            ["roses: 1 new photo, 1 removed", "tulips: 1 photo removed"],
        ),
        (
            identity([("a", 0), ("b", 1), ("c", 1)], [("d", 0), ("e", 1)], [("u", 1)]),
            ["1 photo moved from roses to tulips"],
        ),
        (
            identity([("a", 0), ("d", 0), ("c", 1)], [("b", 0), ("e", 1)], [("u", 1)]),
            ["1 photo moved from test to training", "1 photo moved from training to test"],
        ),
        (
            identity([("a", 0), ("b", 0), ("c", 1)], [("d", 0), ("e", 1)], [("u", 1)], names=("roses", "violets")),
            ["class 'tulips' is now called 'violets'"],
        ),
        (
            identity([("a", 1), ("b", 1), ("c", 2), ("k", 0)], [("d", 1), ("e", 2)], [("u", 2)], ("kiwi", *CLASSES)),
            ["class 'kiwi' is new", "kiwi: 1 new photo"],
        ),
        (
            identity([("a", 0), ("b", 0)], [("d", 0)], names=("roses",)),
            ["class 'tulips' is gone", "tulips: 3 photos removed"],
        ),
    ],
)
def test_changes_are_counted_by_class(now, expected):
    assert photo_changes(BEFORE, now) == expected
