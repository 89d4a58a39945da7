"""Loads the arrays of a few-shot run as the settings describe them."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64
from ml_collections import ConfigDict

from chimeramix_jax.config.catalog import DatasetEntry, dataset_entry, place_of_images
from chimeramix_jax.config.each_setting import check_value
from chimeramix_jax.data import folds as division
from chimeramix_jax.data import holdout
from chimeramix_jax.data.dataset import FewShotDataset, LabelledImages
from chimeramix_jax.data.few_shot import check_draw, division_indices, few_shot_indices
from chimeramix_jax.data.identity import DataIdentity, Split
from chimeramix_jax.data.originals import Original, Originals
from chimeramix_jax.errors import InputError, one_line

_SPLITS = ("train", "validation", "test")  # of which a user's own images have some
_ORIGINAL = ("file", "width", "height", "digest", "perceptual_hash")  # features of a user's own images
_RECORDS_AT_ONCE = 1000  # bounds the memory for encoded images


def load_few_shot(
    dataset_config: ConfigDict, max_labels_per_class: int | None, seed: int, folds: int = 0, fold: int = 0
) -> FewShotDataset:
    """Draws the few-shot subset and loads it together with the held-out images; prepares the data set if necessary.

    Decodes only the chosen images of the train split. Raises InputError if a setting is wrong or the data are missing.

    Args:
        dataset_config: ``config.dataset``.
        max_labels_per_class: training images per class; None: all.
        seed: the seed of ``few_shot_indices``. Together with ``dataset.holdout_seed`` it also determines the held-out
            images of a folder without test images, and the folds.
        folds: the number of folds; 0: none. If there are any, no images of a folder without test images are held out.
        fold: the fold to leave out of the subset, from 1, continued from one division into folds to the next; 0: none.
    """
    from chimeramix_jax.data.preparation import prepared_builder, quiet_tfds

    entry = _checked_entry(dataset_config)
    check_draw(max_labels_per_class, seed)
    with quiet_tfds():
        builder = prepared_builder(entry, dataset_config)
        class_names = tuple(builder.info.features["label"].names)
        with _named_if_damaged(builder):
            splits = {name: _published_order(builder, name) for name in _SPLITS if name in builder.info.splits}
            only_folds = folds > 0 and "test" not in splits
            parts = _parts_of(splits, only_folds, entry, dataset_config, max_labels_per_class, seed, class_names)
            if not fold and not (only_folds and dataset_config.evaluate_on == "test"):
                _refuse_empty(parts, dataset_config)
            train_images = _decode(builder, parts.chosen)
            held_out_images = train_images.at(np.arange(0)) if fold else _decode(builder, parts.held_out)
    identity, originals = _of_own_images(builder, class_names, parts)
    dataset = FewShotDataset(
        entry.name,
        class_names,
        train_images,
        parts.indices,
        held_out_images,
        parts.divided,
        identity,
        originals,
        own_validation="validation" in splits,
        directory=_directory_of_files(entry, dataset_config),
        fit=dataset_config.fit,
        folds=folds,
        folds_seed=f"{dataset_config.holdout_seed} {seed}",
        near_together=dataset_config.keep_together == "near_duplicates",
        left_out=parts.left_out,
    )
    return _without_fold(dataset, fold) if fold else dataset


def _of_own_images(
    builder: Any, class_names: tuple[str, ...], parts: "_Parts"
) -> tuple[DataIdentity | None, Originals | None]:
    """Returns the identity and the files of a user's own images, which are stored with them; None for others."""
    chosen, held_out, others = parts.chosen, parts.held_out, parts.others
    if chosen.originals is None:
        return None, None
    identity = DataIdentity(class_names, chosen.identity(), held_out.identity(), _identity_of(others))
    return identity, _originals(builder, chosen, held_out, others)


def _parts_of(
    splits: dict[str, "_Examples"],
    only_folds: bool,
    entry: DatasetEntry,
    dataset_config: ConfigDict,
    max_labels_per_class: int | None,
    seed: int,
    class_names: tuple[str, ...],
) -> "_Parts":
    """Returns the few-shot subset, what is held out, and the rest of the published splits.

    With ``only_folds``, nothing is held out of a train split that has no test split beside it, and neither is if the
    run is evaluated on validation images of their own.
    """
    on_own_validation = dataset_config.evaluate_on == "validation" and "validation" in splits
    divided = "test" not in splits and not only_folds and not on_own_validation
    train = splits["train"]
    others = {name: examples for name, examples in splits.items() if name != "train"}
    if divided:
        train, others["test"] = _divided(train, dataset_config, seed, class_names)
    elif only_folds:
        others["test"] = train.at(np.arange(0))
    kept = np.bincount(others["test"].labels, minlength=len(class_names)) if divided else None
    indices = _drawn(train.labels, entry, dataset_config, max_labels_per_class, seed, class_names, kept)
    # The rest of the train split serves as validation images, unless there are others.
    rest, beside = np.delete(np.arange(len(train.labels)), indices), np.arange(0)
    if dataset_config.evaluate_on == "validation" and "validation" not in others and entry.source == "directory":
        rest, beside = _without_relatives(rest, train, indices, dataset_config)
    others["rest" if "validation" in others else "validation"] = train.at(rest)
    held_out = others.pop(dataset_config.evaluate_on)
    return _Parts(train.at(indices), indices, held_out, (*others.values(), train.at(beside)), divided, len(beside))


def _without_relatives(
    rest: Int64[np.ndarray, "rest"],
    train: "_Examples",
    indices: Int64[np.ndarray, "chosen"],
    dataset_config: ConfigDict,
) -> tuple[Int64[np.ndarray, "kept"], Int64[np.ndarray, "left_out"]]:
    """Divides the rest of a train split into images that serve for validation, and those that do not.

    The latter belong together (``kept_together``) with an image of the few-shot subset, whose positions are
    ``indices``.
    """
    names = np.array(_units_of(train, dataset_config))
    is_relative = np.isin(names[rest], names[indices])
    return rest[~is_relative], rest[is_relative]


def _drawn(
    labels: Int32[np.ndarray, "examples"],
    entry: DatasetEntry,
    dataset_config: ConfigDict,
    max_labels_per_class: int | None,
    seed: int,
    class_names: tuple[str, ...],
    kept: Int64[np.ndarray, "classes"] | None,
) -> Int64[np.ndarray, "chosen"]:
    """Returns the positions of the few-shot subset in the train split: drawn by seed, or those of a division.

    ``kept`` are the numbers of images of each class that were held out of the train split; None: none were.
    """
    # The division of a benchmark's data set is that of its lists.
    if dataset_config.division < 0 or max_labels_per_class is None or entry.source == "lists":
        return few_shot_indices(labels, max_labels_per_class, seed, class_names, kept)
    return division_indices(labels, max_labels_per_class, dataset_config.division, class_names)


def _checked_entry(dataset_config: ConfigDict) -> DatasetEntry:
    """Returns the catalog's entry of a data set; raises InputError if a setting is wrong."""
    entry = dataset_entry(dataset_config.name)
    for key, value in dataset_config.items():
        check_value(f"dataset.{key}", value)
    return entry


def _directory_of_files(entry: DatasetEntry, dataset_config: ConfigDict) -> Path | None:
    """Returns the folder below which the images' files are; None if the data set has none."""
    if entry.source not in ("directory", "lists"):
        return None
    from chimeramix_jax.data.builders.own_images import folder_of

    return folder_of(*place_of_images(dataset_config))


def _refuse_empty(parts: "_Parts", dataset_config: ConfigDict) -> None:
    """Raises InputError if there are no images to evaluate on."""
    if not len(parts.held_out.labels):
        related = ""
        if parts.left_out:
            related = f" and the {parts.left_out} that are copies, near duplicates or of a group with them"
        raise InputError(
            f"dataset.evaluate_on: {dataset_config.evaluate_on!r}, but {dataset_config.name} has no images for it "
            f"besides the {len(parts.indices)} training images{related}"
        )


@dataclasses.dataclass(frozen=True)
class _Examples:
    """Examples in the published order, without their images."""

    split: str
    records: Int64[np.ndarray, "examples"]  # their record numbers in that split
    labels: Int32[np.ndarray, "examples"]
    names: tuple[str, ...]  # see ``LabelledImages``
    originals: tuple[Original, ...] | None  # the original images, if they are described

    def at(self, positions: Int64[np.ndarray, "chosen"]) -> "_Examples":
        """Returns the examples at these positions."""
        originals = None if self.originals is None else tuple(self.originals[position] for position in positions)
        names = tuple(self.names[position] for position in positions)
        return _Examples(self.split, self.records[positions], self.labels[positions], names, originals)

    def identity(self) -> Split:
        """Returns the digests of the original images, and the labels."""
        return Split.of(self.digests(), self.labels)

    def digests(self) -> list[str]:
        """Returns the digests of the original images, which must be described."""
        assert self.originals is not None
        return [original.digest for original in self.originals]


@dataclasses.dataclass(frozen=True)
class _Parts:
    """What a run uses its examples for."""

    chosen: _Examples  # the few-shot subset
    indices: Int64[np.ndarray, "chosen"]  # its positions in the train split
    held_out: _Examples
    others: tuple[_Examples, ...]  # unused
    divided: bool  # whether the held-out examples were taken out of the train split
    left_out: int  # see ``FewShotDataset``


def _identity_of(parts: Iterable[_Examples]) -> Split:
    """Returns the digests and labels of several parts together."""
    splits = [part.identity() for part in parts]
    return Split(
        tuple(image for split in splits for image in split.images),
        tuple(label for split in splits for label in split.labels),
    )


def _originals(builder: Any, chosen: _Examples, held_out: _Examples, others: Iterable[_Examples]) -> Originals:
    """Describes the original images of a run, and names the files that were skipped."""
    from chimeramix_jax.data.preparation import skipped_files

    unused = tuple(original for part in others for original in part.originals or ())
    return Originals(chosen.originals or (), held_out.originals or (), unused, skipped_files(builder))


def _without_fold(dataset: FewShotDataset, fold: int) -> FewShotDataset:
    """Returns the data of a fold's run.

    Args:
        dataset: all training images, and their folds; its held-out images do not matter.
        fold: the fold to leave out, from 1, continued from one division to the next.
    """
    images, own = dataset.train, dataset.originals
    digests = dataset.identity.train.images
    repeat, left_out = divmod(fold - 1, dataset.folds)
    numbers = dataset.divided_into_folds(repeat)
    train = division.filled_training_positions(numbers, images.labels, left_out)
    out = np.flatnonzero(numbers == left_out)
    train_split, out_split = (
        Split.of((digests[position] for position in part), images.labels[part]) for part in (train, out)
    )
    if own is not None:
        distinct, other = (tuple(own.train[position] for position in part) for part in (np.unique(train), out))
        own = Originals(distinct, other, (), own.unreadable)
    return dataclasses.replace(
        dataset,
        train=images.at(train),
        train_indices=dataset.train_indices[train],
        held_out=images.at(out),
        divided=False,
        content=DataIdentity(dataset.class_names, train_split, out_split),
        originals=own,
        own_validation=False,  # a fold is part of the train split, even if there are other validation images
        folds=0,
    )


def _divided(
    examples: _Examples, dataset_config: ConfigDict, seed: int, class_names: tuple[str, ...]
) -> tuple[_Examples, _Examples]:
    """Divides the images of a folder without test images into training and test images, differently for every seed.

    If all seeds held out the same images, their spread would not include the effect of that choice.
    """
    share, draw = dataset_config.holdout_fraction, f"{dataset_config.holdout_seed} {seed}"
    units = _units_of(examples, dataset_config)
    kept = holdout.held_out(units, examples.labels, share, draw, class_names)
    return examples.at(np.flatnonzero(~kept)), examples.at(np.flatnonzero(kept))


def _units_of(examples: _Examples, dataset_config: ConfigDict) -> list[str]:
    """Returns the names of what a division into two parts does not separate, for a user's own images."""
    from chimeramix_jax.data.kept_together import names_of_units

    assert examples.originals is not None
    near = dataset_config.keep_together == "near_duplicates"
    return names_of_units(examples.originals, examples.labels, near=near, least=2)


def _published_order(builder: Any, split: str) -> _Examples:
    """Reads a split without its images, and sorts it in the published order, which TFDS does not keep."""
    import tensorflow_datasets as tfds

    from chimeramix_jax.data.preparation import groups_of

    # TFDS's own way to do this, PartialDecoding, needs TensorFlow.
    described = set(_ORIGINAL) <= set(builder.info.features)
    names = ["label", "index", *(_ORIGINAL if described else ())]
    features = tfds.features.FeaturesDict({name: builder.info.features[name] for name in names})
    source = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    examples = [
        features.deserialize_example_np(record)
        for start in range(0, len(source), _RECORDS_AT_ONCE)
        for record in source.__getitems__(range(start, min(start + _RECORDS_AT_ONCE, len(source))))
    ]
    positions = np.array([example["index"] for example in examples], dtype=np.int64)
    labels = np.array([example["label"] for example in examples], dtype=np.int32)
    originals = tuple(map(_original, examples)) if described else None
    if originals is not None and (groups := groups_of(builder, split)) is not None:
        pairs = zip(originals, positions.tolist(), strict=True)
        originals = tuple(dataclasses.replace(original, group=groups[index]) for original, index in pairs)
    if originals is None:
        image_names = tuple(f"{split}_{position:05}" for position in positions)
    else:
        image_names = tuple(original.file for original in originals)
    return _Examples(split, np.arange(len(examples)), labels, image_names, originals).at(np.argsort(positions))


def _original(example: Mapping[str, Any]) -> Original:
    """Returns what an example says of its original image."""
    return Original(
        file=example["file"].decode(),
        label=int(example["label"]),
        width=int(example["width"]),
        height=int(example["height"]),
        digest=example["digest"].decode(),
        perceptual_hash=example["perceptual_hash"].decode(),
    )


def _decode(builder: Any, examples: _Examples) -> LabelledImages:
    """Decodes the images of the examples, in order."""
    source, records = builder.as_data_source(examples.split), examples.records
    images = np.empty((len(records), *builder.info.features["image"].shape), np.uint8)
    for start in range(0, len(records), _RECORDS_AT_ONCE):
        chunk = records[start : start + _RECORDS_AT_ONCE].tolist()
        for position, example in enumerate(source.__getitems__(chunk), start):
            images[position] = example["image"]
    return LabelledImages(images, examples.labels, examples.names)


@contextlib.contextmanager
def _named_if_damaged(builder: Any) -> Iterator[None]:
    """Names the directory to delete if prepared files are damaged."""
    try:
        yield
    except (RuntimeError, OSError) as error:  # the record reader raises RuntimeError
        reason = one_line(error)
        raise InputError(
            f"dataset.data_dir: {builder.data_dir} is damaged; delete that directory to prepare it again ({reason})"
        ) from error
