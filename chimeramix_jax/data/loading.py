"""Loads the arrays of a few-shot run as the settings describe them."""

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.config.catalog import DatasetEntry, dataset_entry, place_of_images
from chimeramix_jax.config.checking import check_value
from chimeramix_jax.config.rules import Fit
from chimeramix_jax.data import folds as division
from chimeramix_jax.data import holdout
from chimeramix_jax.data.few_shot import check_draw, division_indices, few_shot_indices
from chimeramix_jax.data.identity import DataIdentity, Split, image_digest
from chimeramix_jax.data.originals import Original, Originals
from chimeramix_jax.errors import InputError, one_line

_SPLITS = ("train", "validation", "test")  # of which a user's own images have some
_ORIGINAL = ("file", "width", "height", "digest", "perceptual_hash")  # features of a user's own images
_RECORDS_AT_ONCE = 1000  # bounds the memory for encoded images


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """Images and their classes, in memory."""

    images: UInt8[np.ndarray, "examples height width 3"]  # RGB, 0 to 255
    labels: Int32[np.ndarray, "examples"]  # from 0 to the number of classes - 1
    # The file of each image, relative to ``FewShotDataset.directory``; in data sets without files, the split and the
    # published position, counted from 0, such as "test_00017".
    names: tuple[str, ...]

    def at(self, positions: Int64[np.ndarray, "chosen"]) -> "LabelledImages":
        """Returns the images at these positions."""
        names = tuple(self.names[position] for position in positions)
        return LabelledImages(self.images[positions], self.labels[positions], names)

    def identity(self) -> Split:
        """Returns the images' digests and labels."""
        return Split.of(map(image_digest, self.images), self.labels)


@dataclasses.dataclass(frozen=True)
class FewShotDataset:
    """The data of a run."""

    name: str
    class_names: tuple[str, ...]  # by label
    # The few-shot subset, in the order of ``train_indices``; in a fold's run, the part of it to train on.
    train: LabelledImages
    train_indices: Int64[np.ndarray, "examples"]  # the positions of ``train`` in the published train split
    # The images that classifiers are evaluated on: the whole test or validation split, or the images of the train split
    # that are not in ``train``, in the published order; in a fold's run, the images of the fold. Empty if there is no
    # test split and folds are used instead.
    held_out: LabelledImages
    divided: bool = False  # whether there is no published test split and part of the train split was held out instead
    # The identity of the data, if it is stored with the images; None: it must be computed.
    content: DataIdentity | None = None
    # A user's own images before they were resized; None: a published data set.
    originals: Originals | None = None
    own_validation: bool = False  # whether validation images are a split of their own, not part of the train split
    directory: Path | None = None  # the folder below which the images' files are; None: the data set has none
    fit: Fit = "crop"  # how the images were fitted into squares
    folds: int = 0  # into which the training images are divided, too; 0: none, as in a fold's run
    folds_seed: str = ""  # the seed of these divisions
    near_together: bool = False  # whether these do not separate near duplicates, as far as possible

    @cached_property
    def distinct_training(self) -> Int64[np.ndarray, "distinct"]:
        """The positions in ``train`` without repetitions: the data of a fold may repeat some of their images."""
        return np.sort(np.unique(self.train_indices, return_index=True)[1])

    @cached_property
    def identity(self) -> DataIdentity:
        """The identity of the data, from their content."""
        return self.content or DataIdentity(self.class_names, self.train.identity(), self.held_out.identity())

    @cached_property
    def fold_of_each(self) -> Int64[np.ndarray, "images"] | None:
        """The fold of each training image, from 0, in the first division; None without folds that the images allow."""
        if not self.folds:
            return None
        try:
            return self.divided_into_folds(0)
        except InputError:  # it is for the folds' runs to refuse them
            return None

    def divided_into_folds(self, repeat: int) -> Int64[np.ndarray, "images"]:
        """Returns the fold of each training image, from 0, in one of the divisions; raises InputError if impossible."""
        draw = f"{self.folds_seed} {repeat}"
        return division.fold_of_each(self._units(self.folds), self.train.labels, self.folds, draw, self.class_names)

    def _units(self, least: int) -> list[str]:
        """Returns the names of what folds do not separate (``kept_together``)."""
        from chimeramix_jax.data.kept_together import names_of_units

        if self.originals is None:
            return [*self.identity.train.images]
        return names_of_units(self.originals.train, self.train.labels, near=self.near_together, least=least)

    @cached_property
    def smallest_class(self) -> int:
        """The number of training images or groups of the class that has fewest; no more folds are possible."""
        images = np.array(self._units(least=2))
        return min(len(set(images[self.train.labels == label])) for label in range(len(self.class_names)))

    def with_folds(self, folds: int) -> "FewShotDataset":
        """Returns the data with another number of folds."""
        return self if folds == self.folds else dataclasses.replace(self, folds=folds)


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
            chosen, held_out = parts.chosen, parts.held_out
            if not fold and not (only_folds and dataset_config.evaluate_on == "test"):
                _refuse_empty(held_out, dataset_config, len(parts.indices))
            train_images = _decode(builder, chosen)
            held_out_images = train_images.at(np.arange(0)) if fold else _decode(builder, held_out)
    content, originals = None, None
    if chosen.originals is not None:
        content = DataIdentity(class_names, chosen.identity(), held_out.identity(), _identity_of(parts.others))
        originals = _originals(builder, chosen, held_out, parts.others)
    dataset = FewShotDataset(
        entry.name,
        class_names,
        train_images,
        parts.indices,
        held_out_images,
        parts.divided,
        content,
        originals,
        own_validation="validation" in splits,
        directory=_directory_of_files(entry, dataset_config),
        fit=dataset_config.fit,
        folds=folds,
        folds_seed=f"{dataset_config.holdout_seed} {seed}",
        near_together=dataset_config.keep_together == "near_duplicates",
    )
    return _without_fold(dataset, fold) if fold else dataset


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
    rest = "rest" if "validation" in others else "validation"
    others[rest] = train.at(np.delete(np.arange(len(train.labels)), indices))
    held_out = others.pop(dataset_config.evaluate_on)
    return _Parts(train.at(indices), indices, held_out, tuple(others.values()), divided)


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


def _refuse_empty(held_out: "_Examples", dataset_config: ConfigDict, training_images: int) -> None:
    """Raises InputError if there are no images to evaluate on."""
    if not len(held_out.labels):
        raise InputError(
            f"dataset.evaluate_on: {dataset_config.evaluate_on!r}, but {dataset_config.name} has no images for it "
            f"besides the {training_images} training images"
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
    from chimeramix_jax.data.kept_together import names_of_units

    share, draw = dataset_config.holdout_fraction, f"{dataset_config.holdout_seed} {seed}"
    near = dataset_config.keep_together == "near_duplicates"
    assert examples.originals is not None
    units = names_of_units(examples.originals, examples.labels, near=near, least=2)
    kept = holdout.held_out(units, examples.labels, share, draw, class_names)
    return examples.at(np.flatnonzero(~kept)), examples.at(np.flatnonzero(kept))


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
