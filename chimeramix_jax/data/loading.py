"""From settings to the arrays of a few-shot run."""

import contextlib
import dataclasses
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int32, Int64, UInt8
from ml_collections import ConfigDict

from chimeramix_jax.config.catalog import DatasetEntry, dataset_entry
from chimeramix_jax.data import holdout
from chimeramix_jax.data.few_shot import check_draw, few_shot_indices
from chimeramix_jax.data.identity import DataIdentity, Split, image_digest
from chimeramix_jax.errors import InputError, one_line

_RECORDS_AT_ONCE = 1000  # bounds the memory for encoded images


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """Images and their classes, all in memory.

    Attributes:
      images: RGB, 0 to 255.
      labels: from 0 to the number of classes - 1.
    """

    images: UInt8[np.ndarray, "examples height width 3"]
    labels: Int32[np.ndarray, "examples"]

    def identity(self) -> Split:
        """The images' digests and labels."""
        return Split.of(map(image_digest, self.images), self.labels)


@dataclasses.dataclass(frozen=True)
class FewShotDataset:
    """All that a run sees of a data set.

    Attributes:
      name: of the data set, as in the catalog.
      class_names: by label.
      train: the few labelled images, in the order of ``train_indices``.
      train_indices: their places in the published train split.
      held_out: what classifiers are measured on: the whole test split, or the images that ``train`` leaves out of the
        train split; either in the published order.
      divided: there is no published test split; part of the train split was held out, by the images' content.
      content: what tells the data from others, where that is stored with the images; None: it has to be computed.
    """

    name: str
    class_names: tuple[str, ...]
    train: LabelledImages
    train_indices: Int64[np.ndarray, "examples"]
    held_out: LabelledImages
    divided: bool = False
    content: DataIdentity | None = None

    @cached_property
    def identity(self) -> DataIdentity:
        """What tells these data from others, by their content."""
        return self.content or DataIdentity(self.class_names, self.train.identity(), self.held_out.identity())


def load_few_shot(dataset_config: ConfigDict, max_labels_per_class: int | None, seed: int) -> FewShotDataset:
    """Prepares the data set if it is not on disk, draws the few-shot split, loads it and what it is measured on.

    Of the train split only the chosen images are decoded.

    Args:
      dataset_config: ``config.dataset``.
      max_labels_per_class: training images per class; None: all.
      seed: of the draw, see ``few_shot_indices``; and, with ``dataset.holdout_seed``, of what is held out of a folder
        without test images.

    Raises:
      InputError: a setting is wrong or the data cannot be had; the message names the key.
    """
    from chimeramix_jax.data.preparation import prepared_builder, quiet_tfds

    entry = dataset_entry(dataset_config.name)
    check_draw(max_labels_per_class, seed)
    if entry.source == "directory":
        holdout.check(dataset_config.holdout_fraction, dataset_config.holdout_seed)
    with quiet_tfds():
        builder = prepared_builder(entry, dataset_config)
        class_names = tuple(builder.info.features["label"].names)
        with _named_if_damaged(builder):
            train = _published_order(builder, entry, "train")
            divided = "test" not in builder.info.splits
            if divided:
                train, test = _divided(train, dataset_config, seed, class_names)
            else:
                test = _published_order(builder, entry, "test")
            kept = np.bincount(test.labels, minlength=len(class_names)) if divided else None
            indices = few_shot_indices(train.labels, max_labels_per_class, seed, class_names, kept)
            chosen, rest = train.at(indices), train.at(np.delete(np.arange(len(train.labels)), indices))
            held_out, unused = (rest, test) if dataset_config.evaluate_on == "validation" else (test, rest)
            if not len(held_out.labels):
                raise InputError(
                    f"dataset.evaluate_on: {dataset_config.evaluate_on!r}, but {entry.name} holds no image for it "
                    f"beside the {len(indices)} that are trained on"
                )
            train_images, held_out_images = _decode(builder, chosen), _decode(builder, held_out)
    content = None
    if chosen.digests is not None:
        content = DataIdentity(class_names, chosen.identity(), held_out.identity(), unused.identity())
    return FewShotDataset(entry.name, class_names, train_images, indices, held_out_images, divided, content)


@dataclasses.dataclass(frozen=True)
class _Examples:
    """Examples in the published order, without their images.

    Attributes:
      split: of TFDS, in which they are.
      records: their numbers there.
      labels: their classes.
      digests: of their images, where these are stored.
    """

    split: str
    records: Int64[np.ndarray, "examples"]
    labels: Int32[np.ndarray, "examples"]
    digests: tuple[str, ...] | None

    def at(self, places: Int64[np.ndarray, "chosen"]) -> "_Examples":
        """Those at some places."""
        digests = None if self.digests is None else tuple(self.digests[place] for place in places)
        return _Examples(self.split, self.records[places], self.labels[places], digests)

    def identity(self) -> Split:
        """Their digests and labels."""
        return Split.of(self.digests or (), self.labels)


def _divided(
    examples: _Examples, dataset_config: ConfigDict, seed: int, class_names: tuple[str, ...]
) -> tuple[_Examples, _Examples]:
    """Divides the images of a folder without test images into those to train and those to test, anew for every seed.

    With the same hold-out for all, several seeds would say nothing about another choice of either.
    """
    assert examples.digests is not None
    share, draw = dataset_config.holdout_fraction, f"{dataset_config.holdout_seed} {seed}"
    kept = holdout.held_out(examples.digests, examples.labels, share, draw, class_names)
    return examples.at(np.flatnonzero(~kept)), examples.at(np.flatnonzero(kept))


def _published_order(builder: Any, entry: DatasetEntry, split: str) -> _Examples:
    """Reads a split without its images."""
    import tensorflow_datasets as tfds

    # What TFDS offers for this, PartialDecoding, needs TensorFlow.
    wanted = ["label", entry.position_feature, *(["digest"] if "digest" in builder.info.features else [])]
    features = tfds.features.FeaturesDict({name: builder.info.features[name] for name in wanted})
    source = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
    examples = [
        features.deserialize_example_np(record)
        for start in range(0, len(source), _RECORDS_AT_ONCE)
        for record in source.__getitems__(range(start, min(start + _RECORDS_AT_ONCE, len(source))))
    ]
    positions = np.array([entry.published_position(example[entry.position_feature]) for example in examples])
    labels = np.array([example["label"] for example in examples], dtype=np.int32)
    digests = tuple(example["digest"].decode() for example in examples) if "digest" in wanted else None
    return _Examples(split, np.arange(len(examples)), labels, digests).at(np.argsort(positions))


def _decode(builder: Any, examples: _Examples) -> LabelledImages:
    """Decodes the images of examples, in their order."""
    source, records = builder.as_data_source(examples.split), examples.records
    images = np.empty((len(records), *builder.info.features["image"].shape), np.uint8)
    for start in range(0, len(records), _RECORDS_AT_ONCE):
        chunk = records[start : start + _RECORDS_AT_ONCE].tolist()
        for place, example in enumerate(source.__getitems__(chunk), start):
            images[place] = example["image"]
    return LabelledImages(images, examples.labels)


@contextlib.contextmanager
def _named_if_damaged(builder: Any) -> Iterator[None]:
    """Says which directory to delete where prepared files turn out to be damaged."""
    try:
        yield
    except (RuntimeError, OSError) as error:  # the first is what the record reader raises
        reason = one_line(error)
        raise InputError(
            f"dataset.data_dir: {builder.data_dir} is damaged; delete that directory to prepare it anew ({reason})"
        ) from error
