"""The model card of a run: a Markdown file about its classifier, with the metadata that the Hugging Face Hub reads.

It is meant to be published with a model file, so it names no folders and no files of this machine.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config import catalog
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.findings import held_out_from
from chimeramix_jax.report import commands
from chimeramix_jax.report.confusion import ClassAccuracy, class_accuracies
from chimeramix_jax.report.data_check import DataSection
from chimeramix_jax.report.recipe import recipe_in_words
from chimeramix_jax.report.verdict import MeasuredAccuracy, Verdict
from chimeramix_jax.reporting import clustered, statistics
from chimeramix_jax.reporting.splits import FOLDS, split_name
from chimeramix_jax.reporting.time_limit_text import epochs_left_out
from chimeramix_jax.training.averaging import averages

MODEL_FILE = "model.zip"  # what the card calls the model file beside it

_LICENSE = "# license: mit  # choose one and remove the first #; without a license, nobody else may use the model"
_TAGS = ("few-shot", "chimeramix", "jax", "flax")
_OWN_IMAGES = "imagefolder"  # the Hub's name for a data set of folders, one for each class
_MOST_NAMED = 5  # classes in a sentence
_SPECIAL = re.compile(r"([\\`*_\[\]<>|&~$])")  # may be escaped anywhere in Markdown


@dataclass(frozen=True)
class CardRow:
    """A class, its numbers of images, and the accuracy on it; None without images that it was measured on."""

    name: str
    training: int
    measured: ClassAccuracy | None


def text(
    results: Mapping[str, Any],
    split: str,
    dataset: FewShotDataset,
    verdict: Verdict,
    data: DataSection | None,
    auto: Mapping[str, Any] | None,
) -> str:
    """Returns the content of the file.

    Args:
        results: the run's results.
        split: what was measured on: "test", "validation" or ``FOLDS``.
        dataset: the run's data.
        verdict: what the report says about its accuracy.
        data: what a look at the data found; None: nothing is recorded.
        auto: how the recipe was chosen; see ``report.auto_choice``. None: not by the program.
    """
    config = settings.from_dict(results["config"])
    title = f"Image classifier for {_subject(config, dataset.class_names)}"
    content = {
        "title": title,
        "verdict": verdict,
        "sentences": data.sentences if data else [],
        "auto": auto,
        "together": clustered.note(verdict.classifier.effective),
        **_measured(results, split, dataset, verdict),
        **_trained(results, config, dataset),
        "commands": commands.commands_of_file(MODEL_FILE),
        "model_file": MODEL_FILE,
    }
    body = _environment().get_template("model_card.md.jinja").render(content)
    metadata = _metadata(title, config, split, verdict.classifier)
    front = yaml.safe_dump(metadata, sort_keys=False, allow_unicode=True)
    return f"---\n{_LICENSE}\n{front}---\n\n{body}"


def _measured(results: Mapping[str, Any], split: str, dataset: FewShotDataset, verdict: Verdict) -> dict[str, Any]:
    """Returns what the template says of the accuracy."""
    calibration = results.get("calibration", {})
    return {
        "results": results,
        "of_folds": split == FOLDS,
        "folds": results.get(FOLDS),
        "split": split_name(split),
        "percent": lambda share: statistics.percent(share, verdict.classifier.examples),
        "of_class": statistics.percent,
        "rows": _rows(results[split], dataset),
        "calibration": calibration.get("after") or calibration.get("before"),
        "temperature": calibration.get("temperature"),
    }


def _trained(results: Mapping[str, Any], config: ConfigDict, dataset: FewShotDataset) -> dict[str, Any]:
    """Returns what the template says of the images and of the training."""
    return {
        "config": config,
        "classes": len(dataset.class_names),
        "own_images": _is_own(config),
        "training_images": len(dataset.distinct_training),
        "divided": dataset.divided,
        "same_source": held_out_from(dataset, config.dataset.evaluate_on) == "train",
        "recipe": [*recipe_in_words(config), *(f"{text[0].upper()}{text[1:]}." for text in epochs_left_out(results))],
        "averages": averages(config.classifier),
    }


def escaped(value: object) -> str:
    """Returns text of a user on one line, without meaning for Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def _metadata(title: str, config: ConfigDict, split: str, measured: MeasuredAccuracy) -> dict[str, Any]:
    """Returns what the Hub reads: https://huggingface.co/docs/hub/model-cards#model-card-metadata."""
    hub_name = catalog.dataset_entry(config.dataset.name).hub_name
    dataset = {
        "type": hub_name or (_OWN_IMAGES if _is_own(config) else config.dataset.name),
        "name": "own images" if _is_own(config) else config.dataset.name,
        "split": "train" if split == FOLDS else split,
    }
    accuracy = {
        "type": "accuracy",
        "value": round(measured.accuracy, 2 + statistics.decimals(measured.examples)),
        "name": "Expected accuracy by folds" if split == FOLDS else "Accuracy",
    }
    task = {"type": "image-classification", "name": "Image classification"}
    return {
        "library_name": "chimeramix_jax",
        "pipeline_tag": "image-classification",
        "tags": list(_TAGS),
        **({} if hub_name is None else {"datasets": [hub_name]}),
        "metrics": ["accuracy"],
        "model-index": [{"name": title, "results": [{"task": task, "dataset": dataset, "metrics": [accuracy]}]}],
    }


def _is_own(config: ConfigDict) -> bool:
    """Whether the images are the user's own, and not a published data set."""
    return catalog.dataset_entry(config.dataset.name).source == "directory"


def _subject(config: ConfigDict, class_names: Sequence[str]) -> str:
    """Returns the data set or, of a user's own images, the classes; if there are many classes, only their number."""
    if not _is_own(config):
        return f"the data set {config.dataset.name}"
    if len(class_names) > _MOST_NAMED:
        return f"{len(class_names)} classes"
    return f"{', '.join(class_names[:-1])} and {class_names[-1]}"


def _rows(evaluation: Mapping[str, Any], dataset: FewShotDataset) -> list[CardRow]:
    confusion, repeats = np.asarray(evaluation["confusion"]), evaluation.get("repeats", 1)
    share = clustered.effective_share(evaluation)
    measured = {row.name: row for row in class_accuracies(confusion, dataset.class_names, repeats, share)}
    counts = np.bincount(dataset.train.labels[dataset.distinct_training], minlength=len(dataset.class_names))
    return [
        CardRow(name, count, measured.get(name))
        for name, count in zip(dataset.class_names, counts.tolist(), strict=True)
    ]


@functools.cache  # compiling the template takes longer than filling it
def _environment() -> Environment:
    """Returns the template environment, which escapes nothing by itself: HTML is not what is written."""
    environment = Environment(
        loader=PackageLoader("chimeramix_jax.report", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["escaped"] = escaped
    return environment
