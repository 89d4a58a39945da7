"""The plan of successive halving, as pure functions: what is compared, on how many folds, for how long.

A rung gives every recipe the same time, the training of its generator included, and keeps the best. Every rung trains
anew with a schedule that is complete within that time, since an accuracy halfway down a cosine says little about the
end. Time is divided rather than epochs, because the final model has a limit on time, too: a recipe with slow steps has
to be better in fewer of them.

The final model comes first: what its usual training takes is kept for it, and the rungs divide the rest. With less than
that it loses more than any choice of ours has gained; with more, it gains little (``docs/results.md``, "How a choice
should divide its time").
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

FIRST_FOLDS = 2  # enough to see who is far behind
KEPT = 2  # recipes that the first rung leaves for the second
FIRST_SHARE, LAST_SHARE = 0.2, 0.45  # of the time, at most; the rest is for the final model
LEAST_OF_USUAL = 0.1  # of a recipe's usual training: with less, a rung says too little about it
LEAST_SHARE = 0.3  # of the time is for the rungs, however little that leaves for the final model


@dataclass(frozen=True)
class Schedule:
    """Epochs of training; those of the generator are 0 for a recipe that has none."""

    generator: int
    classifier: int


SHORTEST = Schedule(1, 1)


@dataclass(frozen=True)
class Cost:
    """What a recipe's runs take, in seconds."""

    compiling: float  # and tracing, in the first run; others with as many images share its programs, at any schedule
    setup: float  # everything else in a run but the steps
    generator_epoch: float
    classifier_epoch: float
    weights: tuple[float, ...] = ()  # the seconds of a classifier's step at each of its growing sides, if it has any

    def of(self, schedule: Schedule, runs: int = 1) -> float:
        """Returns the seconds of this many runs of a schedule."""
        return self.compiling + runs * (self.setup + self.training(schedule))

    @property
    def compiled(self) -> "Cost":
        """The cost of runs whose programs have been compiled before."""
        return replace(self, compiling=0.0)

    def training(self, schedule: Schedule) -> float:
        """Returns the seconds of a run's steps."""
        return schedule.generator * self.generator_epoch + schedule.classifier * self.classifier_epoch


@dataclass(frozen=True)
class Rung:
    """A comparison: the number of recipes and of folds, how many recipes are kept, and its share of the whole time."""

    recipes: int
    folds: int
    kept: int
    share: float


def rungs(recipes: int, folds: int) -> tuple[Rung, ...]:
    """Returns the rungs for a number of recipes and folds: the last one compares on all folds and keeps one recipe.

    A single recipe has a rung if there are folds, which only shows how accurate it is; without folds there is none.
    """
    if not folds:
        return ()
    if recipes <= KEPT:
        return (Rung(recipes, folds, 1, FIRST_SHARE + LAST_SHARE),)
    return (Rung(recipes, min(FIRST_FOLDS, folds), KEPT, FIRST_SHARE), Rung(KEPT, folds, 1, LAST_SHARE))


def rung_seconds(
    plan: tuple[Rung, ...], index: int, left: float, of_final: float = 0.0, shortest: float = 0.0
) -> float:
    """Returns a rung's part of the time that is left when it begins: what earlier rungs saved is divided, too.

    Args:
        plan: all rungs.
        index: the place of the rung in it.
        left: the seconds that are left.
        of_final: the seconds that the final model's usual training takes. The rungs divide the rest, but have
            ``LEAST_SHARE`` of the time in any case.
        shortest: the seconds that the rung takes with an epoch of each stage, which it has in any case, too.
    """
    later, everything = sum(rung.share for rung in plan[index:]), sum(rung.share for rung in plan)
    share = plan[index].share
    of_rungs = max(left - of_final, LEAST_SHARE * left * later / everything)
    return min(max(of_rungs * share / later, shortest), left * share / (later + final_share(plan)))


def final_share(plan: tuple[Rung, ...]) -> float:
    """Returns the share of the whole time that the rungs leave for the final model."""
    return 1 - sum(rung.share for rung in plan)


def schedules(
    seconds: float, runs: int, costs: Mapping[str, Cost], usual: Mapping[str, Schedule], families: Mapping[str, str]
) -> dict[str, Schedule]:
    """Returns the schedule of each recipe whose runs fit into these seconds, at least one epoch of each stage.

    Generator and classifier divide the time as in the usual schedule. Recipes of a family get equally many epochs of
    the generator, so that it is trained only once for all of them, but each is charged for it.
    """
    steps = {name: (seconds - cost.compiling) / runs - cost.setup for name, cost in costs.items()}  # seconds of a run
    generators = {}
    for name, cost in costs.items():
        epochs = usual[name].generator * steps[name] / cost.training(usual[name])
        generators[name] = max(int(epochs), 1) if usual[name].generator else 0
    shared = {
        family: min(generators[name] for name in costs if families[name] == family)
        for family in {families[name] for name in costs}
    }
    chosen = {}
    for name, cost in costs.items():
        generator = shared[families[name]] if generators[name] else 0
        left = steps[name] - generator * cost.generator_epoch
        chosen[name] = Schedule(generator, max(int(left / cost.classifier_epoch), 1))
    return chosen


def shortest_seconds(rung: Rung, costs: Iterable[Cost]) -> float:
    """Returns what a rung takes with an epoch of everything; all recipes have the same time as the slowest."""
    return rung.recipes * max(cost.compiled.of(SHORTEST, rung.folds) for cost in costs)


def least_seconds(plan: tuple[Rung, ...], costs: Mapping[str, Cost], used: float) -> float:
    """Returns the least time for the whole plan, given what measuring the costs has taken: one epoch of everything.

    If there are rungs, the final model has more images than the runs that were measured, and has to be compiled.
    """
    of_final = [cost if plan else cost.compiled for cost in costs.values()]
    needed = [max(cost.of(SHORTEST) for cost in of_final) / final_share(plan)]
    return used + max(needed + [shortest_seconds(rung, costs.values()) / rung.share for rung in plan])


def minutes_in_words(seconds: float) -> str:
    """Returns a time, rounded up to what one would ask for: ``1.5`` or ``12`` minutes."""
    minutes = math.ceil(seconds / 30) / 2
    return f"{minutes:g}" if minutes < 5 else str(math.ceil(minutes))
