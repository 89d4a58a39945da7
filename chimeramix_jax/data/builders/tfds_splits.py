"""Chooses the splits of a data set of TensorFlow Datasets (TFDS) that are used for training and testing."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax.data.builders.contents import SPLIT_NAMES, TEST, TRAIN, VALIDATION
from chimeramix_jax.errors import InputError, not_one_of, one_line

NO_SPLIT = "none"  # the value of ``dataset.test_split`` that holds out training images


def choose_splits(builder: Any, dataset_config: ConfigDict) -> dict[str, str]:
    """Returns what is used for training and, if there is any, for validation and testing; raises InputError if unclear.

    The values are names of splits, or parts of splits such as ``train[:80%]``.
    """
    name, existing = dataset_config.name, list(builder.info.splits)
    has = f"it has {', '.join(existing)}"
    named = {role: dataset_config[f"{role}_split"] for role in (TRAIN, VALIDATION, TEST)}
    for role, split in named.items():
        if split and (role, split) != (TEST, NO_SPLIT):
            _check_split(builder, f"dataset.{role}_split", split)
    train = named[TRAIN] or _usual(existing, TRAIN)
    if train is None:
        raise InputError(f"dataset.train_split: not set, but {name} has no split called train; {has}")
    used = {_base(split) for split in (train, named[VALIDATION], named[TEST])}
    free = [split for split in existing if split not in used]
    validation, test = (named[role] or _usual(free, role) for role in (VALIDATION, TEST))
    if test == NO_SPLIT:
        if named[VALIDATION]:
            raise InputError(
                f"dataset.validation_split: {named[VALIDATION]!r}, but with dataset.test_split {NO_SPLIT} a share of "
                "the training images is held out instead; it must be empty"
            )
        return {TRAIN: train}
    for_validation = validation is not None and dataset_config.evaluate_on == VALIDATION
    if test is None and (free or validation) and not for_validation:
        raise InputError(
            f"dataset.test_split: not set, but {name} has no split called test; {has}; name the one to test on, or "
            f"hold out a share of the training images with --config.dataset.test_split={NO_SPLIT}"
        )
    chosen = {TRAIN: train, VALIDATION: validation, TEST: test}
    splits = {role: split for role, split in chosen.items() if split is not None}
    _refuse_overlap(builder, name, splits)
    return splits


def _usual(splits: Sequence[str], role: str) -> str | None:
    """Returns the split whose name is usual for training, validation or testing, if there is one."""
    return next((split for split in splits if SPLIT_NAMES.get(split.casefold()) == role), None)


def _base(split: str) -> str:
    """Returns the split that a part such as ``train[:80%]`` is of."""
    return split.partition("[")[0]


def _check_split(builder: Any, key: str, split: str) -> None:
    """Raises InputError unless this is a split, or a part of one that is not empty."""
    existing = list(builder.info.splits)
    if _base(split) not in existing or "+" in split:
        raise not_one_of(key, split, existing)
    try:
        examples = builder.info.splits[split].num_examples
    except (ValueError, AssertionError) as error:
        raise InputError(f"{key}: {split!r} is not allowed ({one_line(error)})") from None
    if not examples:
        raise InputError(f"{key}: {split!r} has no examples")


def _refuse_overlap(builder: Any, name: str, splits: Mapping[str, str]) -> None:
    """Raises InputError if two of the splits, or parts of them, have examples in common."""
    for (first, one), (second, other) in itertools.combinations(splits.items(), 2):
        if _positions(builder, one) & _positions(builder, other):
            raise InputError(
                f"dataset.{second}_split: {other!r} has examples in common with dataset.{first}_split {one!r} of "
                f"{name}; they must differ"
            )


def _positions(builder: Any, split: str) -> set[tuple[str, int]]:
    """Returns file and position of every record of a split."""
    return {
        (str(part.filename), part.skip + number)
        for part in builder.info.splits[split].file_instructions
        for number in range(part.take)
    }
