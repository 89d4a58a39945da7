"""Whether the accuracy on test images is as high as the folds of the training images suggest."""

from collections.abc import Mapping
from typing import Any

from chimeramix_jax.reporting.clustered import accuracy_interval


def shortfall(folds: Mapping[str, Any], test: Mapping[str, Any] | None) -> str:
    """Returns a warning if the accuracy on test images is lower than the folds suggest, and an empty text otherwise.

    It is lower if its 95 % interval lies below that of the folds. A higher accuracy is no reason for a warning: the
    final model has more training images than those of the folds, and may be trained for longer.

    Args:
        folds: that part of ``results.json``.
        test: the final model's evaluation on the test images.
    """
    if test is None:
        return ""
    _, high = accuracy_interval(test, test["top1"])
    if high >= folds["interval"][0]:
        return ""
    return (
        "Fewer test images are classified correctly than the folds suggest, and chance does not explain it: the test "
        "images differ from the training images in some way. For photos like the test images, expect the accuracy on "
        "those."
    )
