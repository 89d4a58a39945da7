"""Carries out the plan: measures what recipes cost, compares them rung by rung, and keeps a record of everything."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from chimeramix_jax.auto import halving
from chimeramix_jax.auto.clock import Clock
from chimeramix_jax.auto.halving import SHORTEST, Cost, Schedule
from chimeramix_jax.auto.optimism import optimism
from chimeramix_jax.auto.record import Comparison, Record, Tried
from chimeramix_jax.errors import InputError, NonFiniteError

SLACK = 0.03  # the share of the whole time by which a rung may exceed its own before further folds are left out


@runtime_checkable
class Trials(Protocol):
    """Trains a recipe without a fold; measures it on the fold, and what the training costs."""

    def run(self, recipe: str, schedule: Schedule, folder: str, fold: int) -> tuple[Tried, Cost | None]:
        """Completes a run in a folder; the cost is None if nothing had to be trained. Fold 0 leaves no fold out.

        The cost of an epoch of the generator is 0 if another run's generator was used. Raises NonFiniteError if the
        training diverges.
        """


@dataclass(frozen=True)
class Candidates:
    """The recipes to choose from, in the order of the menu."""

    names: Sequence[str]
    usual: Mapping[str, Schedule]  # how each divides its time between generator and classifier
    families: Mapping[str, str]  # equal for recipes that share generators; empty without a generator


def choose(
    candidates: Candidates,
    folds: int,
    trials: Trials,
    clock: Clock,
    record: Record,
    save: Callable[[], None],
) -> None:
    """Compares the candidates until the winner is in the record; a choice that was interrupted continues.

    A recipe whose training diverges is left out from then on, since its accuracy would be that of other folds.

    Args:
        candidates: the recipes.
        folds: the number of folds; 0, for a single recipe, to train it without measuring it by folds.
        trials: trains and measures.
        clock: the time for everything, the training of the final model included.
        record: what has been tried; it is extended.
        save: stores the record; called after every run.

    Raises:
        InputError: the time is too short; the message says how much is needed at least.
        NonFiniteError: the last recipe of a comparison diverged, too.
    """
    if record.winner:
        return  # what is left to do is the training of the final model, or nothing
    plan = halving.rungs(len(candidates.names), folds)
    _measure_costs(candidates, plan, trials, clock, record, save)
    alive = [name for name in candidates.names if name not in record.diverged]
    for index, rung in enumerate(plan):
        if index == len(record.rungs):
            record.rungs.append(_planned(candidates, plan, index, alive, clock, record))
        comparison = record.rungs[index]
        if not comparison.kept:
            _compare(comparison, f"rung-{index + 1}", candidates, trials, clock, record, save)
            comparison.kept = comparison.ranked(record.diverged)[: rung.kept]
            save()
        alive = comparison.kept
    if plan:
        last = record.rungs[-1]
        correct = np.stack([last.correct(name) for name in last.schedules if name not in record.diverged])
        record.accuracy = float(np.mean(last.correct(alive[0])))
        record.optimism = optimism(correct, preselected=len(plan) > 1)
    record.winner = alive[0]
    save()


def _measure_costs(
    candidates: Candidates,
    plan: tuple[halving.Rung, ...],
    trials: Trials,
    clock: Clock,
    record: Record,
    save: Callable[[], None],
) -> None:
    """Trains every recipe for an epoch of each stage; raises InputError if the time turns out to be too short."""
    for name in candidates.names:
        if record.costs and clock.left() <= 0 and not record.rungs:
            _refuse_too_little_time(candidates, plan, clock, record)
        if name in record.diverged or (name in record.costs and _is_known(record.costs[name], name, candidates)):
            continue
        shortest = SHORTEST if candidates.families[name] else Schedule(0, SHORTEST.classifier)
        try:
            _, cost = trials.run(name, shortest, "timing", 1 if plan else 0)
        except NonFiniteError as error:
            _leave_out(name, "timing", error, candidates.names, record, save)
            continue
        assert cost is not None  # it is always trained from the beginning
        record.costs[name] = _with_the_generator_of_others(cost, name, candidates, record)
        save()
    if not record.rungs:
        _spare_the_first(candidates, record)
        _refuse_too_little_time(candidates, plan, clock, record)


def _spare_the_first(candidates: Candidates, record: Record) -> None:
    """Leaves out of the first recipe's cost what the first run of a process takes longer, such as loading libraries.

    Else it would have less time to train than the others. It is the simplest recipe, so no other needs less.
    """
    first = next(name for name in candidates.names if name in record.costs)
    least = min(cost.setup for cost in record.costs.values())
    record.costs[first] = replace(record.costs[first], setup=least)


def _is_known(cost: Cost, name: str, candidates: Candidates) -> bool:
    """Whether a stored cost is complete: earlier versions stored 0 for a generator that they had not measured."""
    return cost.generator_epoch > 0 or not candidates.families[name]


def _with_the_generator_of_others(cost: Cost, name: str, candidates: Candidates, record: Record) -> Cost:
    """Returns a recipe's cost with that of the generator, if another recipe's run has trained it."""
    family = candidates.families[name]
    if cost.generator_epoch or not family:
        return cost
    others = [known.generator_epoch for other, known in record.costs.items() if candidates.families[other] == family]
    return replace(cost, generator_epoch=max(others, default=0.0))


def _refuse_too_little_time(
    candidates: Candidates, plan: tuple[halving.Rung, ...], clock: Clock, record: Record
) -> None:
    """Raises InputError if the budget is below the least for the plan; others count as the slowest."""
    slowest = max(record.costs.values(), key=lambda cost: cost.of(SHORTEST))
    costs = {name: record.costs.get(name, slowest) for name in candidates.names if name not in record.diverged}
    unmeasured = sum(cost.of(SHORTEST) for name, cost in costs.items() if name not in record.costs)
    least = halving.least_seconds(plan, costs, clock.used() + unmeasured)
    if least > clock.budget:
        number = len(costs)
        purpose = f"compare {number} recipes" if number > 1 else f"train {next(iter(costs))}"
        about = "" if len(record.costs) == len(costs) else "about "
        raise InputError(
            f"minutes: {clock.budget / 60:g} is too short to {purpose} here; it must be at least "
            f"{about}{halving.minutes_in_words(least)}"
        )


def _planned(
    candidates: Candidates,
    plan: tuple[halving.Rung, ...],
    index: int,
    alive: Sequence[str],
    clock: Clock,
    record: Record,
) -> Comparison:
    """Returns a rung that begins now: its time is divided equally among its recipes and folds."""
    rung, seconds = plan[index], halving.rung_seconds(plan, index, clock.left())
    of_a_recipe = seconds / len(alive)
    costs = {name: record.costs[name].compiled for name in alive}
    schedules = halving.schedules(of_a_recipe, rung.folds, costs, candidates.usual, candidates.families)
    return Comparison(of_a_recipe, rung.folds, clock.used() + seconds, schedules)


def _compare(
    comparison: Comparison,
    folder: str,
    candidates: Candidates,
    trials: Trials,
    clock: Clock,
    record: Record,
    save: Callable[[], None],
) -> None:
    """Runs a rung fold by fold, all recipes on each; leaves out the last folds if training is slower than measured."""
    for fold in range(1, comparison.folds + 1):
        left = [name for name in comparison.schedules if name not in record.diverged]
        missing = [name for name in left if comparison.find(name, fold) is None]
        expected = _expected_seconds(missing, comparison, candidates, record)
        is_begun = len(missing) < len(left)
        late = clock.used() + expected > comparison.until + SLACK * clock.budget
        if late and fold > 1 and not is_begun:
            return
        for name in missing:
            try:
                tried, cost = trials.run(name, comparison.schedules[name], folder, fold)
            except NonFiniteError as error:
                _leave_out(name, f"{folder}, fold {fold}", error, list(comparison.schedules), record, save)
                continue
            comparison.tried.append(tried)
            if cost is not None:
                known = record.costs[name]
                measured = _with_the_generator_of_others(cost, name, candidates, record)
                record.costs[name] = replace(measured, compiling=known.compiling)
            save()


def _leave_out(
    name: str, place: str, error: NonFiniteError, compared: Sequence[str], record: Record, save: Callable[[], None]
) -> None:
    """Leaves out a recipe that has diverged; raises the error if none of the compared recipes is left."""
    if all(other in record.diverged or other == name for other in compared):
        raise error
    record.diverged[name] = f"{place}: {error}"
    print(f"auto: {name} has diverged ({error}) and is left out", file=sys.stderr)
    save()


def _expected_seconds(names: Sequence[str], comparison: Comparison, candidates: Candidates, record: Record) -> float:
    """Returns what runs will take, if recipes of a family train a single generator."""
    seconds, families = 0.0, set()
    for name in names:
        schedule, family = comparison.schedules[name], candidates.families[name]
        trained = Schedule(0 if family in families else schedule.generator, schedule.classifier)
        seconds += record.costs[name].compiled.of(trained)
        families.add(family)
    return seconds
