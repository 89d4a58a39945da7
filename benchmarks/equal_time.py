"""Compares recipes on a folder of images when each may use the same processor time, its generator included.

    python -m benchmarks.equal_time --images=path/to/images --seconds=300 --workdir=runs/equal_time \\
        --recipe=plain:mixup_trivialaugment \\
        --recipe=mixed:chimeramix_grid_trivialaugment,augment.mixup=true,generator.architecture=patches
    python -m benchmarks.equal_time ... --report  # what is finished so far

A recipe is ``NAME:EXPERIMENT[,SETTING=VALUE...]`` on top of ``configs/image_folder.py``. The generator's epochs are as
its settings say. The classifier's epochs are chosen such that both stages together use the given time, which does not
contain compiling and evaluation. Runs of different lengths show what an epoch costs. They are made once for each
folder, number of images and recipe, and all seeds then train for the same number of epochs.

Processor time, summed over cores, depends less on other work than wall-clock time, but it does: measure the recipes
of one comparison on the same machine while it is calm. ``--threads=1`` makes it the time of one core, so several
folders can be compared at once under ``taskset``. Each seed draws its own few-shot subset, the same for all recipes.
Differences are to the first recipe, paired by seed, with Student's 95 % interval. The table also has the processor
seconds of the whole runs, on average, with compiling and evaluation.
``--evaluate_on=test`` measures on test images, for results; the default, validation images, is for choosing settings.
The same command resumes.
"""

import argparse
import dataclasses
import functools
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from benchmarks import overrides, same_images
from benchmarks.accuracy import OURS, prepare_machine, shown
from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.config import rules
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.statistics import estimate
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.runs import lock
from chimeramix_jax.runtime import compilation_cache

CONFIG_FILE = "configs/image_folder.py"
SHORT, LONG = 4, 12  # epochs of the first runs that show what an epoch costs
_OWN = (
    "classifier.epochs",  # from the given time
    "compare_with_baseline",
    "dataset.data_dir",
    "dataset.directory",
    "dataset.evaluate_on",
    "evaluation.every_epochs",
    "max_labels_per_class",
    "seed",
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A named experiment with changed settings.

    Attributes:
        name: a word, also the name of its folders.
        experiment: one of the program's experiments.
        changes: ``(setting, value)`` as on the command line, such as ``("augment.mixup", "true")``.
    """

    name: str
    experiment: str
    changes: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Recipe":
        """Returns the recipe that ``NAME:EXPERIMENT[,SETTING=VALUE...]`` describes; raises InputError."""
        name, colon, rest = text.partition(":")
        experiment, *changes = rest.split(",")
        pairs = tuple((key, value) for key, equals, value in (change.partition("=") for change in changes) if equals)
        if not (name.isidentifier() and colon and experiment) or len(pairs) < len(changes):
            raise InputError(f"--recipe={text}: must be NAME:EXPERIMENT[,SETTING=VALUE...]")
        return cls(name, experiment, pairs)


@dataclasses.dataclass(frozen=True)
class Epochs:
    """How long a recipe trains.

    Attributes:
        generator: its epochs; 0 without a generator.
        classifier: its epochs.
        generator_seconds: processor time of a generator's epoch.
        classifier_seconds: processor time of a classifier's epoch, on average over its image sides.
    """

    generator: int
    classifier: int
    generator_seconds: float
    classifier_seconds: float


@dataclasses.dataclass(frozen=True)
class Study:
    """Recipes on one folder of images.

    Attributes:
        images: the folder, with ``train/<class>/*`` and, to evaluate on test images, ``test/<class>/*``.
        images_per_class: training images of each class.
        seconds: processor time of both stages of a recipe.
        recipes: the first of them is what the others are compared with.
        seeds: seeds of the few-shot subsets and of all random numbers.
        evaluate_on: "validation" or "test".
        workdir: folder of runs and results.
    """

    images: str
    images_per_class: int
    seconds: float
    recipes: Sequence[Recipe]
    seeds: Sequence[int]
    evaluate_on: str
    workdir: Path

    def config_of(self, recipe: Recipe, seed: int, generator: int | None = None, classifier: int = 1) -> ConfigDict:
        """Returns the settings of a run with these epochs of both stages; raises InputError if one is wrong."""
        overrides.refuse([key for key, _ in recipe.changes], _OWN, f"--recipe={recipe.name}")
        config = settings.load(f"{CONFIG_FILE}:{recipe.experiment}")
        config.dataset.directory, config.dataset.data_dir = self.images, str(self.workdir / "data")
        config.dataset.evaluate_on = self.evaluate_on
        config.max_labels_per_class, config.seed = self.images_per_class, seed
        config.compare_with_baseline, config.evaluation.every_epochs = False, rules.NEVER
        settings.override(config, [f"--config.{key}={value}" for key, value in recipe.changes])
        config.classifier.epochs = classifier
        if generator is not None:
            config.generator.epochs = generator
        settings.check(config)
        return config

    def check(self) -> None:
        """Checks all recipes, and that ``workdir`` has no results of another study; raises InputError."""
        for recipe in self.recipes:
            self.config_of(recipe, 0, classifier=LONG)
        for file, mine in [(self._file, self._identity()), *((self._recipe_file(r), _plain(r)) for r in self.recipes)]:
            stored = json.loads(file.read_text()) if file.exists() else {}
            for key, value in stored.items():
                if key in mine and key != "images" and mine[key] != value:
                    raise InputError(f"{file}: {key} was {value!r}, now it is {mine[key]!r}; choose another --workdir")
        if self._file.exists():
            places = {self._result_file(recipe, seed): seed for recipe in self.recipes for seed in self.seeds}
            named_then = json.loads(self._file.read_text()).get("images")
            same_images.check(places, self.images, named_then, self._digests)

    def train(self) -> None:
        """Trains everything that is not finished, in the order of seeds, then recipes."""
        self.workdir.mkdir(parents=True, exist_ok=True)
        with lock.locked(self.workdir):
            files.write_json(self._file, self._identity())
            for seed in self.seeds:
                for recipe in self.recipes:
                    if not self._result_file(recipe, seed).exists():
                        self._train(recipe, seed)

    def results(self) -> dict[tuple[str, int], float]:
        """Returns the accuracy of every finished run, in percent, by recipe and seed."""
        places = {
            (recipe.name, seed): self._result_file(recipe, seed) for recipe in self.recipes for seed in self.seeds
        }
        return {place: 100 * json.loads(file.read_text())["top1"] for place, file in places.items() if file.exists()}

    def seconds_used(self, recipe: Recipe) -> list[float]:
        """Returns the processor time of a recipe's finished runs, with compiling and evaluation."""
        rows = (self._result_file(recipe, seed) for seed in self.seeds)
        return [json.loads(file.read_text())["processor_seconds"] for file in rows if file.exists()]

    def epochs(self, recipe: Recipe) -> Epochs | None:
        """Returns how long a recipe trains; None if that has not been measured."""
        file = self._recipe_file(recipe)
        return Epochs(**json.loads(file.read_text())["epochs"]) if file.exists() else None

    def _digests(self, seed: int) -> dict[str, str]:
        dataset = self.config_of(Recipe("images", "baseline"), seed).dataset  # the same for all recipes
        return same_images.digests_of(dataset, self.images_per_class, seed)

    def _train(self, recipe: Recipe, seed: int) -> None:
        epochs = self.epochs(recipe)
        if epochs is None:
            epochs = self._measured(recipe)
            files.write_json(self._recipe_file(recipe), _plain(recipe) | {"epochs": dataclasses.asdict(epochs)})
        config = self.config_of(recipe, seed, epochs.generator or None, epochs.classifier)
        digests = self._digests(seed)
        results, seconds = _run(config, self.workdir / f"seed{seed}" / recipe.name)
        row = {
            "top1": results[self.evaluate_on]["top1"],
            "examples": results[self.evaluate_on]["examples"],
            "processor_seconds": seconds,  # of this process: less than the run's if it was interrupted
            "versions": results["versions"] | {"commit": results["git_commit"]},
            same_images.KEY: digests,
        }
        files.write_json(self._result_file(recipe, seed), row)
        print(f"seed {seed}, {recipe.name}: {100 * row['top1']:.2f} %", flush=True)

    def _measured(self, recipe: Recipe) -> Epochs:
        """Returns a recipe's epochs, from the processor time of short runs."""
        folder = self.workdir / "timing" / recipe.name
        shutil.rmtree(folder, ignore_errors=True)  # an interrupted run would go on where it was, and take less time
        config = self.config_of(recipe, self.seeds[0], classifier=LONG)
        mixes = config.mixing.mask != "none" and config.mixing.of == "features"

        @functools.cache  # a run that is finished takes no time
        def seconds(generator: int, classifier: int) -> float:
            shorter = self.config_of(recipe, self.seeds[0], generator if mixes else None, classifier)
            length = f"{generator}+{classifier}"  # in folders of their own: runs beside each other share a generator
            return _run(shorter, folder / length / "run")[1]

        seconds(1, 1)  # compiles what the others take from the cache
        classifier = seconds_per_epoch(lambda epochs: seconds(1, epochs), SHORT, LONG)
        generator = seconds_per_epoch(lambda epochs: seconds(epochs, SHORT), 1, 3) if mixes else 0.0
        generator_epochs = config.generator.epochs if mixes else 0
        left = self.seconds - generator * generator_epochs
        if left < classifier:
            raise InputError(
                f"--seconds={self.seconds:g}: the generator of {recipe.name} takes {generator * generator_epochs:.0f}; "
                "set generator.epochs lower"
            )
        return Epochs(generator_epochs, round(left / classifier), generator, classifier)

    def _identity(self) -> dict[str, Any]:
        return {
            "images": str(Path(self.images).absolute()),
            "images_per_class": self.images_per_class,
            "seconds": self.seconds,
            "evaluate_on": self.evaluate_on,
        }

    @property
    def _file(self) -> Path:
        return self.workdir / "study.json"

    def _recipe_file(self, recipe: Recipe) -> Path:
        return self.workdir / "recipes" / f"{recipe.name}.json"

    def _result_file(self, recipe: Recipe, seed: int) -> Path:
        return self.workdir / f"seed{seed}" / f"{recipe.name}.json"


def seconds_per_epoch(seconds: Callable[[int], float], short: int, long: int) -> float:
    """Returns what each further epoch of a run adds to its time, in seconds.

    What a run takes besides its epochs differs from run to run. So the longer run gets more epochs until they take at
    least as long as the whole short run.

    Args:
        seconds: the time of a run of so many epochs.
        short: epochs of the shorter run.
        long: epochs of the longer run at first.

    Raises:
        InputError: a million epochs do not take long enough.
    """
    least = seconds(short)
    more = long - short
    while more < rules.NEVER:
        added = seconds(short + more) - least
        if added >= least:
            return added / more
        more = math.ceil(more * min(max(1.2 * least / max(added, 1e-9), 1.5), 8.0))
    raise InputError("an epoch takes too little time to be measured")


def _plain(recipe: Recipe) -> dict[str, Any]:
    """Returns a recipe in JSON's types."""
    return {"experiment": recipe.experiment, "changes": [list(pair) for pair in recipe.changes]}


def _run(config: ConfigDict, workdir: Path) -> tuple[Mapping[str, Any], float]:
    """Trains a run or continues it; returns its results and the processor time that this took, in seconds."""
    from chimeramix_jax import train_and_evaluate

    started = time.process_time()
    results = train_and_evaluate(config, workdir)
    return results, time.process_time() - started


def table(study: Study) -> str:
    """Returns a row per recipe: its epochs, what its runs took, its accuracy, and the difference to the first one."""
    results = study.results()
    rows = [["recipe", "epochs", "seconds", study.evaluate_on, "difference", "ahead"]]
    first = study.recipes[0]
    for recipe in study.recipes:
        epochs = study.epochs(recipe)
        lengths = "not measured" if epochs is None else f"{epochs.generator} + {epochs.classifier}"
        accuracies = [results[recipe.name, seed] for seed in study.seeds if (recipe.name, seed) in results]
        pairs = [(results.get((recipe.name, seed)), results.get((first.name, seed))) for seed in study.seeds]
        differences = [mine - other for mine, other in pairs if mine is not None and other is not None]
        compared = recipe != first and differences
        ahead = f"{sum(d > 0 for d in differences)} of {len(differences)}" if compared else ""
        difference = shown(estimate(differences), len(study.seeds), "+") if compared else ""
        mean = shown(estimate(accuracies) if accuracies else None, len(study.seeds))
        used = study.seconds_used(recipe)
        seconds = f"{sum(used) / len(used):.0f}" if used else ""
        rows.append([recipe.name, lengths, seconds, mean, difference, ahead])
    return aligned(rows)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, help="folder that holds train/<class>/*")
    parser.add_argument("--images_per_class", type=int, default=20, help="training images of each class")
    parser.add_argument("--seconds", type=float, default=300.0, help="processor time of a recipe's training")
    parser.add_argument("--recipe", action="append", required=True, help="NAME:EXPERIMENT[,SETTING=VALUE...]")
    parser.add_argument("--seeds", default="0:5", help="such as 0,1,4, or 0:5 for 0 to 4")
    parser.add_argument("--evaluate_on", choices=("validation", "test"), default="validation")
    parser.add_argument("--workdir", required=True, help="folder of runs and results")
    parser.add_argument("--threads", type=int, default=1, help="cores that the process may use; 0: all it has")
    parser.add_argument("--report", action="store_true", help="train nothing: print what is finished")
    return parser.parse_args(arguments)


def main() -> None:
    """Trains everything that is not finished, and prints the table."""
    arguments = parse_arguments()
    try:
        study = Study(
            arguments.images,
            arguments.images_per_class,
            arguments.seconds,
            [Recipe.parse(text) for text in arguments.recipe],
            settings.parse_seeds(arguments.seeds),
            arguments.evaluate_on,
            Path(arguments.workdir),
        )
        study.check()
        if not arguments.report:
            prepare_machine(arguments.threads, [OURS])
            compilation_cache.enable()  # otherwise the second of two equal runs would compile as long as the first
            study.train()
    except InputError as error:
        print(f"equal_time: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"{arguments.images_per_class} images per class of {arguments.images}, {arguments.seconds:g} s each\n")
    print(table(study))


if __name__ == "__main__":
    main()
