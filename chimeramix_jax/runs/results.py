"""The results of a run: the content of ``results.json``, and the rows of its closing table."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from ml_collections import ConfigDict

from chimeramix_jax import files
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.findings import held_out_from
from chimeramix_jax.mixing.mix_quality import MixQuality
from chimeramix_jax.reporting import clustered, statistics
from chimeramix_jax.reporting.results import SummaryRow
from chimeramix_jax.reporting.splits import FOLDS
from chimeramix_jax.runs import provenance
from chimeramix_jax.runs.held_out import HeldOutPredictions
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.stored_format import marked
from chimeramix_jax.training import checkpoints
from chimeramix_jax.training.evaluation import Evaluation

_TOGETHER = "seeds_together"


@dataclasses.dataclass(frozen=True)
class Measured:
    """A trained classifier's metrics and predictions, the seconds of its training, and its rollbacks.

    They are those of the held-out images or, if there are none, of the folds.
    """

    experiment: str
    evaluation: Evaluation
    logits: Float[np.ndarray, "examples classes"]
    predictions: Int[np.ndarray, "examples"]
    labels: Int[np.ndarray, "examples"]
    seconds: float
    rollbacks: list[dict[str, Any]]
    held_out: HeldOutPredictions | None = None  # more about every held-out image; not of the baseline
    calibration: dict[str, Any] | None = None  # what the results say about its probabilities; None: nothing
    members: dict[str, Any] | None = None  # what the results say about each member of an ensemble; None: it is none
    epochs_left_out: int = 0  # to keep to a time limit
    groups: Sequence[str] | None = None  # of the images, as in ``FewShotDataset``; None: none belong together
    effective_examples: float | None = None  # how many independent images are as informative; None: all of them

    def figures(self) -> dict[str, Any]:
        """Returns the metrics as they stand in the results."""
        effective = {} if self.effective_examples is None else {clustered.EFFECTIVE: self.effective_examples}
        return dataclasses.asdict(self.evaluation) | effective

    @property
    def right(self) -> Bool[np.ndarray, "examples"]:
        """Whether each image is predicted correctly."""
        return self.predictions == self.labels


@dataclasses.dataclass(frozen=True)
class Results:
    """The results of a run."""

    content: dict[str, Any]  # the content of ``results.json``
    rows: list[SummaryRow]  # the rows of the closing table, the baseline first
    # The predicted class of every image that was measured, for "classifier" and, if there is one, "baseline".
    predictions: dict[str, Int[np.ndarray, "examples"]]
    logits: dict[str, Float[np.ndarray, "examples classes"]]  # the logits that they come from
    held_out: HeldOutPredictions | None = None  # more about the classifier's predictions

    def write(self, workdir: Workdir) -> None:
        """Writes ``results.json``."""
        files.write_json(workdir.results, marked(self.content))


def results_of(
    config: ConfigDict,
    about: dict[str, Any],
    dataset: FewShotDataset,
    measured: dict[str, Measured],
    stages: Mapping[str, Path],
    of_folds: dict[str, dict[str, Any]] | None = None,
    mixes: MixQuality | None = None,
) -> Results:
    """Assembles a run's results.

    Args:
        config: the run's settings.
        about: the data stored with its checkpoints.
        dataset: the run's data.
        measured: what has been measured, by "classifier" and, if there is one, "baseline".
        stages: the directories of all trained stages, by name; some need not exist.
        of_folds: what the results say about the folds, for the same parts; None: there are no folds.
        mixes: how good the generator's mixes are; None: not measured.
    """
    newest = {stage: checkpoints.newest(directory) for stage, directory in stages.items()}
    trained = {stage: stored for stage, stored in newest.items() if stored is not None}
    before = {stage: stored for stage, stored in trained.items() if stage not in ("classifier", "baseline")}
    comparison = _against_baseline(measured)
    only_folds = of_folds is not None and not len(dataset.held_out.labels)
    classifier, split = measured["classifier"], FOLDS if only_folds else config.dataset.evaluate_on
    content = _of_run(config) | {
        split: classifier.figures(),
        "seconds": _of_each_part("seconds", measured, before),
        "seeds_together": {stage: stored[_TOGETHER] for stage, stored in trained.items() if _TOGETHER in stored},
        "rollbacks": _of_each_part("rollbacks", measured, before),
        "epochs_left_out": _of_each_part("epochs_left_out", measured, before),
        **provenance.record(),
        "held_out_from": held_out_from(dataset, split),
        **_of_checkpoints(about),
    }
    content |= _further(classifier)
    content |= _of_folds_and_baseline(split, measured, of_folds or {}, comparison)
    if mixes is not None:
        content["mixes"] = dataclasses.asdict(mixes)
    rows = [
        _row(config, part, measured, len(dataset.class_names), _seconds_before(part, before), comparison)
        for part in reversed(measured)
    ]
    if split == FOLDS:
        rows[-1]["top_1"] = content[FOLDS]["expected_accuracy"]
    predictions = {name: part.predictions for name, part in measured.items()}
    return Results(
        content, rows, predictions, {name: part.logits for name, part in measured.items()}, classifier.held_out
    )


def _of_run(config: ConfigDict) -> dict[str, Any]:
    """Returns what tells the run from others in summaries."""
    return {
        "dataset": config.dataset.name,
        "experiment": config.experiment,
        "max_labels_per_class": config.max_labels_per_class,
        "seed": config.seed,
    }


def _of_checkpoints(about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings and the data that are stored with the run's checkpoints, too."""
    return {
        "config": about["config"],
        "class_names": about["class_names"],
        "train_indices": about["train_indices"],
        "train_indices_sha256": provenance.indices_digest(about["train_indices"]),
        "data_sha256": about["data"],
    }


def _of_folds_and_baseline(
    split: str, measured: dict[str, Measured], of_folds: dict[str, dict[str, Any]], comparison: dict[str, Any] | None
) -> dict[str, Any]:
    """Returns the metrics of the folds and of the baseline, and the comparison with it, as far as there are any."""
    content: dict[str, Any] = {FOLDS: of_folds["classifier"]} if of_folds else {}
    if "baseline" in measured:
        content["baseline"] = {"experiment": measured["baseline"].experiment}
        content["baseline"] |= {split: measured["baseline"].figures()}
        content["baseline"] |= _further(measured["baseline"])
    if "baseline" in of_folds:
        content.setdefault("baseline", {})[FOLDS] = of_folds["baseline"]
    if comparison is not None:
        content["against_baseline"] = comparison
    return content


def _further(measured: Measured) -> dict[str, Any]:
    """Returns what else is known about a classifier: its members and its calibration."""
    known = {"members": measured.members, "calibration": measured.calibration}
    return {name: value for name, value in known.items() if value is not None}


def _of_each_part(name: str, measured: dict[str, Measured], before: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns the seconds, say, of every trained part, and of the stages before the classifier, as far as known."""
    values = {part: getattr(figures, name) for part, figures in measured.items()}
    return values | {stage: about[name] for stage, about in before.items() if name in about}


def _seconds_before(part: str, before: dict[str, dict[str, Any]]) -> float:
    """Returns the seconds of the stages that a classifier needs before its own; the baseline needs no generator."""
    unused = ("generator",) if part == "baseline" else ()
    return math.fsum(about["seconds"] for stage, about in before.items() if stage not in unused)


def _against_baseline(measured: dict[str, Measured]) -> dict[str, Any] | None:
    """Counts the images that only the classifier, and only the baseline, gets right, and tests their difference.

    Returns None without a baseline, and if images were predicted several times: these predictions are not independent.
    """
    classifier = measured["classifier"]
    if "baseline" not in measured or len(classifier.labels) > classifier.evaluation.examples:
        return None
    right, groups = (classifier.right, measured["baseline"].right), classifier.groups
    only_classifier, only_baseline = statistics.only_right(*right)
    return {
        "only_classifier_right": only_classifier,
        "only_baseline_right": only_baseline,
        "mcnemar_p": clustered.paired_test(*right, groups),
        **({} if groups is None else {"groups": len(set(groups))}),
    }


def _row(
    config: ConfigDict,
    part: str,
    measured: dict[str, Measured],
    num_classes: int,
    seconds_before: float,
    comparison: dict[str, Any] | None,
) -> SummaryRow:
    """Returns a row of the closing table; its time includes that of the stages before the classifier."""
    figures = measured[part]
    is_compared = part != "baseline" and "baseline" in measured
    compared = comparison if is_compared else None
    return SummaryRow(
        experiment=figures.experiment,
        max_labels_per_class=config.max_labels_per_class,
        top_1=figures.evaluation.top1,
        top_5=figures.evaluation.top5 if num_classes > 5 else None,
        seconds=figures.seconds + seconds_before,
        examples=figures.evaluation.examples,
        effective_examples=figures.effective_examples,
        alone=None if compared is None else [compared["only_classifier_right"], compared["only_baseline_right"]],
        p_value=None if compared is None else compared["mcnemar_p"],
        groups=None if compared is None else compared.get("groups"),
        baseline=measured["baseline"].experiment if is_compared else None,
    )
