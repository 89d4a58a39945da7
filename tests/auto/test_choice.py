"""The plan carried out on simulated trainings, with a simulated clock."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from chimeramix_jax.auto import choice, halving
from chimeramix_jax.auto.candidates import Candidates
from chimeramix_jax.auto.choice import choose
from chimeramix_jax.auto.clock import Clock
from chimeramix_jax.auto.halving import Cost, Schedule
from chimeramix_jax.auto.record import Record, Tried
from chimeramix_jax.errors import InputError, NonFiniteError
from chimeramix_jax.reporting.clustered import effective_number
from chimeramix_jax.runs.workdir import Workdir

CANDIDATES = Candidates(
    ["plain", "mixup", "grid", "grid_policy", "segmentation"],
    {name: Schedule(0 if name in ("plain", "mixup") else 25, 40) for name in
     ("plain", "mixup", "grid", "grid_policy", "segmentation")},
    {"plain": "", "mixup": "", "grid": "grid", "grid_policy": "grid", "segmentation": "segmentation"},
)  # fmt: skip
TRUE_COSTS = {
    "plain": Cost(5.0, 3.0, 0.0, 2.0),
    "mixup": Cost(5.0, 3.0, 0.0, 2.1),
    "grid": Cost(10.0, 4.0, 3.0, 3.0),
    "grid_policy": Cost(10.0, 4.0, 3.0, 3.2),
    "segmentation": Cost(11.0, 5.0, 3.3, 3.3),
}
ACCURACIES = {"plain": 0.5, "mixup": 0.55, "grid": 0.4, "grid_policy": 0.6, "segmentation": 0.45}
FOLDS, IMAGES = 5, 40


class InterruptionError(Exception):
    pass


class SimulatedTrials:
    """Takes the time that trainings would take, some more and some less than the mean."""

    def __init__(self, seed=0, noise=0.1, slower=1.0, interrupt_after=None, diverging=(), loads=None):
        self.now, self.ran, self._diverging = 0.0, [], diverging
        self._loads = loads or {}  # by how much other programs slow down the timing of recipes
        self._rng, self._noise, self._slower = np.random.default_rng(seed), noise, slower
        self._left = interrupt_after

    def take(self, seconds):
        self.now += seconds

    def run(self, recipe, schedule, folder, fold):
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise InterruptionError
        if (recipe, folder, fold) in self._diverging:
            self.take(30)
            raise NonFiniteError("classifier", 3, 1, ["loss"])
        family = CANDIDATES.families[recipe]
        beside = [other for other, _, *place in self.ran if place == [folder, fold]]
        shared = family and any(CANDIDATES.families[other] == family for other in beside)
        speed = 1 + self._noise * self._rng.uniform(-1, 1)
        speed *= self._slower if folder.startswith("rung") else 1.0
        if folder == "timing":
            speed *= self._loads.get(recipe, 1.0)
        true = TRUE_COSTS[recipe]
        generator = 0.0 if shared else true.generator_epoch * speed
        compiling = true.compiling if folder == "timing" else 0.0
        measured = Cost(compiling, true.setup, generator, true.classifier_epoch * speed)
        seconds = measured.of(schedule)
        self.take(seconds)
        self.ran.append((recipe, schedule, folder, fold))
        right = round(ACCURACIES[recipe] * IMAGES)
        tried = Tried(
            recipe, fold, f"{folder}/{fold}/{recipe}", seconds, [0] * right + [1] * (IMAGES - right), [0] * IMAGES
        )
        return tried, measured


def carry_out(trials, minutes, record=None, save=None):
    record = record or Record({})
    clock = Clock(minutes * 60, record.used, lambda: trials.now)

    def keep():
        record.used = clock.used()
        if save:
            save(record)

    choose(CANDIDATES, FOLDS, trials, clock, record, keep)
    winner = record.winner
    left = {winner: record.costs[winner]}
    final = halving.schedules(clock.left(), 1, left, CANDIDATES.usual, CANDIDATES.families)[winner]
    trials.take(TRUE_COSTS[winner].of(final))
    return record, clock, final


@pytest.mark.parametrize("minutes", [20, 30, 60])
@pytest.mark.parametrize("seed", range(3))
def test_the_clock_is_honoured_within_ten_per_cent(minutes, seed):
    _, clock, final = carry_out(SimulatedTrials(seed), minutes)
    assert clock.used() == pytest.approx(minutes * 60, rel=0.1)
    assert final.classifier > 40  # longer than the recipe's usual schedule


@pytest.mark.parametrize("slower", [0.5, 2.0])
def test_the_clock_is_honoured_although_the_machine_turns_out_faster_or_slower_than_first_measured(slower):
    trials = SimulatedTrials(slower=slower)
    record = Record({})
    clock = Clock(1800, 0, lambda: trials.now)
    choose(CANDIDATES, FOLDS, trials, clock, record, lambda: None)
    assert 0.25 * 1800 < clock.left() < 0.5 * 1800  # the final model's share is 0.35
    measured = record.costs[record.winner].classifier_epoch
    assert measured == pytest.approx(slower * TRUE_COSTS[record.winner].classifier_epoch, rel=0.11)


def test_the_most_accurate_recipes_are_kept_and_everything_is_recorded():
    trials = SimulatedTrials()
    record, _, _ = carry_out(trials, 30)
    first, last = record.rungs
    assert first.kept == ["grid_policy", "plain"] and last.kept == [record.winner] == ["grid_policy"]
    assert set(last.schedules) == set(first.kept)
    assert len(trials.ran) == len(CANDIDATES.names) + 1 + len(first.tried) + len(last.tried)  # the first is timed twice
    assert len(first.tried) == 10 and len(last.tried) == 10
    assert record.accuracy == pytest.approx(0.6) and record.optimism >= 0


def test_the_correction_draws_images_that_belong_together_in_the_order_of_the_folds(monkeypatch):
    units = [[f"{fold}, {image // 4}" for image in range(IMAGES)] for fold in range(1, FOLDS + 1)]
    taken = []
    monkeypatch.setattr(choice, "optimism", lambda correct, *, preselected, units: taken.append((correct, units)) or 0)
    trials, record = SimulatedTrials(), Record({})
    choose(CANDIDATES, FOLDS, trials, Clock(1800, 0, lambda: trials.now), record, lambda: None, units)
    ((correct, names),) = taken
    assert names == [name for of_fold in units for name in of_fold] and correct.shape == (2, FOLDS * IMAGES)
    for rung, folds in zip(record.rungs, (2, FOLDS), strict=True):
        of_rung = [name for of_fold in units[:folds] for name in of_fold]
        assert rung.effective == {name: effective_number(rung.correct(name), of_rung) for name in rung.schedules}


def test_without_images_that_belong_together_every_image_counts():
    record, _, _ = carry_out(SimulatedTrials(), 30)
    assert [rung.effective for rung in record.rungs] == [{}, {}]


def test_every_recipe_has_the_same_time_in_a_rung_and_only_one_generator_is_trained_for_two():
    record, _, _ = carry_out(SimulatedTrials(noise=0.0), 30)
    first = record.rungs[0]
    charged = {name: TRUE_COSTS[name].compiled.of(schedule, 2) for name, schedule in first.schedules.items()}
    assert all(first.seconds - 8 < seconds <= first.seconds for seconds in charged.values())
    assert first.schedules["grid"].generator == first.schedules["grid_policy"].generator
    taken = sum(run.seconds for run in first.tried)
    assert taken == pytest.approx(sum(charged.values()) - 2 * first.schedules["grid"].generator * 3.0)


def test_a_choice_that_is_interrupted_anywhere_continues_to_the_same_winner(tmp_path):
    workdir = Workdir(tmp_path)
    for after in (0, 3, 5, 11, 17, 24):
        workdir.auto_record.unlink(missing_ok=True)
        trials = SimulatedTrials(interrupt_after=after)
        with pytest.raises(InterruptionError):
            carry_out(trials, 30, save=lambda record: record.write(workdir))
        stored = Record.read(workdir)
        assert (stored is None) == (after == 0)
        used = stored.used if stored else 0.0
        resumed = SimulatedTrials(seed=1)
        record, clock, _ = carry_out(resumed, 30, stored)
        assert record.winner == "grid_policy"
        done = {(run[0], run[2], run[3]) for run in trials.ran}
        assert not done & {(run[0], run[2], run[3]) for run in resumed.ran}
        assert clock.used() == pytest.approx(1800, rel=0.1) and clock.used() > used


def test_the_record_is_read_as_it_was_written_and_a_damaged_one_is_refused(tmp_path):
    workdir = Workdir(tmp_path)
    record, _, final = carry_out(SimulatedTrials(), 30)
    record.final = final
    record.write(workdir)
    assert Record.read(workdir) == record
    assert json.loads(workdir.auto_record.read_text())["format"] == 1
    content = json.loads(workdir.auto_record.read_text())
    del content["rungs"]
    workdir.auto_record.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"auto.json: cannot be read.*rungs"):
        Record.read(workdir)


@pytest.mark.parametrize("minutes", [0.1, 1, 5])
def test_a_time_that_is_too_short_is_refused_with_the_least_which_suffices(minutes):
    trials, record = SimulatedTrials(noise=0.0), Record({})
    with pytest.raises(
        InputError, match=rf"minutes: {minutes:g} is too short to compare 5 recipes.*at least [a-z ]*[0-9.]+$"
    ) as caught:
        carry_out(trials, minutes, record)
    assert trials.ran and all(run[2] in ("timing", "timing-again") for run in trials.ran)
    assert trials.now < minutes * 60 + 21  # it stops after the recipe that exceeds the time
    least = float(str(caught.value).split()[-1])
    if minutes == 5:  # all costs are known
        _, clock, _ = carry_out(SimulatedTrials(noise=0.0), least)
        assert clock.used() == pytest.approx(least * 60, rel=0.1)


def test_a_generator_that_an_earlier_version_recorded_as_free_is_measured_again():
    stored = {name: replace(cost, generator_epoch=0.0) for name, cost in TRUE_COSTS.items()}
    trials = SimulatedTrials(noise=0.0)
    record, clock, _ = carry_out(trials, 30, Record({}, costs=stored))
    measured_again = [recipe for recipe, _, folder, _ in trials.ran if folder == "timing"]
    assert measured_again == [name for name in CANDIDATES.names if CANDIDATES.families[name]]
    assert record.costs["grid_policy"].generator_epoch == 3.0 and clock.used() == pytest.approx(1800, rel=0.1)


def test_the_first_recipe_does_not_pay_for_what_the_first_run_of_a_process_takes_longer():
    trials = SimulatedTrials(noise=0.0)
    run = trials.run

    def slow_at_first(recipe, *arguments):
        tried, cost = run(recipe, *arguments)
        if len(trials.ran) > 1:
            return tried, cost
        trials.take(30)
        return tried, replace(cost, setup=cost.setup + 30)

    trials.run = slow_at_first
    record, _, _ = carry_out(trials, 30)
    expected, _, _ = carry_out(SimulatedTrials(noise=0.0), 30)
    epochs, without = (choice.rungs[0].schedules["plain"].classifier for choice in (record, expected))
    assert without >= epochs > 0.9 * without


LOADED = {"plain": 2.0, "mixup": 2.0, "grid": 1.5}  # other programs end while recipes are timed


def test_recipes_are_compared_at_one_speed_of_the_machine(capsys):
    trials = SimulatedTrials(noise=0.0, loads=LOADED)
    record, clock, _ = carry_out(trials, 30)
    quiet, _, _ = carry_out(SimulatedTrials(noise=0.0), 30)
    schedules = [choice.rungs[0].schedules for choice in (record, quiet)]
    for name in CANDIDATES.names:
        epochs, without = (of_choice[name].classifier for of_choice in schedules)
        assert epochs == pytest.approx(without, rel=0.15)  # timing took longer
    assert capsys.readouterr().err.count("takes 0.5 times as long as when it was first measured") == 1
    assert [run[0] for run in trials.ran if run[2] == "timing-again"] == list(CANDIDATES.names)
    assert clock.used() == pytest.approx(1800, rel=0.1)


def test_a_second_timing_that_is_interrupted_continues(tmp_path):
    workdir = Workdir(tmp_path)
    expected, _, _ = carry_out(SimulatedTrials(noise=0.0, loads=LOADED), 30)
    for after in (5, 6, 8, 10):
        workdir.auto_record.unlink(missing_ok=True)
        with pytest.raises(InterruptionError):
            carry_out(
                SimulatedTrials(noise=0.0, loads=LOADED, interrupt_after=after),
                30,
                save=lambda record: record.write(workdir),
            )
        resumed = SimulatedTrials(noise=0.0)
        record, _, _ = carry_out(resumed, 30, Record.read(workdir))
        assert len([run for run in resumed.ran if run[2] == "timing-again"]) == 10 - after
        assert record.rungs[0].schedules == expected.rungs[0].schedules


@pytest.mark.parametrize(("minutes", "checked"), [(30, 1), (3, 0)])
def test_a_steady_machine_is_found_to_be_one_unless_that_takes_too_much_of_the_time(minutes, checked, capsys):
    trials = SimulatedTrials(noise=0.0, loads={"plain": 1.2})
    candidates = Candidates(["plain", "mixup"], CANDIDATES.usual, CANDIDATES.families)
    choose(candidates, FOLDS, trials, Clock(minutes * 60, 0, lambda: trials.now), Record({}), lambda: None)
    assert [run[2] for run in trials.ran].count("timing-again") == checked
    assert "measured again" not in capsys.readouterr().err


def test_a_single_recipe_without_folds_is_measured_on_all_images_and_has_the_whole_time():
    trials, record = SimulatedTrials(noise=0.0), Record({})
    clock = Clock(120, 0, lambda: trials.now)
    alone = Candidates(["plain"], CANDIDATES.usual, CANDIDATES.families)
    choose(alone, 0, trials, clock, record, lambda: None)
    assert (record.winner, record.rungs, record.accuracy) == ("plain", [], None)
    assert trials.ran == [("plain", Schedule(0, 1), "timing", 0)]
    costs = {"plain": record.costs["plain"].compiled}
    final = halving.schedules(clock.left(), 1, costs, CANDIDATES.usual, CANDIDATES.families)["plain"]
    assert trials.now + TRUE_COSTS["plain"].compiled.of(final) == pytest.approx(120, abs=2)
    hurried = SimulatedTrials()
    with pytest.raises(InputError, match=r"^minutes: 0.2 is too short to train plain here; it must be at least [0-9.]"):
        choose(alone, 0, hurried, Clock(12, 0, lambda: hurried.now), Record({}), lambda: None)


def test_a_tie_is_won_by_the_simpler_recipe(monkeypatch):
    for name in ACCURACIES:
        monkeypatch.setitem(ACCURACIES, name, 0.5)
    assert carry_out(SimulatedTrials(), 30)[0].winner == "plain"


@pytest.mark.parametrize(
    ("place", "winner"),
    [
        (("grid_policy", "timing", 1), "mixup"),
        (("grid_policy", "rung-1", 1), "mixup"),
        (("grid_policy", "rung-1", 2), "mixup"),
        (("grid_policy", "rung-2", 4), "plain"),
        (("plain", "rung-2", 5), "grid_policy"),
        (("plain", "timing", 1), "grid_policy"),
    ],
)
def test_a_recipe_that_diverges_is_left_out_and_the_others_go_on(place, winner, capsys):
    trials, saved = SimulatedTrials(diverging=[place]), []
    record, clock, _ = carry_out(trials, 60, save=lambda record: saved.append(json.dumps(record.diverged)))
    name, folder, fold = place
    assert record.winner == winner and list(record.diverged) == [name] and json.dumps(record.diverged) in saved
    assert f"{folder}" in record.diverged[name] and "not finite in epoch 3" in record.diverged[name]
    assert f"auto: {name} has diverged" in capsys.readouterr().err
    assert clock.used() == pytest.approx(3600, rel=0.1)
    folders = ["timing", "timing-again", "rung-1", "rung-2"]
    assert all((folders.index(run[2]), run[3]) < (folders.index(folder), fold) for run in trials.ran if run[0] == name)
    assert record.accuracy == pytest.approx(ACCURACIES[winner]) and record.optimism >= 0


def test_the_least_time_is_that_for_the_recipes_that_have_not_diverged():
    diverging = [(name, "timing", 1) for name in CANDIDATES.names if name != "segmentation"]  # the slowest is left
    with pytest.raises(InputError, match=r"too short to train segmentation here; it must be at least") as caught:
        carry_out(SimulatedTrials(noise=0.0, diverging=diverging), 1)
    least = float(str(caught.value).split()[-1])
    _, clock, _ = carry_out(SimulatedTrials(noise=0.0, diverging=diverging), least)
    assert clock.used() == pytest.approx(least * 60, rel=0.1)
    with pytest.raises(InputError, match="too short to compare 5 recipes") as caught:
        carry_out(SimulatedTrials(noise=0.0), 1)
    assert float(str(caught.value).split()[-1]) > 1.5 * least


def test_a_choice_ends_if_every_recipe_diverges():
    everywhere = [(name, "timing", 1) for name in CANDIDATES.names]
    with pytest.raises(NonFiniteError):
        carry_out(SimulatedTrials(diverging=everywhere), 60)
    last = [(name, "rung-2", 3) for name in ("plain", "grid_policy")]
    with pytest.raises(NonFiniteError):
        carry_out(SimulatedTrials(diverging=last), 60)


def test_a_choice_that_was_interrupted_does_not_try_again_what_diverged():
    record = Record({})
    with pytest.raises(InterruptionError):
        carry_out(SimulatedTrials(interrupt_after=7, diverging=[("plain", "rung-1", 1)]), 60, record)
    assert list(record.diverged) == ["plain"]
    trials = SimulatedTrials()
    assert carry_out(trials, 60, record)[0].winner == "grid_policy"
    assert "plain" not in {run[0] for run in trials.ran}


def test_the_first_comparison_corrects_the_accuracy_if_a_single_recipe_is_left_in_the_last(monkeypatch):
    taken = []

    def too_high(correct, remaining, later, *, units):
        taken.append((correct.shape, remaining, len(later), units))
        return 0.1

    monkeypatch.setattr(choice, "optimism_of_remaining", too_high)
    trials, record = SimulatedTrials(diverging=[("plain", "rung-2", 1)]), Record({})
    units = [[f"{fold}, {image}" for image in range(IMAGES)] for fold in range(1, FOLDS + 1)]
    choose(CANDIDATES, FOLDS, trials, Clock(1800, 0, lambda: trials.now), record, lambda: None, units)
    # The recipes that have not diverged, on the two folds of the first comparison; the last one has five.
    assert taken == [((4, 2 * IMAGES), 2, 2 * IMAGES, units[0] + units[1])]
    assert (record.winner, record.optimism) == ("grid_policy", pytest.approx(0.1 * 2 / FOLDS))


def test_the_first_recipe_needs_no_correction_if_its_rival_diverges():
    record, _, _ = carry_out(SimulatedTrials(diverging=[("grid_policy", "rung-2", 1)]), 30)
    assert (record.winner, record.optimism) == ("plain", 0.0)  # it would have been compared whatever its accuracy


def test_the_final_model_has_its_usual_training_even_if_the_comparisons_would_take_its_time():
    usual = TRUE_COSTS["segmentation"].of(CANDIDATES.usual["segmentation"])  # of the slowest
    for minutes in (12, 15, 30):
        record, _, final = carry_out(SimulatedTrials(noise=0.0), minutes)
        compared, left = record.rungs[0].until, minutes * 60 - record.used
        assert left > 0.9 * TRUE_COSTS[record.winner].of(CANDIDATES.usual[record.winner]), minutes
        assert final.classifier > 0.85 * CANDIDATES.usual[record.winner].classifier
        assert compared < minutes * 60 - min(usual, 0.6 * minutes * 60)
    assert left == pytest.approx(0.35 * 1800, rel=0.2)  # more than the usual training


def test_a_time_that_is_too_short_for_all_recipes_compares_the_first_ones(capsys):
    shortened = replace(CANDIDATES, all_wanted=False)
    compared = {}
    for minutes in (2, 8, 16, 40):
        trials, record = SimulatedTrials(noise=0.0), Record({})
        clock = Clock(minutes * 60, 0, partial(getattr, trials, "now"))
        choose(shortened, FOLDS, trials, clock, record, lambda: None)
        names = [name for name in CANDIDATES.names if name not in record.left_out]
        compared[minutes] = len(names)
        assert names == CANDIDATES.names[: len(names)] and record.winner in names
        assert [set(rung.schedules) <= set(names) for rung in record.rungs] == [True] * len(record.rungs)
        said = capsys.readouterr().err
        assert all(name in said for name in record.left_out) and ("not compared: " in said) == bool(record.left_out)
        for rung in record.rungs:
            for name, schedule in rung.schedules.items():
                usual = TRUE_COSTS[name].training(CANDIDATES.usual[name])
                assert TRUE_COSTS[name].training(schedule) >= halving.LEAST_OF_USUAL * usual
        assert clock.used() + TRUE_COSTS[record.winner].of(CANDIDATES.usual[record.winner]) < 1.1 * minutes * 60
    assert list(compared.values()) == sorted(compared.values()) and compared[2] == 1 and compared[40] == 5
    assert 1 < compared[8] < compared[16] < 5


def test_a_machine_that_becomes_slower_compares_fewer_recipes_than_it_had_time_for(capsys):
    shortened = replace(CANDIDATES, all_wanted=False)
    timed_too_fast = dict.fromkeys(CANDIDATES.names, 0.3)
    trials, record = SimulatedTrials(noise=0.0, loads=timed_too_fast), Record({})
    choose(shortened, FOLDS, trials, Clock(16 * 60, 0, lambda: trials.now), record, lambda: None)
    said = capsys.readouterr().err
    assert "takes 3.3 times as long as when it was first measured" in said
    assert said.index("takes 3.3 times") < said.index(f"not compared: {', '.join(record.left_out)}")
    for rung in record.rungs:
        assert not set(rung.schedules) & set(record.left_out)
        for name, schedule in rung.schedules.items():
            usual = TRUE_COSTS[name].training(CANDIDATES.usual[name])
            assert TRUE_COSTS[name].training(schedule) >= halving.LEAST_OF_USUAL * usual


def test_more_time_than_before_the_interruption_compares_more_recipes():
    shortened, record = replace(CANDIDATES, all_wanted=False), Record({})
    trials = SimulatedTrials(interrupt_after=2)
    with pytest.raises(InterruptionError):
        choose(shortened, FOLDS, trials, Clock(600, 0, lambda: trials.now), record, lambda: None)
    record.left_out = ["segmentation"]
    trials = SimulatedTrials()
    choose(shortened, FOLDS, trials, Clock(3600, 0, lambda: trials.now), record, lambda: None)
    assert record.left_out == [] and len(record.rungs[0].schedules) == 5


def test_the_first_recipe_of_the_menu_is_preferred_in_the_last_comparison_even_if_it_lost_the_one_before():
    trials = SimulatedTrials()
    run = trials.run

    def alike_in_the_end(recipe, schedule, folder, fold):
        tried, cost = run(recipe, schedule, folder, fold)
        if folder == "rung-2":
            tried = replace(tried, predictions=[0] * 20 + [1] * 20)
        return tried, cost

    trials.run = alike_in_the_end
    record, _, _ = carry_out(trials, 30)
    assert record.rungs[0].kept == ["grid_policy", "plain"]
    assert record.rungs[1].kept == ["plain"] and record.winner == "plain"


def test_a_comparison_that_left_out_nothing_else_is_the_whole_choice(monkeypatch):
    taken = []
    monkeypatch.setattr(choice, "optimism", lambda correct, *, preselected, units: taken.append(preselected) or 0)
    carry_out(SimulatedTrials(), 30)
    carry_out(SimulatedTrials(diverging=[(name, "timing", 1) for name in ("plain", "grid", "segmentation")]), 30)
    assert taken == [True, False]
