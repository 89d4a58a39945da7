"""Measures how well photos of classes that a classifier has never seen are told from photos of its own classes.

    python -m benchmarks.unknown_classes --images=FOLDER --known=5 --per_class=20
    python -m benchmarks.unknown_classes --images=FOLDER --known=5 --per_class=20 --seeds=5 --epochs=0

Each seed draws which classes are known. A classifier is trained on some photos of these, with folds that give it a
temperature; ``--config.KEY=VALUE`` changes its settings. It then classifies other photos of the known classes, and
photos of all other classes. The folder has ``train/<class>/*`` and ``test/<class>/*``, or only ``<class>/*``; then the
other photos are those not trained on.

A score is higher, the surer the classifier is that a photo is of a known class:

- the *probability* of the most probable class, at the temperature (what ``--reject_below`` compares) and without it;
- the negative *energy* (W. Liu et al., *Energy-based out-of-distribution detection*, NeurIPS 2020), likewise.

For each score, the AUROC is the probability that a known photo has a higher score than an unknown one: 0.5 is chance
and 1 perfect. The last column is the share of unknown photos accepted by a threshold that accepts 95 % of the known
ones.
"""

import argparse
import datetime
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from jaxtyping import Float
from ml_collections import ConfigDict
from scipy import special

from benchmarks import overrides
from benchmarks.speed import processor
from chimeramix_jax.config import load, override
from chimeramix_jax.data.fitting import squared
from chimeramix_jax.data.image_files import read_rgb
from chimeramix_jax.data.image_paths import may_be_image
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.calibration import temperature_of
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import cpu_setup
from chimeramix_jax.training.temperature import probabilities

KNOWN_ACCEPTED = 0.95
_OWN = (
    "classifier.epochs",
    "compare_with_baseline",
    "dataset.data_dir",
    "dataset.directory",
    "dataset.duplicates",
    "evaluation.every_epochs",
    "folds",
    "max_labels_per_class",
    "seed",
)
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)  # of --reject_below

Scores = Float[np.ndarray, "images"]
Files = Mapping[str, Sequence[Path]]  # by class


@dataclass(frozen=True)
class Measured:
    """A seed's scores."""

    known: dict[str, Scores]  # of photos of the known classes, by the score's name
    unknown: dict[str, Scores]
    accuracy: float  # on the photos of the known classes
    of_folds: float  # the accuracy of the folds' models on photos that they were not trained on
    error: tuple[float, float]  # the expected calibration error without and with the temperature
    temperature: float


def main() -> None:
    """Prints a table of scores and one of thresholds, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, type=Path, help="folder of photos, one folder per class")
    parser.add_argument("--known", type=int, default=5, help="how many classes are known (default: %(default)s)")
    parser.add_argument("--per_class", type=int, default=20, help="training photos per class (default: %(default)s)")
    parser.add_argument("--others", type=int, default=200, help="most other photos per class (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds (default: %(default)s)")
    parser.add_argument("--folds", type=int, default=5, help="folds for the temperature (default: %(default)s)")
    usual = load("image_folder").experiment
    parser.add_argument("--experiment", default=usual, help="of configs/image_folder.py (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=0, help="of the classifier; 0 (default): as in the settings")
    arguments, changes = parser.parse_known_args()
    arguments.changes = changes
    if unknown := [text for text in changes if not text.startswith("--config.")]:
        parser.error(f"unknown: {' '.join(unknown)}; settings are written --config.KEY=VALUE")
    try:
        overrides.refuse(overrides.keys_of(changes), _OWN, "--config")
    except InputError as error:
        parser.error(str(error))
    cpu_setup.prepare()
    started, used = time.monotonic(), time.process_time()
    measured = [_measure(arguments, seed) for seed in range(arguments.seeds)]
    print(f"\n{_described(arguments)}\n")
    print("\n".join([*_about(measured), "", *_table_of_scores(measured), "", *_table_of_thresholds(measured)]))
    print(f"\n{time.monotonic() - started:.0f} s, {time.process_time() - used:.0f} s of them on the processor")


def auroc(known: Scores, unknown: Scores) -> float:
    """Returns the probability that a known photo has a higher score than an unknown one; ties count half."""
    ordered = np.sort(known)
    above = len(known) - np.searchsorted(ordered, unknown, "right")
    equal = len(known) - np.searchsorted(ordered, unknown, "left") - above
    return float(np.mean(above + equal / 2) / len(known))


def unknown_accepted(known: Scores, unknown: Scores) -> float:
    """Returns the share of unknown photos accepted by the highest threshold that accepts 95 % of the known ones."""
    threshold = np.sort(known)[len(known) - int(np.ceil(KNOWN_ACCEPTED * len(known)))]
    return float(np.mean(unknown >= threshold))


def scores_of(logits: Float[np.ndarray, "images classes"], temperature: float) -> dict[str, Scores]:
    """Returns all scores of photos, by name."""
    scaled = logits.astype(np.float64) / temperature
    return {
        "probability": probabilities(logits, temperature).max(axis=1),
        "probability, no temperature": probabilities(logits).max(axis=1),
        "energy": temperature * special.logsumexp(scaled, axis=1),
        "energy, no temperature": special.logsumexp(logits.astype(np.float64), axis=1),
    }


def _measure(arguments: argparse.Namespace, seed: int) -> Measured:
    """Trains on the classes that a seed draws, and scores photos of all classes."""
    import chimeramix_jax

    training, others = _divided(arguments, seed)
    names = sorted(training)
    if not 2 <= arguments.known < len(names):
        sys.exit(
            f"--known: {arguments.known}; it must be from 2 to {len(names) - 1}, as there are {len(names)} classes"
        )
    known = sorted(np.random.default_rng(seed).choice(names, arguments.known, replace=False).tolist())
    with tempfile.TemporaryDirectory(prefix="chimeramix-") as folder:
        photos, run = Path(folder) / "photos", Path(folder) / "run"
        for split, files in (("train", training), ("test", others)):
            for name in known:
                _link(files[name], photos / split / name)
        config = load(f"image_folder:{arguments.experiment}")
        about = {"directory": str(photos), "data_dir": str(Path(folder) / "prepared"), "duplicates": "report"}
        config.update_from_flattened_dict({f"dataset.{key}": value for key, value in about.items()})
        config.update({"seed": seed, "folds": arguments.folds, "compare_with_baseline": False})
        config.classifier.epochs = arguments.epochs or config.classifier.epochs
        config.evaluation.every_epochs = config.classifier.epochs
        override(config, arguments.changes)
        results = chimeramix_jax.train_and_evaluate(config, run)
        temperature = temperature_of(Workdir(run))
        logits = {
            kind: _logits(run, config, [path for name in chosen for path in others[name]])
            for kind, chosen in (("known", known), ("unknown", [name for name in names if name not in known]))
        }
    calibration = results["calibration"]
    errors = tuple(calibration[part]["error"] for part in ("before", "after"))
    scores = {kind: scores_of(values, temperature) for kind, values in logits.items()}
    accuracies = results["test"]["top1"], results["folds"]["top1"]
    return Measured(scores["known"], scores["unknown"], *accuracies, errors, temperature)


def _divided(arguments: argparse.Namespace, seed: int) -> tuple[Files, Files]:
    """Returns the photos of each class to train on, and some others."""
    random = np.random.default_rng(seed)
    folder = arguments.images
    has_splits = (folder / "train").is_dir() and (folder / "test").is_dir()
    training, others = {}, {}
    for of_class in sorted(path for path in (folder / "train" if has_splits else folder).iterdir() if path.is_dir()):
        photos = _shuffled(of_class, random)
        rest = _shuffled(folder / "test" / of_class.name, random) if has_splits else photos[arguments.per_class :]
        if len(photos) < arguments.per_class or not rest:
            sys.exit(f"{of_class}: has {len(photos)} photos, too few to train on {arguments.per_class} of them")
        training[of_class.name], others[of_class.name] = photos[: arguments.per_class], rest[: arguments.others]
    return training, others


def _shuffled(folder: Path, random: np.random.Generator) -> list[Path]:
    photos = sorted(path for path in folder.iterdir() if may_be_image(path.name)) if folder.is_dir() else []
    return [photos[place] for place in random.permutation(len(photos))]


def _link(photos: Sequence[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for photo in photos:
        os.symlink(photo.absolute(), folder / photo.name)


def _logits(run: Path, config: ConfigDict, photos: Sequence[Path]) -> Float[np.ndarray, "images classes"]:
    """Returns a run's logits of photos, prepared and averaged over views as for ``--stage=predict``."""
    from chimeramix_jax.data.resizing import resize
    from chimeramix_jax.runs.restore import restore_classifier
    from chimeramix_jax.training.evaluation import TestSet
    from chimeramix_jax.training.prediction import CompiledClassifier

    pixels = np.stack(
        [np.asarray(squared(read_rgb(path), config.dataset.image_side, config.dataset.fit)) for path in photos]
    )
    images = TestSet(resize(pixels, config.classifier.image_side), np.zeros(len(photos), np.int64), 500)
    return images.logits(CompiledClassifier(restore_classifier(run), config).logits)


def _described(arguments: argparse.Namespace) -> str:
    """Says what was run, where and when."""
    flags = {name: value for name, value in vars(arguments).items() if name not in ("images", "changes")}
    given = " ".join([*(f"--{name}={value}" for name, value in flags.items()), *arguments.changes])
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "flax"))
    return (
        f"`python -m benchmarks.unknown_classes --images=FOLDER {given}`\n{processor()}, Python "
        f"{platform.python_version()}, {packages}, {datetime.date.today()}"
    )


def _about(measured: Sequence[Measured]) -> list[str]:
    """Returns a line about each seed's classifier."""
    return [
        f"Seed {seed}: {len(row.known['probability'])} known and {len(row.unknown['probability'])} unknown photos; "
        f"{row.accuracy:.1%} of the known ones right (by the folds {row.of_folds:.1%}), temperature "
        f"{row.temperature:.2f}, calibration error "
        f"{row.error[0]:.1%} without and {row.error[1]:.1%} with it."
        for seed, row in enumerate(measured)
    ]


def _table_of_scores(measured: Sequence[Measured]) -> list[str]:
    """Returns the means over seeds, and the range if there are several."""
    lines = ["| score | AUROC | unknown accepted, at 95 % known accepted |", "|---|---|---|"]
    for name in measured[0].known:
        pairs = [(row.known[name], row.unknown[name]) for row in measured]
        areas, shares = [auroc(*pair) for pair in pairs], [unknown_accepted(*pair) for pair in pairs]
        lines.append(f"| {name} | {_mean(areas, '.3f')} | {_mean(shares, '.1%')} |")
    return lines


def _table_of_thresholds(measured: Sequence[Measured]) -> list[str]:
    lines = ["| `--reject_below` | known answered | unknown answered |", "|---|---|---|"]
    for threshold in THRESHOLDS:
        known, unknown = (
            [float(np.mean(scores["probability"] >= threshold)) for scores in of_kind]
            for of_kind in ([row.known for row in measured], [row.unknown for row in measured])
        )
        lines.append(f"| {threshold:g} | {_mean(known, '.1%')} | {_mean(unknown, '.1%')} |")
    return lines


def _mean(values: Sequence[float], form: str) -> str:
    text = f"{np.mean(values):{form}}"
    return text if len(values) == 1 else f"{text} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
