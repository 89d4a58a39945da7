"""Prepares the files of a run for ``templates/report.html.jinja`` and writes the page, and the model card beside it."""

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from jinja2 import Environment

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.photo_views import PICTURE_SIDE
from chimeramix_jax.errors import InputError
from chimeramix_jax.mixing import pictures
from chimeramix_jax.paths import printable
from chimeramix_jax.report import (
    auto_choice,
    changed_settings,
    commands,
    confusion,
    curves,
    embedding,
    mistakes,
    mixing_figure,
    model_card,
    photos,
    reliability,
    training_charts,
    update,
    verdict,
)
from chimeramix_jax.report.data_check import data_section
from chimeramix_jax.reporting import clustered, lettering, mix_quality_text, time_limit_text, web_page
from chimeramix_jax.reporting.ensemble_text import members_in_words
from chimeramix_jax.reporting.folds_beside_test import shortfall
from chimeramix_jax.reporting.progress import duration
from chimeramix_jax.reporting.splits import FOLDS, split_name, split_of
from chimeramix_jax.reporting.statistics import decimals
from chimeramix_jax.reporting.wording import counted
from chimeramix_jax.runs.held_out import HeldOutPredictions
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.evaluation_views import EvaluationViews

MOST_CONFUSED_PAIRS = 8
MOST_PAIRS_OF_DENSE_TABLE = 20  # listed below a confusion matrix whose cells are too narrow for numbers
IMAGES_OF_A_PAIR = 5
MOST_CLASSES_LISTED = 12  # with more classes, only the best and the worst are listed
BEST_AND_WORST = 5
MOST_TRAINING_IMAGES = 300
MOST_LARGE_TRAINING_IMAGES = 200  # of images that are not embedded at their own small size

_NEEDED = ("config", "dataset", "experiment", "max_labels_per_class", "seed")  # of the results

Predictions = Int[np.ndarray, "examples"]


def write(
    workdir: Workdir,
    dataset: FewShotDataset,
    predictions: Mapping[str, Predictions],
    held_out: HeldOutPredictions | None = None,
    *,
    model_file: Path | None = None,
) -> None:
    """Writes ``report.html`` and ``model_card.md``; raises InputError if results or a metrics log cannot be read.

    All figures come from ``results.json``, except for the comparisons with the baseline and with the most frequent
    class, and the misclassified images. These come from ``predictions``: the predicted class of every held-out image,
    by "classifier" and "baseline". Single mistakes come from ``held_out``, and then stand in for those of the most
    confused classes; None: there are none. In a run that is only measured by folds, the held-out images of ``dataset``
    are those of the folds. ``model_file`` is the file that the page is about, if ``workdir`` only stands for it; then
    the page names nothing that would lie beside the page of a run.
    """
    content = _content(workdir, dataset, predictions, held_out, model_file)
    page = _environment().get_template("report.html.jinja").render(content)
    card = model_card.text(
        content["results"], content["evaluated_on"], dataset, content["verdict"], content["data"], content["auto"]
    )
    files.write_text(workdir.model_card, card)
    files.write_text(workdir.report, page)  # last, as it shows that the run is complete


def _content(
    workdir: Workdir,
    dataset: FewShotDataset,
    predictions: Mapping[str, Predictions],
    held_out: HeldOutPredictions | None,
    model_file: Path | None,
) -> dict[str, Any]:
    """Returns what the template shows; the arguments are those of ``write``."""
    source = workdir.results if model_file is None else model_file
    results = _results(workdir, source)
    config = settings.from_dict(results["config"], source)
    split, directory, names = split_of(results), config.dataset.directory, dataset.class_names
    of_folds = _of_folds(results, split)
    evaluations, logs = _of_classifiers(workdir, results, split)
    measured = {name: verdict.MeasuredAccuracy.of(name, figures, len(names)) for name, figures in evaluations.items()}
    classifier = measured[results["experiment"]]
    baseline = measured[_baseline_name(results)] if "baseline" in results else None
    images = f"{of_folds['split']} images"
    labels, groups = dataset.held_out.labels, dataset.groups_held_out
    judged = verdict.judge(classifier, baseline, labels, predictions, names, images, groups)
    return {
        "results": results,
        "evaluated_on": split,
        "subject": os.path.basename(os.path.abspath(directory)) if directory else results["dataset"],
        "auto": auto_choice.content(workdir),
        "epochs_left_out": time_limit_text.epochs_left_out(results),
        "update": update.content(workdir),
        "examples": results[split]["examples"],
        "class_names": names,
        "verdict": judged,
        "model_file": model_file is not None,
        "commands": commands.commands(workdir, config)
        if model_file is None
        else commands.commands_of_file_here(model_file),
        "probabilities": _probabilities(source, results, of_folds["split"]),
        "averages_predictions": EvaluationViews.of(config).count * config.classifier.members > 1,
        "mistakes": None if held_out is None else mistakes.prepare(held_out, dataset),
        "members": members_in_words(results.get("members"), results[split]["examples"]),
        "times": {part: duration(seconds) for part, seconds in results["seconds"].items()},
        "settings": changed_settings.divide(config),
        **_charts(workdir, logs, {} if split == FOLDS else evaluations, split),
        **_data(workdir, dataset),
        **_mixing(workdir, dataset, results, split),
        **of_folds,
        "together": clustered.note(classifier.effective),
        **_classes(results[split], dataset, predictions["classifier"], held_out is None, of_folds["repeats"]),
    }


def _charts(
    workdir: Workdir, logs: Mapping[str, Path], final: Mapping[str, Mapping[str, Any]], split: str
) -> dict[str, Any]:
    """Returns the charts of all stages; ``final`` has the metrics after the last epoch, by experiment."""
    return {
        "generator_charts": training_charts.generator_charts(workdir.generator_home().generator),
        "pretraining_charts": training_charts.pretraining_charts(workdir.pretraining),
        "classifier_charts": training_charts.classifier_charts(logs, final, split),
    }


def _data(workdir: Workdir, dataset: FewShotDataset) -> dict[str, Any]:
    """Returns what the template shows of the training images."""
    return {
        "data": data_section(workdir),
        "training": _training_images(dataset),
        "training_images": len(dataset.distinct_training),
        "divided": dataset.divided,
    }


def _of_classifiers(
    workdir: Workdir, results: Mapping[str, Any], split: str
) -> tuple[dict[str, dict[str, Any]], dict[str, Path]]:
    """Returns the metrics and the directories of the classifier and the baseline, by their experiments' names."""
    evaluations = {results["experiment"]: results[split]}
    directories = {results["experiment"]: workdir.classifier}
    if "baseline" in results:
        name = _baseline_name(results)
        evaluations[name] = results["baseline"][split]
        directories[name] = workdir.baseline
    return evaluations, directories


def _baseline_name(results: Mapping[str, Any]) -> str:
    """Returns the name of the experiment that a run's baseline is; runs of earlier versions do not say which."""
    return results.get("baseline", {}).get("experiment", "baseline")


def _mixing(workdir: Workdir, dataset: FewShotDataset, results: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Returns what the page says about mixing."""
    return {
        "mixing": mixing_figure.prepare(workdir, dataset),
        "mix_quality": [
            mix_quality_text.in_words(results, split),
            mix_quality_text.warning(results, split),
            mix_quality_text.distance_in_words(results),
        ],
        "legend": lettering.legend(dataset.class_names[: pictures.MOST_PAIRS]),
    }


def _of_folds(results: Mapping[str, Any], split: str) -> dict[str, Any]:
    """Returns what the page says about folds, and how it names the images that were predicted."""
    repeats = results[FOLDS]["repeats"] if split == FOLDS else 1
    return {
        "split": split_name(split),
        "folds": results.get(FOLDS),
        "shortfall": shortfall(results[FOLDS], results.get("test")) if FOLDS in results else "",
        "only_folds": split == FOLDS,
        "repeats": repeats,
        "noun": "prediction" if repeats > 1 else "image",
    }


def _probabilities(source: Path, results: Mapping[str, Any], images: str) -> reliability.Probabilities | None:
    """Returns what the page says about the probabilities; None for the run of a fold, which says nothing about them."""
    if results["config"].get("fold"):
        return None
    return reliability.content(results.get("calibration"), images, str(source))


def _results(workdir: Workdir, source: Path) -> dict[str, Any]:
    """The run's results, with what came later where they are of an earlier version; errors name ``source``."""
    results = {"seconds": {}, "device": {}, "machine": {}, "versions": {}} | workdir.read_results()
    lacking = [key for key in _NEEDED if key not in results]
    if lacking:
        raise InputError(f"{source}: has no {', '.join(lacking)}; write it anew with --stage=evaluate")
    return results


@functools.cache  # compiling the templates takes longer than filling them
def _environment() -> Environment:
    """Returns the template environment."""
    environment = web_page.environment("chimeramix_jax.report", "templates")
    environment.filters["percent"] = lambda share, digits: f"{100 * share:.{digits}f}\N{NO-BREAK SPACE}%"
    environment.globals["decimals"] = decimals
    environment.globals["counted"] = counted
    environment.globals["curves"] = curves
    environment.globals["reliability"] = reliability
    return environment


def _classes(
    evaluation: Mapping[str, Any],
    dataset: FewShotDataset,
    predictions: Predictions,
    with_images: bool,
    repeats: int,
) -> dict[str, Any]:
    """Prepares the confusion matrix, the most confused pairs (with or without images) and each class's accuracy."""
    matrix, share = np.asarray(evaluation["confusion"]), clustered.effective_share(evaluation)
    accuracies = confusion.class_accuracies(matrix, dataset.class_names, repeats, share)
    heat_table = None
    if len(dataset.class_names) <= confusion.MOST_CLASSES_IN_A_TABLE:
        heat_table = confusion.heat_table(matrix, dataset.class_names)
    most_listed = MOST_PAIRS_OF_DENSE_TABLE if heat_table is None or heat_table.dense else 0
    return {
        "heat_table": heat_table,
        "confused": confusion.most_confused(matrix, dataset.class_names, most_listed),
        "levels": confusion.LEVELS,
        "pairs": [
            (pair, _misclassified_images(pair, dataset, predictions) if with_images else [])
            for pair in confusion.most_confused(matrix, dataset.class_names, MOST_CONFUSED_PAIRS)
        ],
        "sharp": dataset.directory is not None or max(dataset.held_out.images.shape[1:3]) >= PICTURE_SIDE // 4,
        "classes": accuracies if len(accuracies) <= MOST_CLASSES_LISTED else None,
        "best": accuracies[:BEST_AND_WORST],
        "worst": accuracies[: -BEST_AND_WORST - 1 : -1],
        "without_images": confusion.without_images(matrix, dataset.class_names),
    }


def _misclassified_images(
    pair: confusion.ConfusedPair, dataset: FewShotDataset, predictions: Predictions
) -> list[tuple[str, str]]:
    """Returns the data URI and the name of some images of one class that were predicted as another."""
    names, held_out = dataset.class_names, dataset.held_out
    misclassified = (held_out.labels == names.index(pair.true)) & (predictions == names.index(pair.predicted))
    return [
        (
            embedding.image_uri(photos.held_out_pixels(dataset, index), PICTURE_SIDE),
            printable(held_out.names[index]),
        )
        for index in np.flatnonzero(misclassified)[:IMAGES_OF_A_PAIR].tolist()
    ]


def _training_images(dataset: FewShotDataset) -> list[tuple[str, int, list[str]]]:
    """Returns each class's name, its number of training images, and as many of them as the page has room for."""
    small = max(dataset.train.images.shape[1:3]) <= embedding.LARGEST_LOSSLESS_SIDE
    room = MOST_TRAINING_IMAGES if small else MOST_LARGE_TRAINING_IMAGES
    most = max(room // len(dataset.class_names), 1)
    distinct, groups = dataset.distinct_training, []
    for label, name in enumerate(dataset.class_names):
        indices = distinct[dataset.train.labels[distinct] == label]
        images = [embedding.image_uri(dataset.train.images[index]) for index in indices[:most]]
        groups.append((name, len(indices), images))
    return groups
