"""The draw of the few labelled training images (paper: section 4.1, "5, 10, ... 100 images per class")."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Int64

from chimeramix_jax.errors import InputError


def few_shot_indices(
    labels: Int[np.ndarray, "examples"],
    max_labels_per_class: int | None,
    seed: int,
    class_names: Sequence[str] | None = None,
    kept_for_testing: Int[np.ndarray, "classes"] | None = None,
) -> Int64[np.ndarray, "chosen"]:
    """Draws the same number of examples of every class, as the published program does, index for index.

    One generator, ``numpy.random.default_rng(seed)``, shuffles the examples of each class in ascending order of the
    classes, of which the first ``max_labels_per_class`` stay, and finally shuffles the joined list. Where
    ``max_labels_per_class`` is None all examples stay and the shuffles are made all the same, so that the order of the
    result depends on the seed in every case.

    Args:
      labels: class of every example, in the published order of the data set; indices refer to this order.
      max_labels_per_class: examples per class to keep, at least 1; None: all.
      seed: of the draw, at least 0.
      class_names: names for error messages, by label.
      kept_for_testing: for error messages, how many more images of each class were held out; None: none.

    Raises:
      InputError: ``max_labels_per_class`` is below 1 or above what the smallest class has, or the seed is negative.
    """
    check_draw(max_labels_per_class, seed)
    classes, counts = np.unique(labels, return_counts=True)
    if max_labels_per_class is not None and max_labels_per_class > counts.min():
        smallest = int(classes[counts.argmin()])
        name = smallest if class_names is None else repr(class_names[smallest])
        others = "" if kept_for_testing is None else f", as {kept_for_testing[smallest]} more are held out for testing"
        raise InputError(
            f"max_labels_per_class is {max_labels_per_class}, but class {name} has only {counts.min()} training "
            f"images{others}; it must be 1 to {counts.min()}, or unset for all"
        )
    rng = np.random.default_rng(seed)
    kept = []
    for label in classes:
        of_class = np.flatnonzero(labels == label)
        rng.shuffle(of_class)
        kept.append(of_class[:max_labels_per_class])
    indices = np.concatenate(kept).astype(np.int64)
    rng.shuffle(indices)
    return indices


def check_draw(max_labels_per_class: int | None, seed: int) -> None:
    """Checks what can be checked of a draw before the data are there.

    Raises:
      InputError: ``max_labels_per_class`` is below 1, or the seed is negative.
    """
    if max_labels_per_class is not None and max_labels_per_class < 1:
        raise InputError(f"max_labels_per_class is {max_labels_per_class}; it must be at least 1, or unset for all")
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be at least 0")
