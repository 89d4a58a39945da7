"""The parts of ``results.json`` with a run's metrics, and what their images are called."""

from collections.abc import Collection, Mapping
from typing import Any

FOLDS = "folds"  # the part about images predicted by models trained without them


def split_name(split: str) -> str:
    """Returns what images of a split are called: "test", "validation", or "out-of-fold" for ``FOLDS``."""
    return "out-of-fold" if split == FOLDS else split


def is_measured(results: Mapping[str, Any], splits: Collection[str] = ("test", "validation", FOLDS)) -> bool:
    """Whether results hold an accuracy on one of these splits; nothing else is assumed of them."""
    for split in splits:
        figures = results.get(split)
        accuracy = figures.get("top1") if isinstance(figures, Mapping) else None
        if isinstance(accuracy, int | float) and not isinstance(accuracy, bool) and 0 <= accuracy <= 1:
            return True
    return False


def top1_of(figures: Mapping[str, Any]) -> float:
    """Returns the top-1 accuracy of a run's metrics; of folds that a recipe was chosen by, the corrected one."""
    return figures.get("expected_accuracy", figures["top1"])


def split_of(results: Mapping[str, Any]) -> str:
    """Returns the key of a run's metrics in its results: "test", "validation", or ``FOLDS`` without test images."""
    if FOLDS in results and "test" not in results and "validation" not in results:
        return FOLDS
    return results["config"]["dataset"]["evaluate_on"]
