"""What a measured accuracy says: its interval, and whether it differs from chance and from the baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int

from chimeramix_jax.reporting.clustered import EFFECTIVE, accuracy_interval, name_of_test, paired_test
from chimeramix_jax.reporting.splits import top1_of
from chimeramix_jax.reporting.statistics import (
    Interval,
    decimals,
    is_significant,
    is_unbalanced,
    only_right,
    p_in_words,
)

Labels = Int[np.ndarray, "examples"]


@dataclass(frozen=True)
class MeasuredAccuracy:
    """A classifier's accuracy and its uncertainty; shares are in [0, 1]."""

    name: str
    accuracy: float
    right: int
    examples: int
    counted: bool  # whether ``right`` counts images, and is not a mean over repeated folds or a corrected figure
    interval: Interval  # the 95 % Wilson score interval (``clustered.accuracy_interval``)
    effective: float | None  # how many independent images are as informative; None: as many as there are
    figures: Mapping[str, float | None]  # further metrics, in the order of the page; None: not finite

    @classmethod
    def of(cls, name: str, evaluation: Mapping[str, Any], classes: int) -> "MeasuredAccuracy":
        """Reads a classifier's evaluation from the results; top-5 accuracy needs more than five classes.

        In the evaluation by folds, ``examples`` counts every image once, although repeats predict it several times.
        """
        examples, accuracy = evaluation["examples"], top1_of(evaluation)
        right = round(accuracy * examples)
        counted = evaluation.get("repeats", 1) == 1 and not evaluation.get("optimism")
        names = ("top5", "macro_accuracy", "loss") if classes > 5 else ("macro_accuracy", "loss")
        figures = {metric: evaluation[metric] for metric in names}
        return cls(
            name,
            accuracy,
            right,
            examples,
            counted,
            accuracy_interval(evaluation, accuracy),
            evaluation.get(EFFECTIVE),
            figures,
        )


@dataclass(frozen=True)
class Difference:
    """A paired test of two classifiers on the same images."""

    only_first: int  # images that only the first has right
    only_second: int
    p_value: float
    test: str  # what the test is called

    @property
    def significant(self) -> bool:
        """Whether the difference is significant at 5 %."""
        return is_significant(self.p_value)

    @property
    def better(self) -> bool:
        """Whether the first has more images right."""
        return self.only_first > self.only_second

    @property
    def in_words(self) -> str:
        """The p-value, as text."""
        return p_in_words(self.p_value)


@dataclass(frozen=True)
class LargestClass:
    """The classifier that always answers the most frequent class of the held-out images."""

    name: str
    accuracy: float
    difference: Difference | None  # of the trained classifier to it; None if the latter's figure is not a count


@dataclass(frozen=True)
class Verdict:
    """Everything that the page says about the accuracy of a run."""

    classifier: MeasuredAccuracy
    baseline: MeasuredAccuracy | None
    chance: float  # the accuracy of guessing, 1 / classes, whatever the classes' sizes
    difference: Difference | None  # to the baseline; None without its predictions, or if figures are not counts
    images: str  # what was measured on, such as "test images"
    largest: LargestClass | None  # None if the classes have about the same size

    @property
    def against_chance(self) -> str:
        """The comparison of the accuracy with guessing, as the end of a sentence."""
        if self._side_of_chance:
            return f"clearly {'more' if self._side_of_chance > 0 else 'less'} than chance"
        return f"too few {self.images} to tell the two apart"

    @property
    def model_against_chance(self) -> str:
        """The comparison of the model with guessing, as a sentence."""
        if self._side_of_chance:
            return f"The model is clearly {'better' if self._side_of_chance > 0 else 'worse'} than chance."
        return f"There are too few {self.images} to tell the model from chance."

    @property
    def _side_of_chance(self) -> int:
        """1 if the accuracy is clearly above chance, -1 if it is clearly below, else 0.

        The interval excludes the accuracies that a score test at 5 % rejects, so no other test is needed.
        """
        low, high = self.classifier.interval
        return (low > self.chance) - (high < self.chance)

    @property
    def digits(self) -> int:
        """The meaningful decimals of the percentages."""
        return decimals(self.classifier.examples)


def judge(
    classifier: MeasuredAccuracy,
    baseline: MeasuredAccuracy | None,
    labels: Labels,
    predictions: Mapping[str, Labels],
    class_names: Sequence[str],
    images: str = "test images",
    groups: Sequence[str] | None = None,
) -> Verdict:
    """Compares a classifier with guessing, with its baseline and, if classes differ in size, with the largest class.

    Args:
        classifier: the measured classifier.
        baseline: the measured baseline, if there is one.
        labels: the true class of every held-out image.
        predictions: the predicted class of every held-out image, by "classifier" and "baseline".
        class_names: the classes' names, by label.
        images: what the held-out images are called.
        groups: the group of each, as in ``FewShotDataset``; None: none belong together.
    """
    right = predictions["classifier"] == labels
    difference = None
    if baseline is not None and "baseline" in predictions and classifier.counted:
        difference = _compared(right, predictions["baseline"] == labels, groups)
    counts = np.bincount(labels, minlength=len(class_names))
    label, share = int(np.argmax(counts)), float(np.max(counts) / np.sum(counts))
    largest = None
    if is_unbalanced(share, len(class_names)):
        compared = _compared(right, labels == label, groups) if classifier.counted else None
        largest = LargestClass(class_names[label], share, compared)
    return Verdict(classifier, baseline, 1 / len(class_names), difference, images, largest)


def _compared(first: np.ndarray, second: np.ndarray, groups: Sequence[str] | None) -> Difference:
    test = name_of_test(None if groups is None else len(set(groups)))
    return Difference(*only_right(first, second), paired_test(first, second, groups), test)
