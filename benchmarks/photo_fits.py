"""Compares the values of ``dataset.fit`` on a folder of photos: crop, pad and stretch.

    python -m benchmarks.photo_fits --images=FOLDER --workdir=runs/fits
    python -m benchmarks.photo_fits --images=FOLDER --workdir=runs/fits --seeds=0:3 --fits=crop,pad --per_class=20
    python -m benchmarks.photo_fits --images=FOLDER --workdir=runs/fits-by-folds --folds=5
    python -m benchmarks.photo_fits --images=FOLDER --workdir=runs/fits --report  # what is finished so far

Each seed draws its own few training photos of every class, the same for all fits. Everything else is that of the
settings, which arguments such as ``--config.classifier.epochs=10`` change.

Test images are never looked at. Of a folder with ``train/<class>/*``, only that part is used: classifiers are measured
on its photos that a seed has not drawn or, with ``--folds``, on the folds of those that it has drawn. In a folder with
``<class>/*`` only, the photos that a run would hold out for testing are left aside; as folds would include them,
``--folds`` needs ``train/``.

Accuracies are top-1 after the last epoch. Intervals are Student's 95 % intervals of means over seeds and, for
differences, of means of the seeds' paired differences. The same command resumes after an interruption, and prints only
the tables if everything is finished.
"""

import argparse
import datetime
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from ml_collections import ConfigDict

from benchmarks.speed import processor
from chimeramix_jax import config as settings
from chimeramix_jax.config.rules import FITS
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.results import aligned
from chimeramix_jax.reporting.statistics import Estimate, estimate
from chimeramix_jax.runs import data_check
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import compilation_cache, cpu_setup

Accuracies = Mapping[str, Mapping[int, float]]  # in per cent, of the finished seeds, by fit and seed


@dataclass(frozen=True)
class Comparison:
    """What is compared, and where its files are."""

    config: ConfigDict  # the settings of all runs, for seed 0 and photos that are cropped
    fits: Sequence[str]
    seeds: Sequence[int]
    folds: int  # 0: measured on the photos that a seed has not drawn
    workdir: Path

    def train(self) -> None:
        """Trains every run that is not finished; a seed's runs follow one another, so that it can be compared early."""
        from chimeramix_jax import train_and_evaluate

        for seed in self.seeds:
            for fit in self.fits:
                for fold in self._fold_numbers:
                    config, run = self._config(fit, seed, fold), self._run(fit, seed, fold)
                    if run.results.exists():
                        run.refuse_other_settings(config)
                        continue
                    results = train_and_evaluate(config, run.path)
                    print(f"{run.path.relative_to(self.workdir)}: {results['validation']['top1']:.2%}", flush=True)

    def accuracies(self) -> Accuracies:
        """Returns the accuracies of the seeds of which all runs are finished."""
        measured: dict[str, dict[int, float]] = {}
        for fit in self.fits:
            measured[fit] = {}
            for seed in self.seeds:
                runs = [self._run(fit, seed, fold) for fold in self._fold_numbers]
                if all(run.results.exists() for run in runs):
                    found = [run.read_results()["validation"] for run in runs]
                    right = sum(part["top1"] * part["examples"] for part in found)
                    measured[fit][seed] = 100 * right / sum(part["examples"] for part in found)
        return measured

    def share_cut(self) -> str:
        """Says how many of the photos lose much of their area to the central crop; nothing before the first run."""
        runs = (self._run(fit, seed, fold) for seed in self.seeds for fit in self.fits for fold in self._fold_numbers)
        findings = next(filter(None, map(data_check.read, runs)), None)
        if findings is None:
            return ""
        images = sum(findings["images"].values())
        return f"{findings['cut']} of {images} photos lose more than 30 % of their area to the central crop."

    @property
    def _fold_numbers(self) -> range:
        return range(1, self.folds + 1) if self.folds else range(1)

    def _run(self, fit: str, seed: int, fold: int) -> Workdir:
        return Workdir(self.workdir / fit / (f"seed-{seed}" + (f"-fold-{fold}" if fold else "")))

    def _config(self, fit: str, seed: int, fold: int) -> ConfigDict:
        config = self.config.copy_and_resolve_references()
        config.update_from_flattened_dict(
            {"seed": seed, "folds": self.folds, "fold": fold, "dataset.fit": fit, "dataset.evaluate_on": "validation"}
        )
        settings.check(config)
        return config


def main() -> None:
    """Trains what is missing and prints the tables, as Markdown would show them."""
    arguments, others = _parser().parse_known_args()
    cpu_setup.prepare()
    compilation_cache.enable()
    try:
        comparison = _comparison(arguments, others)
        if not arguments.report:
            comparison.train()
        print(f"\n{_described(arguments, others)}\n{comparison.share_cut()}\n")
        print(tables(comparison.accuracies(), comparison.seeds))
    except InputError as error:
        sys.exit(f"photo_fits: {error}")


def tables(accuracies: Accuracies, seeds: Sequence[int]) -> str:
    """Returns a table of the seeds' accuracies and one of the means, with the paired differences from the first fit."""
    first, *others = accuracies
    rows = [["top-1, %", *accuracies]]
    for seed in seeds:
        cells = (f"{row[seed]:.2f}" if seed in row else "unfinished" for row in accuracies.values())
        rows.append([f"seed {seed}", *cells])
    closing = [["mean, 95 % interval", "points"]]
    for fit, row in accuracies.items():
        closing.append([fit, _shown(list(row.values()))])
    for fit in others:
        both = [seed for seed in accuracies[first] if seed in accuracies[fit]]
        closing.append([f"{fit} - {first}", _shown([accuracies[fit][seed] - accuracies[first][seed] for seed in both])])
    return f"{aligned(rows)}\n\n{aligned(closing)}"


def _shown(values: Sequence[float]) -> str:
    if not values:
        return "unfinished"
    mean: Estimate = estimate(values)
    reach = "" if mean.interval is None else f" ±{mean.interval[1] - mean.mean:.2f}"
    return f"{mean.mean:.2f}{reach}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, type=Path, help="folder of photos, one folder per class")
    parser.add_argument("--workdir", required=True, type=Path, help="folder of the runs")
    parser.add_argument("--fits", default=",".join(FITS), help="which are compared (default: %(default)s)")
    parser.add_argument("--seeds", default="0:3", help="such as 0,1,4, or 0:5 for 0 to 4 (default: %(default)s)")
    parser.add_argument("--per_class", type=int, default=20, help="training photos per class (default: %(default)s)")
    parser.add_argument("--folds", type=int, default=0, help="0 (default): measure on the photos not drawn")
    parser.add_argument("--config", default="image_folder", help="config file and experiment (default: %(default)s)")
    parser.add_argument("--report", action="store_true", help="train nothing: print what is finished")
    return parser


def _comparison(arguments: argparse.Namespace, others: Sequence[str]) -> Comparison:
    """Returns what the command line asks for; raises InputError if it cannot be done."""
    fits = arguments.fits.split(",")
    if len(set(fits)) < len(fits) or not set(fits) <= set(FITS):
        raise InputError(f"--fits: {arguments.fits!r}; it must name some of {', '.join(FITS)}, each once")
    seeds = settings.parse_seeds(arguments.seeds)
    if not seeds:
        raise InputError("--seeds: names no seed")
    images = arguments.images / "train"
    if not images.is_dir():
        images = arguments.images
        if arguments.folds:
            raise InputError(f"--folds: {images} has no folder train, so the folds would include photos for testing")
    config = settings.load(arguments.config)
    unknown = settings.override(config, others)
    if unknown:
        raise InputError(f"{unknown[0]}: there is no such flag")
    data = {"name": "image_folder", "directory": str(images), "data_dir": str(arguments.workdir / "prepared")}
    config.update_from_flattened_dict({f"dataset.{key}": value for key, value in data.items()})
    config.max_labels_per_class = arguments.per_class
    config.compare_with_baseline = False
    config.evaluation.every_epochs = config.classifier.epochs  # only at the end
    return Comparison(config, fits, seeds, arguments.folds, arguments.workdir)


def _described(arguments: argparse.Namespace, others: Sequence[str]) -> str:
    """Says what was run, where and when."""
    shown = {name: value for name, value in vars(arguments).items() if name not in ("images", "workdir", "report")}
    given = " ".join([*(f"--{name}={value}" for name, value in shown.items()), *others])
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "flax", "pillow"))
    return (
        f"`python -m benchmarks.photo_fits --images=FOLDER --workdir=RUNS {given}`\n{processor()}, {os.cpu_count()} "
        f"cores, Python {platform.python_version()}, {packages}, {datetime.date.today()}"
    )


if __name__ == "__main__":
    main()
