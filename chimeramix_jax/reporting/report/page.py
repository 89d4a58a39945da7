"""Putting the page together: what is in the run's files, made ready for ``templates/report.html.jinja``."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int
from jinja2 import Environment, PackageLoader, StrictUndefined

from chimeramix_jax import config as settings
from chimeramix_jax import mixing_picture
from chimeramix_jax.data.loading import FewShotDataset
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting import files, lettering
from chimeramix_jax.reporting.picture_folder import kept
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.report import confusion, curves, embedding, training_charts
from chimeramix_jax.reporting.statistics import (
    Interval,
    decimals,
    is_beyond_chance,
    mcnemar,
    only_right,
    p_in_words,
    wilson_interval,
)
from chimeramix_jax.workdir import Workdir

MOST_CONFUSED_PAIRS = 8
IMAGES_OF_A_PAIR = 5
MOST_CLASSES_LISTED = 12  # of more, the best and the worst
BEST_AND_WORST = 5
MOST_TRAINING_IMAGES = 300
MOST_SHEETS_ON_THE_WAY = 4

_NEEDED = ("config", "dataset", "experiment", "max_labels_per_class", "seed")  # of the results

Predictions = Int[np.ndarray, "examples"]


@dataclass(frozen=True)
class Figures:
    """A classifier's figures, as shares; ``top5`` is None where there are too few classes for it to say anything."""

    experiment: str
    top1: float
    interval: Interval
    top5: float | None
    macro_accuracy: float
    loss: float | None


@dataclass(frozen=True)
class Difference:
    """What the same images say of two classifiers: how many each alone has right, and whether that is beyond chance."""

    only_classifier: int
    only_baseline: int
    beyond_chance: bool
    p_value: str


def write(workdir: Workdir, dataset: FewShotDataset, predictions: Mapping[str, Predictions]) -> None:
    """Writes ``report.html`` of a finished run.

    All figures are those of ``results.json``; the predictions only choose which images are shown.

    Args:
        workdir: the run's.
        dataset: what it was trained and measured on.
        predictions: the predicted class of every held-out image, for "classifier" and, where there is one, "baseline".

    Raises:
        InputError: the results or a record cannot be read.
    """
    results = _results(workdir)
    split, directory = (results["config"]["dataset"][key] for key in ("evaluate_on", "directory"))
    experiments = {"classifier": results["experiment"]} | ({"baseline": "baseline"} if "baseline" in results else {})
    measured = {results["experiment"]: results[split]}
    if "baseline" in results:
        measured["baseline"] = results["baseline"][split]
    records = {experiment: workdir.path / part for part, experiment in experiments.items()}
    content = {
        "results": results,
        "subject": os.path.basename(os.path.abspath(directory)) if directory else results["dataset"],
        "split": split,
        "examples": results[split]["examples"],
        "figures": [_figures(name, one, len(dataset.class_names)) for name, one in measured.items()],
        "difference": _difference(dataset.held_out.labels, predictions),
        "generator_charts": training_charts.generator_charts(workdir.generator_home().generator),
        "classifier_charts": training_charts.classifier_charts(records, measured, split),
        "training": _training_images(dataset),
        "training_images": len(dataset.train.labels),
        "times": {part: duration(seconds) for part, seconds in results["seconds"].items()},
        "settings": settings.flatten(results["config"]),
    }
    content |= _classes(np.asarray(results[split]["confusion"]), dataset, predictions["classifier"])
    content |= _mixing(workdir)
    content["legend"] = lettering.legend(dataset.class_names[: mixing_picture.MOST_PAIRS])
    page = _environment().get_template("report.html.jinja").render(content)
    files.write_bytes(workdir.report, page.encode())


def _results(workdir: Workdir) -> dict[str, Any]:
    """The run's results, with what came later where they are of an earlier version."""
    results = {"seconds": {}, "device": {}, "machine": {}, "versions": {}} | workdir.read_results()
    lacking = [key for key in _NEEDED if key not in results]
    if lacking:
        raise InputError(f"{workdir.results}: has no {', '.join(lacking)}; write it anew with --stage=evaluate")
    return results | {"config": settings.config_to_dict(settings.from_dict(results["config"]))}


def _environment() -> Environment:
    """Everything is escaped: names of classes and folders are their users' to choose."""
    environment = Environment(
        loader=PackageLoader("chimeramix_jax.reporting.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share, digits: f"{100 * share:.{digits}f}%"
    environment.globals["decimals"] = decimals
    environment.globals["curves"] = curves
    environment.globals["heat_rules"] = confusion.heat_rules
    return environment


def _figures(experiment: str, evaluation: Mapping[str, Any], classes: int) -> Figures:
    return Figures(
        experiment,
        evaluation["top1"],
        wilson_interval(round(evaluation["top1"] * evaluation["examples"]), evaluation["examples"]),
        evaluation["top5"] if classes > 5 else None,
        evaluation["macro_accuracy"],
        evaluation["loss"],
    )


def _difference(labels: Int[np.ndarray, "examples"], predictions: Mapping[str, Predictions]) -> Difference | None:
    """How classifier and baseline differ image by image; None where there is but one of them."""
    if "baseline" not in predictions:
        return None
    alone = only_right(predictions["classifier"] == labels, predictions["baseline"] == labels)
    p_value = mcnemar(*alone)
    return Difference(*alone, is_beyond_chance(p_value), p_in_words(p_value))


def _classes(matrix: confusion.Confusion, dataset: FewShotDataset, predictions: Predictions) -> dict[str, Any]:
    """Which classes are taken for which, and how well each is recognized."""
    shares = confusion.class_shares(matrix, dataset.class_names)
    return {
        "heat_table": confusion.heat_table(matrix, dataset.class_names),
        "levels": confusion.LEVELS,
        "pairs": [
            (pair, _mistaken_images(pair, dataset, predictions))
            for pair in confusion.most_confused(matrix, dataset.class_names, MOST_CONFUSED_PAIRS)
        ],
        "classes": shares if len(shares) <= MOST_CLASSES_LISTED else None,
        "best": shares[:BEST_AND_WORST],
        "worst": shares[: -BEST_AND_WORST - 1 : -1],
    }


def _mistaken_images(pair: confusion.ConfusedPair, dataset: FewShotDataset, predictions: Predictions) -> list[str]:
    names, held_out = dataset.class_names, dataset.held_out
    mistaken = (held_out.labels == names.index(pair.true)) & (predictions == names.index(pair.predicted))
    return [embedding.image_uri(held_out.images[place]) for place in np.flatnonzero(mistaken)[:IMAGES_OF_A_PAIR]]


def _mixing(workdir: Workdir) -> dict[str, Any]:
    """The sheets of the finished generator, and some of those from its training's beginning to its end."""
    final = {mixing_picture.PAIRS: workdir.picture, mixing_picture.MASKS: workdir.masks_picture}
    drawn = kept(workdir.generator_home().generator / "pictures", mixing_picture.PAIRS)
    epochs = list(drawn)
    places = np.linspace(0, len(epochs) - 1, min(len(epochs), MOST_SHEETS_ON_THE_WAY)).round().astype(int)
    return {
        "sheets": {name: embedding.file_uri(path) for name, path in final.items() if path.exists()},
        "sheets_on_the_way": {epochs[place]: embedding.file_uri(drawn[epochs[place]]) for place in places},
    }


def _training_images(dataset: FewShotDataset) -> list[tuple[str, int, list[str]]]:
    """Every class's name, its number of training images, and as many of these as the page has room for."""
    most = max(MOST_TRAINING_IMAGES // len(dataset.class_names), 1)
    groups = []
    for label, name in enumerate(dataset.class_names):
        places = np.flatnonzero(dataset.train.labels == label)
        images = [embedding.image_uri(dataset.train.images[place]) for place in places[:most]]
        groups.append((name, len(places), images))
    return groups
