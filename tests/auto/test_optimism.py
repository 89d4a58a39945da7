"""The correction on simulated predictions, whose true accuracy is known."""

import numpy as np
import pytest
from scipy.special import ndtri

from chimeramix_jax.auto.optimism import optimism, optimism_of_remaining
from chimeramix_jax.auto.preference import ranked

REPEATS = 120


def chosen(rng, images, spread, shared, own, recipes=5, kept=2, first=0.4):
    """Simulates a choice; returns the winner's accuracy on the images, corrected, and its true one.

    It has two rungs if fewer recipes are ``kept`` than there are, the first on a share of the images.

    Predictions of an image are correlated: between recipes by its difficulty (``shared`` of the variance), and between
    the rungs of a recipe by what suits this recipe (``own``).
    """
    true = 0.55 + spread * rng.standard_normal(recipes)
    difficulty, liking = rng.standard_normal((images, 1)), rng.standard_normal((images, recipes))
    common = np.sqrt(shared) * difficulty + np.sqrt(own) * liking

    def correct(accuracy):
        return common + np.sqrt(1 - shared - own) * rng.standard_normal((images, recipes)) < ndtri(accuracy)

    early, late = correct(true - 0.08)[: int(first * images)], correct(true)
    alive = sorted(ranked(early.T)[:kept])
    winner = alive[ranked(late[:, alive].T)[0]]
    apparent = late[:, winner].mean()
    return apparent, apparent - optimism(late[:, alive].T, preselected=kept < recipes), true[winner]


@pytest.mark.parametrize(("images", "spread"), [(100, 0.0), (100, 0.04)])
@pytest.mark.parametrize(("shared", "own"), [(0.5, 0.1), (0.2, 0.6)])
def test_the_corrected_accuracy_is_not_too_high_and_hardly_too_low(images, spread, shared, own):
    rng = np.random.default_rng(0)
    apparent, corrected, true = np.array([chosen(rng, images, spread, shared, own) for _ in range(REPEATS)]).T
    standard_error = np.std(corrected - true) / np.sqrt(REPEATS)
    assert np.mean(apparent - true) > 0.005  # there is something to correct
    assert np.mean(corrected - true) < 2 * standard_error
    assert np.mean(corrected - true) > -0.015 - 2 * standard_error


@pytest.mark.parametrize(("recipes", "spread"), [(2, 0.0), (20, 0.0), (20, 0.04)])
def test_a_choice_among_all_recipes_at_once_is_corrected_neither_too_much_nor_too_little(recipes, spread):
    rng = np.random.default_rng(0)
    simulated = [chosen(rng, 200, spread, 0.5, 0.1, recipes, kept=recipes) for _ in range(REPEATS)]
    apparent, corrected, true = np.array(simulated).T
    standard_error = np.std(corrected - true) / np.sqrt(REPEATS)
    assert np.mean(apparent - true) > 0.005
    assert abs(np.mean(corrected - true)) < 0.005 + 2 * standard_error


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize(("shared", "own"), [(0.5, 0.1), (0.2, 0.6)])
def test_the_recipe_that_remains_of_the_last_comparison_is_corrected_for_the_first(place, shared, own):
    rng, errors = np.random.default_rng(0), []
    for _ in range(REPEATS):
        common = np.sqrt(shared) * rng.standard_normal((100, 1)) + np.sqrt(own) * rng.standard_normal((100, 5))
        early, late = (
            (common + np.sqrt(1 - shared - own) * rng.standard_normal((100, 5)) < ndtri(accuracy)).T
            for accuracy in (0.47, 0.55)
        )
        early = early[:, :40]
        best = np.argsort(-early.mean(axis=1), kind="stable")
        converging = np.delete(np.arange(5), best[1 - place])  # the other one of the last comparison has diverged
        remaining = converging.tolist().index(best[place])
        too_high = optimism_of_remaining(early[converging], remaining, late[best[place], :40])
        errors.append(late[best[place]].mean() - 0.4 * too_high - 0.55)
    standard_error = np.std(errors) / np.sqrt(REPEATS)
    assert -0.015 - 2 * standard_error < np.mean(errors) < 2 * standard_error


def test_a_recipe_that_remains_alone_needs_no_correction():
    correct = np.random.default_rng(0).random((3, 60)) < 0.5
    assert optimism_of_remaining(correct[:1], 0, correct[0]) == 0.0
    best = int(np.argmax(correct.mean(axis=1)))
    assert optimism_of_remaining(correct, best, correct[best]) > 0.0
    assert optimism_of_remaining(correct, best, correct[best], units=["group"] * 60) == 0.0


@pytest.mark.parametrize("size", [5, 10])
def test_images_that_belong_together_are_drawn_together(size):
    rng = np.random.default_rng(0)
    unit_of_each = np.repeat(np.arange(200 // size), size)
    names = [f"group {unit}" for unit in unit_of_each]
    errors, one_by_one = [], []
    for _ in range(REPEATS):
        of_units = np.sqrt(0.5) * rng.standard_normal((1, 200 // size)) + np.sqrt(0.4) * rng.standard_normal(
            (6, 200 // size)
        )
        correct = of_units[:, unit_of_each] + np.sqrt(0.1) * rng.standard_normal((6, 200)) < ndtri(0.6)
        apparent, as_if_alone = (correct[ranked(correct, units)[0]].mean() for units in (names, None))
        errors.append(apparent - optimism(correct, preselected=False, units=names) - 0.6)
        one_by_one.append(as_if_alone - optimism(correct, preselected=False) - 0.6)
    assert abs(np.mean(errors)) < 0.005 + 2 * np.std(errors) / np.sqrt(REPEATS)
    assert np.mean(one_by_one) > 0.03  # what the images' own number would hide


def test_units_of_a_single_image_change_nothing():
    correct = np.random.default_rng(2).random((3, 60)) < 0.5
    alone = [f"image {number}" for number in reversed(range(60))]
    assert optimism(correct, preselected=True, units=alone) == optimism(correct, preselected=True) > 0
    assert optimism(correct, preselected=True, units=["group"] * 60) == 0.0


def test_a_single_recipe_and_a_clear_winner_need_no_correction():
    correct = np.random.default_rng(0).random((1, 200)) < 0.7
    assert optimism(correct, preselected=False) == 0.0
    clear = np.stack([np.arange(200) % 10 < 9, np.arange(200) % 10 < 1])
    assert optimism(clear, preselected=False) < 0.005


def test_the_correction_is_reproducible():
    correct = np.random.default_rng(1).random((3, 50)) < 0.5
    first, second = (optimism(correct, preselected=True) for _ in range(2))
    assert first == second > optimism(correct, preselected=False) > 0.0
