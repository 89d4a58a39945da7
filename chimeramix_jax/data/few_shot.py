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
        name = _name_of(smallest, class_names)
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


def division_indices(
    labels: Int[np.ndarray, "examples"],
    labels_per_class: int,
    division: int,
    class_names: Sequence[str] | None = None,
) -> Int64[np.ndarray, "chosen"]:
    """Returns the first ``labels_per_class`` examples of every class, or the next that follow them, in published order.

    The GEM benchmark divides ciFAIR-10 like this: with 50 images per class, its ``trainval0``, ``trainval1`` and
    ``trainval2`` are the divisions 0, 1 and 2 (https://github.com/lorenzobrigato/gem).

    Args:
      labels: the class of every example, in the published order of the data set; indices refer to this order.
      labels_per_class: the number of examples per class, at least 1.
      division: which of the consecutive parts of that size, from 0.
      class_names: by label, for error messages.

    Raises:
      InputError: a class has too few examples.
    """
    check_draw(labels_per_class, seed=0)
    start, end = division * labels_per_class, (division + 1) * labels_per_class
    classes, counts = np.unique(labels, return_counts=True)
    if end > counts.min():
        name = _name_of(int(classes[counts.argmin()]), class_names)
        raise InputError(
            f"dataset.division: {division}, which are the images {start + 1} to {end} of each class, but class {name} "
            f"has only {counts.min()} training images"
        )
    return np.concatenate([np.flatnonzero(labels == label)[start:end] for label in classes]).astype(np.int64)


def _name_of(label: int, class_names: Sequence[str] | None) -> str:
    return str(label) if class_names is None else repr(class_names[label])


def check_draw(max_labels_per_class: int | None, seed: int) -> None:
    """Raises InputError for arguments of a draw that are out of range, as far as that shows without the data."""
    if max_labels_per_class is not None and max_labels_per_class < 1:
        raise InputError(f"max_labels_per_class: {max_labels_per_class}; it must be at least 1, or unset for all")
    if seed < 0:
        raise InputError(f"seed: {seed}; it must be at least 0")
