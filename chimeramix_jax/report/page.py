"""Prepares the files of a run for ``templates/report.html.jinja`` and writes the page."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Int
from jinja2 import Environment, PackageLoader, StrictUndefined

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.data.loading import FewShotDataset
from chimeramix_jax.errors import InputError
from chimeramix_jax.mixing import pictures
from chimeramix_jax.report import auto_choice, confusion, curves, embedding, training_charts
from chimeramix_jax.reporting import lettering
from chimeramix_jax.reporting.picture_folder import pictures_by_epoch
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.results import FOLDS, split_of
from chimeramix_jax.reporting.statistics import (
    decimals,
    is_significant,
    mcnemar,
    only_right,
    p_in_words,
    wilson_interval,
)
from chimeramix_jax.runs.workdir import Workdir

MOST_CONFUSED_PAIRS = 8
IMAGES_OF_A_PAIR = 5
MOST_CLASSES_LISTED = 12  # with more classes, only the best and the worst are listed
BEST_AND_WORST = 5
MOST_TRAINING_IMAGES = 300
MOST_SHEETS_DURING_TRAINING = 4

_NEEDED = ("config", "dataset", "experiment", "max_labels_per_class", "seed")  # of the results

Predictions = Int[np.ndarray, "examples"]


def write(workdir: Workdir, dataset: FewShotDataset, predictions: Mapping[str, Predictions]) -> None:
    """Writes ``report.html`` of a finished run; raises InputError if its results or a metrics log cannot be read.

    All figures come from ``results.json``, except for the comparison with the baseline and the misclassified images.
    These come from ``predictions``: the predicted class of every held-out image, by "classifier" and "baseline".
    """
    results = _results(workdir)
    split, directory = split_of(results), results["config"]["dataset"]["directory"]
    experiments = {"classifier": results["experiment"]} | ({"baseline": "baseline"} if "baseline" in results else {})
    measured = {results["experiment"]: results[split]}
    if "baseline" in results:
        measured["baseline"] = results["baseline"][split]
    logs = {experiment: workdir.path / part for part, experiment in experiments.items()}
    content = {
        "results": results,
        "subject": os.path.basename(os.path.abspath(directory)) if directory else results["dataset"],
        "split": "out-of-fold" if split == FOLDS else split,
        "folds": results.get(FOLDS),
        "auto": auto_choice.content(workdir),
        "only_folds": split == FOLDS,
        "examples": results[split]["examples"],
        "classifiers": [_scores(name, scores, len(dataset.class_names)) for name, scores in measured.items()],
        "difference": _difference(dataset.held_out.labels, predictions, results[split]["examples"]),
        "generator_charts": training_charts.generator_charts(workdir.generator_home().generator),
        "classifier_charts": training_charts.classifier_charts(logs, {} if split == FOLDS else measured, split),
        "training": _training_images(dataset),
        "training_images": len(dataset.train.labels),
        "times": {part: duration(seconds) for part, seconds in results["seconds"].items()},
        "settings": settings.flatten(results["config"]),
    }
    repeats = results[FOLDS]["repeats"] if split == FOLDS else 1
    content |= _classes(np.asarray(results[split]["confusion"]), dataset, predictions["classifier"], repeats)
    content |= _mixing(workdir)
    content["legend"] = lettering.legend(dataset.class_names[: pictures.MOST_PAIRS])
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
    """Returns the template environment. It escapes everything, as users choose the names of classes and folders."""
    environment = Environment(
        loader=PackageLoader("chimeramix_jax.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["percent"] = lambda share, digits: f"{100 * share:.{digits}f}%"
    environment.globals["decimals"] = decimals
    environment.globals["curves"] = curves
    return environment


def _scores(experiment: str, evaluation: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """Returns the figures of a classifier; top-5 accuracy is None if there are too few classes to be informative."""
    top1 = evaluation.get("expected_accuracy", evaluation["top1"])
    right = round(top1 * evaluation["examples"])
    shown = {"top1": top1} | {name: evaluation[name] for name in ("macro_accuracy", "loss")}
    shown |= {"experiment": experiment, "interval": wilson_interval(right, evaluation["examples"])}
    return shown | {"top5": evaluation["top5"] if classes > 5 else None}


def _difference(
    labels: Int[np.ndarray, "examples"], predictions: Mapping[str, Predictions], images: int
) -> dict[str, Any] | None:
    """Compares classifier and baseline image by image; returns None without a baseline, and with repeated folds."""
    if "baseline" not in predictions or len(labels) != images:
        return None
    alone = only_right(predictions["classifier"] == labels, predictions["baseline"] == labels)
    p_value = mcnemar(*alone)
    only = {"only_classifier": alone[0], "only_baseline": alone[1]}
    return only | {"significant": is_significant(p_value), "p_value": p_in_words(p_value)}


def _classes(
    matrix: confusion.Confusion, dataset: FewShotDataset, predictions: Predictions, repeats: int
) -> dict[str, Any]:
    """Prepares the confusion matrix, the most confused pairs and the accuracy of each class."""
    accuracies = confusion.class_accuracies(matrix, dataset.class_names, repeats)
    return {
        "heat_table": confusion.heat_table(matrix, dataset.class_names),
        "levels": confusion.LEVELS,
        "pairs": [
            (pair, _misclassified_images(pair, dataset, predictions))
            for pair in confusion.most_confused(matrix, dataset.class_names, MOST_CONFUSED_PAIRS)
        ],
        "classes": accuracies if len(accuracies) <= MOST_CLASSES_LISTED else None,
        "best": accuracies[:BEST_AND_WORST],
        "worst": accuracies[: -BEST_AND_WORST - 1 : -1],
    }


def _misclassified_images(pair: confusion.ConfusedPair, dataset: FewShotDataset, predictions: Predictions) -> list[str]:
    names, held_out = dataset.class_names, dataset.held_out
    misclassified = (held_out.labels == names.index(pair.true)) & (predictions == names.index(pair.predicted))
    return [embedding.image_uri(held_out.images[index]) for index in np.flatnonzero(misclassified)[:IMAGES_OF_A_PAIR]]


def _mixing(workdir: Workdir) -> dict[str, Any]:
    """Prepares the sheets of the finished generator, and a selection of those drawn during its training."""
    final = {pictures.PAIRS: workdir.picture, pictures.MASKS: workdir.masks_picture}
    earlier = pictures_by_epoch(workdir.generator_home().generator / "pictures", pictures.PAIRS)
    epochs = list(earlier)
    selected = np.linspace(0, len(epochs) - 1, min(len(epochs), MOST_SHEETS_DURING_TRAINING)).round().astype(int)
    return {
        "sheets": {name: embedding.file_uri(path) for name, path in final.items() if path.exists()},
        "sheets_during_training": {epochs[index]: embedding.file_uri(earlier[epochs[index]]) for index in selected},
    }


def _training_images(dataset: FewShotDataset) -> list[tuple[str, int, list[str]]]:
    """Returns each class's name, its number of training images, and as many of them as the page has room for."""
    most = max(MOST_TRAINING_IMAGES // len(dataset.class_names), 1)
    groups = []
    for label, name in enumerate(dataset.class_names):
        indices = np.flatnonzero(dataset.train.labels == label)
        images = [embedding.image_uri(dataset.train.images[index]) for index in indices[:most]]
        groups.append((name, len(indices), images))
    return groups
