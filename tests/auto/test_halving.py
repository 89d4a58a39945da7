import pytest

from chimeramix_jax.auto.halving import (
    Cost,
    Rung,
    Schedule,
    least_seconds,
    minutes_in_words,
    rung_seconds,
    rungs,
    schedules,
)

COSTS = {
    "plain": Cost(2.0, 3.0, 0.0, 1.0),
    "mixed": Cost(6.0, 4.0, 3.0, 2.0),
    "mixed_more": Cost(6.0, 4.0, 3.0, 2.5),
}
USUAL = {"plain": Schedule(0, 40), "mixed": Schedule(25, 40), "mixed_more": Schedule(25, 40)}
FAMILIES = {"plain": "", "mixed": "grid", "mixed_more": "grid"}


def test_the_last_rung_compares_on_all_folds_and_keeps_one_recipe():
    first, last = rungs(5, 5)
    assert (first.recipes, first.folds, first.kept) == (5, 2, 2)
    assert (last.recipes, last.folds, last.kept) == (2, 5, 1)
    assert [(rung.recipes, rung.folds, rung.kept) for rung in rungs(2, 4)] == [(2, 4, 1)]
    assert [(rung.recipes, rung.folds, rung.kept) for rung in rungs(1, 4)] == [(1, 4, 1)]
    assert rungs(1, 0) == ()


def test_all_rungs_and_the_final_model_share_the_time_and_what_earlier_rungs_saved():
    plan = rungs(5, 5)
    assert rung_seconds(plan, 0, 1000) == pytest.approx(200)
    assert rung_seconds(plan, 1, 800) == pytest.approx(450)
    assert rung_seconds(plan, 1, 900) == pytest.approx(450 * 900 / 800)
    assert rung_seconds(rungs(2, 5), 0, 1000) == pytest.approx(650)


@pytest.mark.parametrize("seconds", [60.0, 300.0, 2000.0])
def test_every_schedule_fits_into_the_time_and_nearly_fills_it(seconds):
    for runs in (1, 3):
        for name, schedule in schedules(seconds, runs, COSTS, USUAL, FAMILIES).items():
            unused = seconds - COSTS[name].of(schedule, runs)
            assert 0 <= unused < runs * COSTS[name].classifier_epoch


def test_recipes_with_equal_generators_train_them_equally_long_and_both_pay():
    chosen = schedules(300.0, 1, COSTS, USUAL, FAMILIES)
    assert chosen["mixed"].generator == chosen["mixed_more"].generator > 0 == chosen["plain"].generator
    assert chosen["mixed"].classifier > chosen["mixed_more"].classifier
    of_time = chosen["mixed"].generator * 3.0 / 290
    assert of_time == pytest.approx(25 * 3.0 / (25 * 3.0 + 40 * 2.5), abs=0.02)


def test_a_run_without_time_has_an_epoch_of_each_stage():
    chosen = schedules(1.0, 2, COSTS, USUAL, FAMILIES)
    assert chosen == {"plain": Schedule(0, 1), "mixed": Schedule(1, 1), "mixed_more": Schedule(1, 1)}


def test_the_least_time_gives_every_run_one_epoch():
    plan = (Rung(3, 2, 1, 0.65),)
    least = least_seconds(plan, COSTS, used=40.0)
    of_a_recipe = rung_seconds(plan, 0, least - 40) / 3
    assert of_a_recipe == pytest.approx(2 * (4 + 3 + 2.5))  # the slowest one's
    compiled = {name: cost.compiled for name, cost in COSTS.items()}
    assert schedules(of_a_recipe + 0.01, 2, compiled, USUAL, FAMILIES)["mixed_more"] == Schedule(1, 1)
    final = (least - 40) * 0.35
    assert final > COSTS["mixed_more"].of(Schedule(1, 1))  # it has more images, so it is compiled again


def test_a_recipe_that_is_only_trained_is_compiled_once():
    alone = {"plain": COSTS["plain"]}
    assert least_seconds((), alone, used=40.0) == pytest.approx(40 + 3 + 1)


@pytest.mark.parametrize(("seconds", "words"), [(31, "1"), (61, "1.5"), (269, "4.5"), (270.1, "5"), (601, "11")])
def test_the_least_time_is_rounded_up(seconds, words):
    assert minutes_in_words(seconds) == words
