"""Draws the few-shot subset of the training images (paper: section 4.1, "5, 10, ... 100 images per class")."""

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
    """Draws the same number of examples from every class; the indices equal those of the published program.

    The generator ``numpy.random.default_rng(seed)`` shuffles the examples of each class, in ascending order of the
    classes. The first ``max_labels_per_class`` of each class are kept, and the generator shuffles the joined list. If
    ``max_labels_per_class`` is None, all examples are kept and still shuffled, so the order always depends on the seed.

    Args:
      labels: the class of every example, in the published order of the data set; indices refer to this order.
      max_labels_per_class: the number of examples per class, at least 1; None: all.
      seed: the seed of the draw, at least 0.
      class_names: by label, for error messages.
      kept_for_testing: the number of held-out images of each class, for error messages; None: none were held out.

    Raises:
      InputError: ``max_labels_per_class`` is below 1 or above the size of the smallest class, or the seed is negative.
    """
    check_draw(max_labels_per_class, seed)
    classes, counts = np.unique(labels, return_counts=True)
    if max_labels_per_class is not None and max_labels_per_class > counts.min():
        smallest = int(classes[counts.argmin()])
        name = smallest if class_names is None else repr(class_names[smallest])
        others = "" if kept_for_testing is None else f", as {kept_for_testing[smallest]} more are held out for testing"
        raise InputError(
            f"max_labels_per_class: {max_labels_per_class}, but class {name} has only {counts.min()} training "
            f"images{others}; it must be from 1 to {counts.min()}, or unset for all"
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
    """Raises InputError for arguments of a draw that are out of range, as far as that shows without the data."""
    if max_labels_per_class is not None and max_labels_per_class < 1:
        raise InputError(f"max_labels_per_class: {max_labels_per_class}; it must be at least 1, or unset for all")
    if seed < 0:
        raise InputError(f"seed: {seed}; it must be at least 0")
