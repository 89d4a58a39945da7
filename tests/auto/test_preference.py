"""The first recipe stays, unless another is ahead by more than chance."""

import numpy as np
import pytest

from chimeramix_jax.auto.preference import MARGIN, ranked, winners


def right(images, *counts):
    """Returns recipes that are right on this many of the images, always the first ones."""
    return np.stack([np.arange(images) < count for count in counts])


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((60, 60), [0, 1]),
        ((60, 61), [0, 1]),  # one image of a hundred is chance: the standard error is one image
        ((60, 63), [1, 0]),
        ((60, 59, 80, 70), [2, 0, 3, 1]),
        ((60, 59, 61, 50), [0, 2, 1, 3]),
        ((0, 100), [1, 0]),
        ((50,), [0]),
    ],
)
def test_the_first_recipe_is_among_the_first_two_and_wins_unless_another_is_clearly_ahead(counts, expected):
    assert ranked(right(100, *counts)) == expected


def test_a_lead_counts_in_standard_errors_of_the_difference():
    rng = np.random.default_rng(0)
    for _ in range(200):
        correct = rng.random((2, 60)) < [[0.5], [0.55]]
        gain = correct[1].astype(float) - correct[0]
        assert (ranked(correct)[0] == 1) == (gain.mean() > MARGIN * gain.std(ddof=1) / np.sqrt(60) + 1e-9)


def test_images_that_belong_together_are_one_observation():
    correct = right(100, 60, 70)
    assert ranked(correct) == [1, 0]
    assert ranked(correct, [f"object {image // 10}" for image in range(100)]) == [0, 1]  # a single object of ten
    alone = [f"image {image}" for image in range(100)]
    assert ranked(correct, alone) == [1, 0]


def test_samples_are_judged_as_the_images_that_are_drawn():
    rng = np.random.default_rng(1)
    correct, units = rng.random((4, 60)) < [[0.5], [0.5], [0.6], [0.55]], np.repeat(np.arange(20), 3)
    drawn = rng.multinomial(20, np.full(20, 1 / 20), size=50)
    for weights, winner in zip(drawn, winners(correct, units, drawn), strict=True):
        copies = np.concatenate([np.flatnonzero(units == unit) for unit in np.repeat(np.arange(20), weights)])
        names = [str(copy) for copy in np.repeat(np.arange(weights.sum()), 3)]
        assert ranked(correct[:, copies], names)[0] == winner
