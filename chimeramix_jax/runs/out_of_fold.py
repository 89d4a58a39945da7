"""The predictions of all training images by models trained without them, gathered from the runs of the folds."""

import copy
import dataclasses
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from ml_collections import ConfigDict

from chimeramix_jax.data.dataset import FewShotDataset, LabelledImages
from chimeramix_jax.data.identity import Split
from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.clustered import EFFECTIVE, accuracy_interval, effective_number
from chimeramix_jax.runs.held_out import HeldOutPredictions, joined
from chimeramix_jax.runs.results import Results
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.evaluation import Evaluation, evaluate_logits, predicted_classes


def config_of_fold(config: ConfigDict, fold: int) -> ConfigDict:
    """Returns the settings of the run that leaves out a fold, counted from 1, and is measured on it."""
    of_fold = copy.deepcopy(config)
    of_fold.fold = fold
    of_fold.dataset.evaluate_on = "validation"
    return of_fold


def folder_of_fold(config: ConfigDict, fold: int) -> str:
    """Returns the name of a fold's directory, such as ``fold-2-of-5`` or ``fold-2-of-5-again-1``."""
    repeat, index = divmod(fold - 1, config.folds)
    return f"fold-{index + 1}-of-{config.folds}" + (f"-again-{repeat}" if repeat else "")


@dataclass(frozen=True)
class FoldRun:
    """A finished run that left out a fold."""

    workdir: Workdir
    dataset: FewShotDataset  # its held-out images are those of the fold
    results: Results


@dataclass(frozen=True)
class OutOfFold:
    """The predictions of all training images by models that have not seen them."""

    folds: int
    repeats: int  # how often the images were divided into folds, and each image predicted
    images: LabelledImages  # the images in the order of the folds, all of them once for each repeat
    digests: tuple[str, ...]  # the identity of each, as in ``DataIdentity``
    logits: dict[str, Float[np.ndarray, "predictions classes"]]  # by "classifier" and, if there is one, "baseline"
    runs: list[dict[str, Any]]  # directory and metrics of each fold's run
    # More about the predictions of "classifier" in the first division, each image once, in the order of ``images``;
    # None: the folds' runs do not say more.
    description: HeldOutPredictions | None = None
    # Each member's accuracy over all predictions, if the folds' classifiers are ensembles; by the keys of ``logits``
    accuracies: dict[str, list[float]] = field(default_factory=dict)
    optimism: float = 0.0  # by how much the accuracy is too high because the recipe was chosen by it
    groups: list[str] | None = None  # of the images, as in ``FewShotDataset``; None: none belong together

    @classmethod
    def of(
        cls,
        runs: Sequence[FoldRun],
        config: ConfigDict,
        dataset: FewShotDataset,
        home: Workdir,
        *,
        complete: bool = True,
    ) -> "OutOfFold":
        """Gathers the predictions of all folds' runs.

        Args:
            runs: the runs of all folds, in order.
            config: the settings of the run that they belong to.
            dataset: its data.
            home: its directory.
            complete: whether there is a run for every fold.

        Raises:
            InputError: the folds' images are not those of ``dataset``.
        """
        expected = {
            image: count * config.fold_repeats for image, count in Counter(dataset.identity.train.images).items()
        }
        predicted = Counter(image for run in runs for image in run.dataset.identity.held_out.images)
        if (predicted != expected) if complete else not predicted <= Counter(expected):
            raise InputError(f"--workdir={home.path}: the images changed while the folds were read; start again")
        held_out = [run.dataset.held_out for run in runs]
        images = LabelledImages(
            np.concatenate([part.images for part in held_out]),
            np.concatenate([part.labels for part in held_out]),
            tuple(name for part in held_out for name in part.names),
        )
        logits = {part: np.concatenate([run.results.logits[part] for run in runs]) for part in runs[0].results.logits}
        about = [
            {"workdir": os.path.relpath(run.workdir.path, home.path), **_figures(run.results.content["validation"])}
            for run in runs
        ]
        digests = tuple(image for run in runs for image in run.dataset.identity.held_out.images)
        description = _described(runs[: config.folds], dataset)
        accuracies = {part: _of_members(runs, part) for part in logits if config.classifier.members > 1}
        groups = None
        if (names := dataset.groups_of_training) is not None:
            of_images = dict(zip(dataset.identity.train.images, names, strict=True))
            groups = [of_images[image] for image in digests]
        return cls(
            config.folds,
            config.fold_repeats,
            images,
            digests,
            logits,
            about,
            description,
            accuracies,
            groups=groups,
        )

    @property
    def count(self) -> int:
        """The number of images, each of which was predicted ``repeats`` times."""
        return len(self.images.labels) // self.repeats

    def evaluation(self, part: str) -> Evaluation:
        """Returns the metrics of "classifier" or "baseline" over all predictions; ``examples`` counts images."""
        return dataclasses.replace(evaluate_logits(self.logits[part], self.images.labels), examples=self.count)

    def predictions(self, part: str) -> Int[np.ndarray, "predictions"]:
        """Returns the predicted classes, in the order of ``images``."""
        return predicted_classes(self.logits[part], self.images.labels)

    def effective_examples(self, part: str) -> float | None:
        """Returns how many independent images would leave the accuracy as uncertain; None: as many as there are."""
        if self.groups is None:
            return None
        _, number = np.unique(self.digests, return_inverse=True)
        right = np.bincount(number, weights=self.predictions(part) == self.images.labels) / np.bincount(number)
        return effective_number(right[number[: self.count]], self.groups[: self.count])

    def content(self, part: str) -> dict[str, Any]:
        """Returns the part of ``results.json`` about the folds: the metrics and how they came about.

        ``expected_accuracy`` is that of the final model on new images like these, and ``interval`` its 95 % interval.
        The final model learns from more images than those of the folds, so it tends to be somewhat better.
        """
        evaluation = dataclasses.asdict(self.evaluation(part))
        if (effective := self.effective_examples(part)) is not None:
            evaluation[EFFECTIVE] = effective
        expected = max(evaluation["top1"] - self.optimism, 0.0)
        return evaluation | {
            "expected_accuracy": expected,
            "optimism": self.optimism,
            "interval": list(accuracy_interval(evaluation, expected)),
            "predictions": len(self.images.labels),
            "folds": self.folds,
            "repeats": self.repeats,
            **({"members_top1": self.accuracies[part]} if part in self.accuracies else {}),
            **({"runs": self.runs} if part == "classifier" else {}),
        }


def measured_data(dataset: FewShotDataset, out_of_fold: OutOfFold | None) -> FewShotDataset:
    """Returns a run's data; without held-out images, with those of its folds, which it is measured on instead."""
    if out_of_fold is None or len(dataset.held_out.labels):
        return dataset
    images, content = out_of_fold.images, dataset.content
    if content is not None:
        content = dataclasses.replace(content, held_out=Split.of(out_of_fold.digests, images.labels))
    return dataclasses.replace(dataset, held_out=images, content=content, groups_of_folds=out_of_fold.groups)


def _described(runs: Sequence[FoldRun], dataset: FewShotDataset) -> HeldOutPredictions | None:
    """Joins what the folds' runs say about their held-out images; their nearest images are those of ``dataset``."""
    parts = [run.results.held_out for run in runs]
    position_of = {index: position for position, index in enumerate(dataset.train_indices.tolist())}
    described = []
    for run, part in zip(runs, parts, strict=True):
        if part is None:
            return None
        positions = np.array([position_of[index] for index in run.dataset.train_indices.tolist()])
        described.append((part, positions))
    return joined(described)


def _of_members(runs: Sequence[FoldRun], part: str) -> list[float]:
    """Returns the share of all predictions that each member has right: the folds' accuracies by their images."""
    contents = [run.results.content if part == "classifier" else run.results.content[part] for run in runs]
    accuracies = np.array([content["members"]["top1"] for content in contents])
    return np.average(accuracies, axis=0, weights=[len(run.dataset.held_out.labels) for run in runs]).tolist()


def _figures(evaluation: dict[str, Any]) -> dict[str, Any]:
    return {name: evaluation[name] for name in ("top1", "macro_accuracy", "loss", "examples")}
