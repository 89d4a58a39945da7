"""The parts of ``results.json`` with a run's metrics, and what their images are called."""

from collections.abc import Mapping
from typing import Any

FOLDS = "folds"  # the part about images predicted by models trained without them


def split_name(split: str) -> str:
    """Returns what images of a split are called: "test", "validation", or "out-of-fold" for ``FOLDS``."""
    return "out-of-fold" if split == FOLDS else split


def split_of(results: Mapping[str, Any]) -> str:
    """Returns the key of a run's metrics in its results: "test", "validation", or ``FOLDS`` without test images."""
    if FOLDS in results and "test" not in results and "validation" not in results:
        return FOLDS
    return results["config"]["dataset"]["evaluate_on"]
