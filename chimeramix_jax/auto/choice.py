"""Carries out the plan: measures what recipes cost, compares them rung by rung, and keeps a record of everything."""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np

from chimeramix_jax.auto import halving, preference
from chimeramix_jax.auto.candidates import Candidates
from chimeramix_jax.auto.clock import Clock
from chimeramix_jax.auto.halving import SHORTEST, Cost, Schedule
from chimeramix_jax.auto.optimism import optimism, optimism_of_remaining
from chimeramix_jax.auto.record import Record, RungRecord, Tried
from chimeramix_jax.auto.trials import TIMING, TIMING_AGAIN
from chimeramix_jax.errors import InputError, NonFiniteError
from chimeramix_jax.reporting.clustered import effective_number
from chimeramix_jax.reporting.wording import counted

SLACK = 0.03  # the share of the whole time by which a rung may exceed its own before further folds are left out
STEADY = 1.25  # if an epoch takes this many times as long as before, or as now, the machine's speed has changed
MOST_TO_CHECK = 0.03  # the share of the whole time that it may take to find that out


@runtime_checkable
class Trials(Protocol):
    """Trains a recipe without a fold; measures it on the fold, and what the training costs."""

    def run(self, recipe: str, schedule: Schedule, folder: str, fold: int) -> tuple[Tried, Cost | None]:
        """Completes a run in a folder; the cost is None if nothing had to be trained. Fold 0 leaves no fold out.

        The cost of an epoch of the generator is 0 if another run's generator was used. Raises NonFiniteError if the
        training diverges.
        """


def choose(
    candidates: Candidates,
    folds: int,
    trials: Trials,
    clock: Clock,
    record: Record,
    save: Callable[[], None],
    units: Sequence[Sequence[str]] = (),
    on_all_images: Callable[[str, Cost], Cost] = lambda recipe, cost: cost,
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
        units: for each fold, the name of each of its images, the same for images that belong together; empty: none do.
        on_all_images: returns what training a recipe on all images costs, given what its runs without a fold do.

    Raises:
        InputError: the time is too short; the message says how much is needed at least.
        NonFiniteError: the last recipe of a comparison diverged, too.
    """
    if record.winner:
        return  # what is left to do is the training of the final model, or nothing
    _Choice(candidates, folds, trials, clock, record, save, units, on_all_images).complete()


@dataclass(frozen=True)
class _Choice:
    """A choice in progress; the attributes are the arguments of ``choose``."""

    candidates: Candidates
    folds: int
    trials: Trials
    clock: Clock
    record: Record
    save: Callable[[], None]
    units: Sequence[Sequence[str]]
    on_all_images: Callable[[str, Cost], Cost]

    @property
    def plan(self) -> tuple[halving.Rung, ...]:
        """The rungs for the candidates that there is time to compare; none if that is a single one of several."""
        compared = len(self.candidates.names) - len(self.record.left_out)
        return () if compared == 1 and self.record.left_out else halving.rungs(compared, self.folds)

    def complete(self) -> None:
        """Measures what the candidates cost, and compares them rung by rung until a winner is left."""
        self._measure_costs()
        alive = self._converging(self.candidates.names)
        for index, planned in enumerate(self.plan):
            if index == len(self.record.rungs):
                self.record.rungs.append(self._begun(index, alive))
            rung = self.record.rungs[index]
            if not rung.kept:
                self._compare(rung, f"rung-{index + 1}")
                rung.effective = self._effective_numbers(rung)
                rung.kept = self._ranked(rung)[: planned.kept]
                self.save()
            alive = self._in_order(rung.kept)
        if self.plan:
            alive = self.record.rungs[-1].kept
            self.record.accuracy = float(np.mean(self.record.rungs[-1].correct(alive[0])))
            self.record.optimism = self._optimism(alive[0])
        self.record.winner = alive[0]
        self.save()

    def _ranked(self, rung: RungRecord) -> list[str]:
        """Returns the recipes of a rung, the preferred one first."""
        names = self._in_order(rung.schedules)
        correct = np.stack([rung.correct(name) for name in names])
        return [names[place] for place in preference.ranked(correct, self._units_of(rung.folds_of(names[0])))]

    def _optimism(self, winner: str) -> float:
        """Returns by how much the winner's accuracy in the last rung is too high because it was chosen by it."""
        first, last = self.record.rungs[0], self.record.rungs[-1]
        before, compared = self._in_order(first.schedules), self._in_order(last.schedules)
        folds = last.folds_of(winner)
        if len(compared) == 1:  # all others of the last rung have diverged: the first one has chosen
            always_kept = next(name for name in self.candidates.names if name in first.kept)
            if winner == always_kept:
                return 0.0
            before = [name for name in before if name != always_kept]
            both = [fold for fold in folds if fold in first.folds_of(winner)]
            correct = np.stack([first.correct(name, both) for name in before])
            later = last.correct(winner, both)
            too_high = optimism_of_remaining(correct, before.index(winner), later, units=self._units_of(both))
            return too_high * len(later) / len(last.correct(winner))
        correct = np.stack([last.correct(name) for name in compared])
        return optimism(correct, preselected=len(before) > len(compared), units=self._units_of(folds))

    def _effective_numbers(self, rung: RungRecord) -> dict[str, float]:
        """Returns as how many independent images those of each recipe count; empty if no images belong together."""
        numbers = {
            name: effective_number(rung.correct(name), self._units_of(rung.folds_of(name)))
            for name in dict.fromkeys(run.recipe for run in rung.tried)
        }
        return {name: number for name, number in numbers.items() if number is not None}

    def _units_of(self, folds: Sequence[int]) -> list[str] | None:
        """Returns the names of the units of the images of some folds; None if no images belong together."""
        return [name for fold in folds for name in self.units[fold - 1]] if self.units else None

    def _converging(self, names: Iterable[str]) -> list[str]:
        """Returns the recipes among these that are compared and have not diverged."""
        return [name for name in names if name not in self.record.diverged and name not in self.record.left_out]

    def _in_order(self, names: Collection[str]) -> list[str]:
        """Returns those of some recipes that have not diverged, in the order of the menu: the first is preferred."""
        return [name for name in self._converging(self.candidates.names) if name in names]

    def _measure_costs(self) -> None:
        """Trains every recipe for an epoch of each stage; raises InputError if the time turns out to be too short.

        If the last candidates need not be compared, they are left out where the time would be too short for them.
        """
        if not self.record.rungs:
            self.record.left_out = []  # the time may have been changed since
        for name in self.candidates.names:
            if name in self.record.left_out or self._leaves_out_from(name):
                break
            if self.record.costs and self.clock.left() <= 0 and not self.record.rungs:
                self._refuse_too_little_time()
            if name in self.record.diverged or self._is_measured(name):
                continue
            self.record.timed_again.clear()
            self._time(name, TIMING, self.record.costs)
            if name in self.record.costs and self._leaves_out_from(name):
                break
        if not self.record.rungs:
            self._spare_the_first()
            self._time_at_one_speed()
            self._refuse_too_little_time()

    def _time(self, name: str, folder: str, costs: dict[str, Cost]) -> None:
        """Trains a recipe for an epoch of each stage and notes what it costs, or leaves it out if that diverges."""
        shortest = SHORTEST if self.candidates.families[name] else Schedule(0, SHORTEST.classifier)
        try:
            _, cost = self.trials.run(name, shortest, folder, 1 if self.plan else 0)
        except NonFiniteError as error:
            self._leave_out(name, folder, error, self.candidates.names)
            return
        assert cost is not None  # it is always trained from the beginning
        costs[name] = self._with_the_generator_of_others(cost, name, costs)
        self.save()

    def _time_at_one_speed(self) -> None:
        """Times the first recipe once more, and all of them if the machine has become faster or slower in between.

        Recipes are timed one after the other. One that was timed while other programs used the machine would otherwise
        train for fewer epochs than the others, in all comparisons.
        """
        costs, again = self.record.costs, self.record.timed_again
        first, *others = [name for name in self._converging(self.candidates.names) if name in costs]
        if not others or costs[first].compiled.of(SHORTEST) > MOST_TO_CHECK * self.clock.budget:
            return
        if first not in again:
            self._time(first, TIMING_AGAIN, again)
        if first not in again:
            return  # it has diverged this time
        before, now = costs[first].training(SHORTEST), again[first].training(SHORTEST)
        if before <= STEADY * now and now <= STEADY * before:
            return
        print(
            f"auto: an epoch of {first} takes {now / before:.1f} times as long as when it was first measured, so all "
            "recipes are measured again, at one speed of the machine",
            file=sys.stderr,
        )
        for name in others:
            if name not in again:
                self._time(name, TIMING_AGAIN, again)
        for name, cost in again.items():
            costs[name] = replace(cost, compiling=costs[name].compiling)
        self.save()
        for name in others:
            if self._leaves_out_from(name):  # a slower machine has time for fewer
                break

    def _leaves_out_from(self, name: str) -> bool:
        """Whether there is no time to compare a recipe and those after it, which are left out then; says so.

        A recipe that has not been measured counts as the slowest that has.
        """
        place = self.candidates.names.index(name)
        recipes = self._converging(self.candidates.names[: place + 1])
        if self.candidates.all_wanted or self.record.rungs or len(recipes) < 2:
            return False
        if self._has_time_for(recipes):
            return False
        self.record.left_out = list(self.candidates.names[place:])
        *compared, _ = recipes
        is_enough = f"are enough to compare {len(compared)} of {len(self.candidates.names)} recipes"
        if len(compared) == 1:
            is_enough = f"are too short to compare recipes, so {compared[0]} is trained"
        print(
            f"auto: {self.clock.budget / 60:g} minutes {is_enough}; not compared: {', '.join(self.record.left_out)}",
            file=sys.stderr,
        )
        self.save()
        return True

    def _has_time_for(self, recipes: Sequence[str]) -> bool:
        """Whether the first rung can train each of these recipes for long enough to say something about it."""
        slowest = max(self.record.costs.values(), key=lambda cost: cost.of(SHORTEST))
        costs = {name: self.record.costs.get(name, slowest) for name in recipes}
        left = self.clock.left() - sum(slowest.of(SHORTEST) for name in recipes if name not in self.record.costs)
        plan, usual = halving.rungs(len(recipes), self.folds), self.candidates.usual
        seconds = halving.rung_seconds(plan, 0, left, self._of_final(costs)) / len(recipes)
        compiled = {name: cost.compiled for name, cost in costs.items()}
        chosen = halving.schedules(seconds, plan[0].folds, compiled, usual, self.candidates.families)
        return all(
            cost.training(chosen[name]) >= halving.LEAST_OF_USUAL * cost.training(usual[name])
            for name, cost in costs.items()
        )

    def _of_final(self, costs: Mapping[str, Cost]) -> float:
        """Returns the seconds of the final model's usual training, whichever of these recipes it will be."""
        if not self.folds:
            return 0.0
        on_all = [self.on_all_images(name, cost) for name, cost in costs.items()]
        return max(cost.of(self.candidates.usual[name]) for name, cost in zip(costs, on_all, strict=True))

    def _spare_the_first(self) -> None:
        """Leaves out of the first recipe's cost what the first run of a process takes longer, as for libraries.

        Else it would have less time to train than the others. What a run takes beside its steps hardly differs.
        """
        first = next(name for name in self.candidates.names if name in self.record.costs)
        least = min(cost.setup for cost in self.record.costs.values())
        self.record.costs[first] = replace(self.record.costs[first], setup=least)

    def _is_measured(self, name: str) -> bool:
        """Whether a cost is known completely: earlier versions stored 0 for a generator that they had not measured."""
        cost = self.record.costs.get(name)
        return cost is not None and (cost.generator_epoch > 0 or not self.candidates.families[name])

    def _with_the_generator_of_others(self, cost: Cost, name: str, costs: Mapping[str, Cost]) -> Cost:
        """Returns a recipe's cost with that of the generator, if the run of another one of ``costs`` has trained it."""
        family = self.candidates.families[name]
        if cost.generator_epoch or not family:
            return cost
        others = [known.generator_epoch for other, known in costs.items() if self.candidates.families[other] == family]
        return replace(cost, generator_epoch=max(others, default=0.0))

    def _refuse_too_little_time(self) -> None:
        """Raises InputError if the budget is below the least for the plan; others count as the slowest."""
        slowest = max(self.record.costs.values(), key=lambda cost: cost.of(SHORTEST))
        costs = {name: self.record.costs.get(name, slowest) for name in self._converging(self.candidates.names)}
        unmeasured = sum(cost.of(SHORTEST) for name, cost in costs.items() if name not in self.record.costs)
        plan = tuple(replace(rung, recipes=min(rung.recipes, len(costs))) for rung in self.plan)
        least = halving.least_seconds(plan, costs, self.clock.used() + unmeasured)
        if least > self.clock.budget:
            number = len(costs)
            purpose = f"compare {number} recipes" if number > 1 else f"train {next(iter(costs))}"
            about = "" if len(self.record.costs) == len(costs) else "about "
            raise InputError(
                f"minutes: {self.clock.budget / 60:g} is too short to {purpose} here; it must be at least "
                f"{about}{halving.minutes_in_words(least)}"
            )

    def _begun(self, index: int, alive: Sequence[str]) -> RungRecord:
        """Returns a rung that begins now: its time is divided equally among its recipes and folds."""
        costs, planned = {name: self.record.costs[name] for name in alive}, self.plan[index]
        shortest = halving.shortest_seconds(planned, costs.values())
        seconds = halving.rung_seconds(self.plan, index, self.clock.left(), self._of_final(costs), shortest)
        of_a_recipe = seconds / len(alive)
        costs = {name: cost.compiled for name, cost in costs.items()}
        usual, families = self.candidates.usual, self.candidates.families
        schedules = halving.schedules(of_a_recipe, planned.folds, costs, usual, families)
        return RungRecord(of_a_recipe, planned.folds, self.clock.used() + seconds, schedules)

    def _compare(self, rung: RungRecord, folder: str) -> None:
        """Runs a rung fold by fold, all recipes on each; leaves out the last folds if runs are late."""
        if len(self.candidates.names) > 1:
            place, recipes = f"{len(self.record.rungs)} of {len(self.plan)}", counted(len(rung.schedules), "recipe")
            print(f"auto: comparison {place}: {recipes} on {counted(rung.folds, 'fold')}", file=sys.stderr)
        for fold in range(1, rung.folds + 1):
            left = self._converging(rung.schedules)
            missing = [name for name in left if rung.find(name, fold) is None]
            expected = self._expected_seconds(missing, rung)
            is_begun = len(missing) < len(left)
            late = self.clock.used() + expected > rung.until + SLACK * self.clock.budget
            if late and fold > 1 and not is_begun:
                return
            for name in missing:
                try:
                    tried, cost = self.trials.run(name, rung.schedules[name], folder, fold)
                except NonFiniteError as error:
                    self._leave_out(name, f"{folder}, fold {fold}", error, rung.schedules)
                    continue
                rung.tried.append(tried)
                if cost is not None:
                    known = self.record.costs[name]
                    measured = self._with_the_generator_of_others(cost, name, self.record.costs)
                    self.record.costs[name] = replace(measured, compiling=known.compiling)
                self.save()

    def _expected_seconds(self, names: Sequence[str], rung: RungRecord) -> float:
        """Returns what runs will take, if recipes of a family train a single generator."""
        seconds, families = 0.0, set()
        for name in names:
            schedule, family = rung.schedules[name], self.candidates.families[name]
            trained = Schedule(0 if family in families else schedule.generator, schedule.classifier)
            seconds += self.record.costs[name].compiled.of(trained)
            families.add(family)
        return seconds

    def _leave_out(self, name: str, place: str, error: NonFiniteError, compared: Collection[str]) -> None:
        """Leaves out a recipe that has diverged; raises the error if none of the compared recipes is left."""
        if set(self._converging(compared)) <= {name}:
            raise error
        self.record.diverged[name] = f"{place}: {error}"
        print(f"auto: {name} has diverged ({error}) and is left out", file=sys.stderr)
        self.save()
