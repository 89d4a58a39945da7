"""Computes how ``:auto`` should divide its time and choose, from what ``benchmarks.choice_lengths`` has measured.

    python -m benchmarks.choice_shares --minutes=10,20 runs/lengths/*

Repeats the choice many times for each way to do it and each set of photos. In a choice, a training of a comparison
predicts the photos of its fold. Here these are drawn at random from the validation images, as many as a fold has, and
each is predicted as by the model that was trained for the time in question; between two measured lengths, a random part
of the photos as after the shorter one. The final accuracy is that of the chosen recipe on all validation images, after
the time that is left; a longer time than any measured counts as the longest. Nothing is trained here.

Prints for each way the mean over the sets: the final accuracy, how far it is ahead of the best single recipe and of the
first one, both with all of the time, and how often the first one was chosen; then the lead over the first for each set.
"""

import argparse
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chimeramix_jax.auto import preference
from chimeramix_jax.auto.halving import FIRST_FOLDS, KEPT, Cost, Rung, Schedule, rung_seconds

FOLDS = 5
DRAWS = 400
SHARES = ((0.05, 0.1), (0.1, 0.2), (0.1, 0.4), (0.2, 0.3), (0.2, 0.45), (0.3, 0.5))  # of the two comparisons
MARGINS = (None, 0.0, 1.0)  # None: the first recipe is like the others


@dataclass(frozen=True)
class Curve:
    """What a recipe reaches after each length of training that was measured."""

    seconds: np.ndarray  # of steps, ascending
    correct: np.ndarray  # lengths x images
    usual: float  # seconds of the usual training
    cost: Cost

    @classmethod
    def of(cls, paths: Sequence[Path]) -> "Curve":
        """Reads the files of a recipe."""
        contents = [json.loads(path.read_text()) for path in paths]
        cost = Cost(**{name: value for name, value in contents[0]["cost"].items() if name != "weights"})
        expected = np.array([cost.training(Schedule(**content["schedule"])) for content in contents])
        as_taken = sum(content["taken"] for content in contents) / expected.sum()  # single timings are coarse
        order = np.argsort(expected)
        correct = np.array([contents[place]["correct"] for place in order])
        usual = cost.training(Schedule(**contents[0]["usual"])) * as_taken
        return cls(expected[order] * as_taken, correct, usual, cost)

    def accuracy(self, seconds: float) -> float:
        """Returns the accuracy after these seconds of steps, along straight lines over their logarithm."""
        return float(np.interp(np.log(max(seconds, 1)), np.log(self.seconds), self.correct.mean(axis=1)))

    def predicted(self, seconds: float, as_shorter: np.ndarray) -> np.ndarray:
        """Returns which images are right after these seconds; ``as_shorter`` is uniform for each image."""
        place = float(np.interp(np.log(max(seconds, 1)), np.log(self.seconds), np.arange(len(self.seconds))))
        longer = self.correct[min(int(place) + 1, len(self.seconds) - 1)]
        return np.where(as_shorter > place % 1, self.correct[int(place)], longer)


@dataclass(frozen=True)
class Way:
    """A way to divide the time and to choose."""

    first: float  # shares of the two comparisons
    last: float
    final_first: bool  # whether the final model's usual training is kept for it
    margin: float | None  # the standard errors by which another recipe must be ahead of the first

    def rungs(self, recipes: int) -> tuple[Rung, ...]:
        """Returns the comparisons."""
        if recipes <= KEPT:
            return (Rung(recipes, FOLDS, 1, self.first + self.last),)
        return Rung(recipes, FIRST_FOLDS, KEPT, self.first), Rung(KEPT, FOLDS, 1, self.last)


@dataclass(frozen=True)
class Budget:
    """What every choice has."""

    seconds: float
    setup: float  # seconds of a run beside its steps
    images: int  # each is in one of the folds


def choose(curves: Mapping[str, Curve], way: Way, budget: Budget, rng: np.random.Generator) -> tuple[str, float]:
    """Repeats a choice once; returns the recipe that it chooses, and the seconds that are left for its steps."""
    names = list(curves)
    left = budget.seconds - sum(timing(curve.cost, budget) for curve in curves.values())
    images = curves[names[0]].correct.shape[1]
    drawn, as_shorter = rng.permutation(images)[: budget.images], rng.random((images,))
    plan = way.rungs(len(names))
    for index, rung in enumerate(plan):
        of_usual = max(curves[name].usual + curves[name].cost.compiling for name in names) + budget.setup
        of_final = of_usual if way.final_first else 0.0
        seconds = rung_seconds(plan, index, left, of_final)
        left -= seconds
        of_steps = seconds / len(names) / rung.folds - budget.setup
        held_out = drawn[: len(drawn) * rung.folds // FOLDS]
        right = {name: curves[name].predicted(of_steps, as_shorter)[held_out] for name in names}
        kept = ranked(right, way.margin)[: rung.kept]
        names = [name for name in names if name in kept]  # in the order of the menu
    return names[0], left - budget.setup - curves[names[0]].cost.compiling


def ranked(right: Mapping[str, np.ndarray], margin: float | None) -> list[str]:
    """Returns the recipes, the best first or, with a margin, as the program prefers them."""
    names, correct = list(right), np.stack(list(right.values()))
    if margin is None:
        return sorted(names, key=lambda name: -right[name].mean())
    return [names[place] for place in preference.ranked(correct, margin=margin)]


def timing(cost: Cost, budget: Budget) -> float:
    """Returns what it takes to time a recipe."""
    return cost.compiling + budget.setup + cost.generator_epoch + cost.classifier_epoch


def outcomes(curves: Mapping[str, Curve], way: Way, budget: Budget) -> tuple[float, float, float, float]:
    """Returns the mean accuracy for a set, its lead over the best recipe and over the first, and how often that won."""
    rng, first = np.random.default_rng(0), next(iter(curves))
    choices = [choose(curves, way, budget, rng) for _ in range(DRAWS)]
    accuracy = float(np.mean([curves[name].accuracy(seconds) for name, seconds in choices]))
    alone = {
        name: curve.accuracy(budget.seconds - budget.setup - curve.cost.compiling) for name, curve in curves.items()
    }
    firsts = float(np.mean([name == first for name, _ in choices]))
    return accuracy, accuracy - max(alone.values()), accuracy - alone[first], firsts


def curves_of(folder: Path, recipes: Sequence[str]) -> dict[str, Curve]:
    """Returns the curves in a folder of some recipes, or of all."""
    found = sorted({path.stem.rpartition("-")[0] for path in folder.glob("*.json")})
    return {name: Curve.of(sorted(folder.glob(f"{name}-*.json"))) for name in recipes or found}


def main() -> None:
    """Prints the curves, and a line for each time and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="workdirs of benchmarks.choice_lengths")
    parser.add_argument("--recipes", help="experiments, the preferred one first; without it, all that were measured")
    parser.add_argument("--minutes", default="5,10,20", help="times for everything")
    parser.add_argument("--setup", type=float, default=3, help="seconds of a run beside its steps")
    parser.add_argument("--images", type=int, default=200, help="training images")
    arguments = parser.parse_args()
    recipes = arguments.recipes.split(",") if arguments.recipes else []
    sets = {folder.name: curves_of(folder, recipes) for folder in arguments.folders}
    for name, curves in sets.items():
        for recipe, curve in curves.items():
            lengths = zip(curve.seconds, curve.correct.mean(axis=1), strict=True)
            reached = ", ".join(f"{100 * accuracy:.1f} % ({seconds:.0f} s)" for seconds, accuracy in lengths)
            print(f"{name}, {recipe}, usually {curve.usual:.0f} s: {reached}")
    print(f"minutes, shares, final first, margin | accuracy, to the best, to the first, firsts | {', '.join(sets)}")
    for minutes in map(float, arguments.minutes.split(",")):
        budget = Budget(60 * minutes, arguments.setup, arguments.images)
        for (first, last), final_first, margin in itertools.product(SHARES, (False, True), MARGINS):
            way = Way(first, last, final_first, margin)
            of_sets = 100 * np.array([outcomes(curves, way, budget) for curves in sets.values()])
            means = " ".join(f"{value:6.1f}" for value in of_sets.mean(axis=0))
            each = " ".join(f"{value:6.1f}" for value in of_sets[:, 2])
            print(f"{minutes:4g} {first:.2f} {last:.2f} {final_first!s:5} {margin!s:4} | {means} | {each}")


if __name__ == "__main__":
    main()
