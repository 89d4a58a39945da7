"""Loads the arrays of a few-shot run as the settings describe them."""

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.config.catalog import DatasetEntry, dataset_entry
from chimeramix_jax.config.checking import check_value
from chimeramix_jax.data import folds as division
from chimeramix_jax.data import holdout
from chimeramix_jax.data.few_shot import check_draw, few_shot_indices
from chimeramix_jax.data.identity import DataIdentity, Split, image_digest
from chimeramix_jax.errors import InputError, one_line

_RECORDS_AT_ONCE = 1000  # bounds the memory for encoded images


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """Images and their classes, in memory."""

    images: UInt8[np.ndarray, "examples height width 3"]  # RGB, 0 to 255
    labels: Int32[np.ndarray, "examples"]  # from 0 to the number of classes - 1

    def at(self, positions: Int64[np.ndarray, "chosen"]) -> "LabelledImages":
        """Returns the images at these positions."""
        return LabelledImages(self.images[positions], self.labels[positions])

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
    # The images that classifiers are evaluated on: the whole test split, or the images of the train split that
    # are not in ``train``, in the published order; in a fold's run, the images of the fold. Empty if there is no test
    # split and folds are used instead.
    held_out: LabelledImages
    divided: bool = False  # whether there is no published test split and part of the train split was held out instead
    # The identity of the data, if it is stored with the images; None: it must be computed.
    content: DataIdentity | None = None

    @cached_property
    def identity(self) -> DataIdentity:
        """The identity of the data, from their content."""
        return self.content or DataIdentity(self.class_names, self.train.identity(), self.held_out.identity())


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

    entry = dataset_entry(dataset_config.name)
    for key, value in dataset_config.items():
        check_value(f"dataset.{key}", value)
    check_draw(max_labels_per_class, seed)
    with quiet_tfds():
        builder = prepared_builder(entry, dataset_config)
        class_names = tuple(builder.info.features["label"].names)
        with _named_if_damaged(builder):
            train = _published_order(builder, entry, "train")
            divided = "test" not in builder.info.splits
            if not divided:
                test = _published_order(builder, entry, "test")
            elif folds:
                test = train.at(np.arange(0))
            else:
                train, test = _divided(train, dataset_config, seed, class_names)
            kept = np.bincount(test.labels, minlength=len(class_names)) if divided and not folds else None
            indices = few_shot_indices(train.labels, max_labels_per_class, seed, class_names, kept)
            chosen, rest = train.at(indices), train.at(np.delete(np.arange(len(train.labels)), indices))
            held_out, unused = (rest, test) if dataset_config.evaluate_on == "validation" else (test, rest)
            if not len(held_out.labels) and not fold and not (divided and folds):
                raise InputError(
                    f"dataset.evaluate_on: {dataset_config.evaluate_on!r}, but {entry.name} has no images for it "
                    f"besides the {len(indices)} training images"
                )
            train_images = _decode(builder, chosen)
            if fold:
                draw = f"{dataset_config.holdout_seed} {seed}"
                return _fold(entry.name, class_names, chosen, train_images, indices, folds, fold, draw, divided)
            held_out_images = _decode(builder, held_out)
    content = None
    if chosen.digests is not None:
        content = DataIdentity(class_names, chosen.identity(), held_out.identity(), unused.identity())
    return FewShotDataset(entry.name, class_names, train_images, indices, held_out_images, divided, content)


@dataclasses.dataclass(frozen=True)
class _Examples:
    """Examples in the published order, without their images."""

    split: str
    records: Int64[np.ndarray, "examples"]  # their record numbers in that split
    labels: Int32[np.ndarray, "examples"]
    digests: tuple[str, ...] | None  # the digests of their images, if stored

    def at(self, positions: Int64[np.ndarray, "chosen"]) -> "_Examples":
        """Returns the examples at these positions."""
        digests = None if self.digests is None else tuple(self.digests[position] for position in positions)
        return _Examples(self.split, self.records[positions], self.labels[positions], digests)

    def identity(self) -> Split:
        """Returns the examples' digests and labels."""
        return Split.of(self.digests or (), self.labels)


def _fold(
    name: str,
    class_names: tuple[str, ...],
    chosen: _Examples,
    images: LabelledImages,
    indices: Int64[np.ndarray, "examples"],
    folds: int,
    fold: int,
    draw: str,
    divided: bool,
) -> FewShotDataset:
    """Returns the data of a fold's run, given the few-shot subset and the seed ``draw`` of its divisions."""
    digests = images.identity().images if chosen.digests is None else chosen.digests
    repeat, held_out = divmod(fold - 1, folds)
    numbers = division.fold_of_each(digests, images.labels, folds, f"{draw} {repeat}", class_names)
    train = division.filled_training_positions(numbers, images.labels, held_out)
    out = np.flatnonzero(numbers == held_out)
    train_split, out_split = (
        Split.of((digests[position] for position in part), images.labels[part]) for part in (train, out)
    )
    content = DataIdentity(class_names, train_split, out_split)
    return FewShotDataset(
        name, class_names, images.at(train), indices[train], images.at(out), divided=divided, content=content
    )


def _divided(
    examples: _Examples, dataset_config: ConfigDict, seed: int, class_names: tuple[str, ...]
) -> tuple[_Examples, _Examples]:
    """Divides the images of a folder without test images into training and test images, differently for every seed.

    If all seeds held out the same images, their spread would not include the effect of that choice.
    """
    assert examples.digests is not None
    share, draw = dataset_config.holdout_fraction, f"{dataset_config.holdout_seed} {seed}"
    kept = holdout.held_out(examples.digests, examples.labels, share, draw, class_names)
    return examples.at(np.flatnonzero(~kept)), examples.at(np.flatnonzero(kept))


def _published_order(builder: Any, entry: DatasetEntry, split: str) -> _Examples:
    """Reads a split without its images, and sorts it in the published order."""
    import tensorflow_datasets as tfds

    # TFDS's own way to do this, PartialDecoding, needs TensorFlow.
    names = ["label", entry.position_feature, *(["digest"] if "digest" in builder.info.features else [])]
    features = tfds.features.FeaturesDict({name: builder.info.features[name] for name in names})
    source = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    examples = [
        features.deserialize_example_np(record)
        for start in range(0, len(source), _RECORDS_AT_ONCE)
        for record in source.__getitems__(range(start, min(start + _RECORDS_AT_ONCE, len(source))))
    ]
    positions = np.array([entry.published_position(example[entry.position_feature]) for example in examples])
    labels = np.array([example["label"] for example in examples], dtype=np.int32)
    digests = tuple(example["digest"].decode() for example in examples) if "digest" in names else None
    return _Examples(split, np.arange(len(examples)), labels, digests).at(np.argsort(positions))


def _decode(builder: Any, examples: _Examples) -> LabelledImages:
    """Decodes the images of the examples, in order."""
    source, records = builder.as_data_source(examples.split), examples.records
    images = np.empty((len(records), *builder.info.features["image"].shape), np.uint8)
    for start in range(0, len(records), _RECORDS_AT_ONCE):
        chunk = records[start : start + _RECORDS_AT_ONCE].tolist()
        for position, example in enumerate(source.__getitems__(chunk), start):
            images[position] = example["image"]
    return LabelledImages(images, examples.labels)


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
