"""The data of a run in memory: labelled images, and the few-shot subset with the held-out images."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int, Int32, Int64, UInt8

from chimeramix_jax.config.rules import Fit
from chimeramix_jax.data import folds as division
from chimeramix_jax.data.identity import DataIdentity, Split, image_digest
from chimeramix_jax.data.originals import Original, Originals
from chimeramix_jax.errors import InputError


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
    # Images of the train split that are no validation images, since they belong together with one of ``train``.
    left_out: int = 0
    # The groups of the held-out images (see ``groups_held_out``) if these are those of the folds.
    groups_of_folds: list[str] | None = None

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
        return division.fold_of_each(self.units, self.train.labels, self.folds, draw, self.class_names)

    @cached_property
    def units(self) -> list[str]:
        """The name of each training image, the same for images that the folds do not separate (``kept_together``)."""
        return self._units(self.folds)

    def _units(self, least: int) -> list[str]:
        from chimeramix_jax.data.kept_together import names_of_units

        if self.originals is None:
            return [*self.identity.train.images]
        return names_of_units(self.originals.train, self.train.labels, near=self.near_together, least=least)

    @property
    def units_held_out(self) -> list[str]:
        """The same for the held-out images."""
        from chimeramix_jax.data.kept_together import names_of_units

        if self.originals is None:
            return [*self.identity.held_out.images]
        return names_of_units(self.originals.held_out, self.held_out.labels, near=self.near_together, least=1)

    @cached_property
    def groups_of_training(self) -> list[str] | None:
        """The name of each training image, the same for copies and for images of a group; None: all names differ."""
        return None if self.originals is None else _groups(self.originals.train, self.train.labels)

    @cached_property
    def groups_held_out(self) -> list[str] | None:
        """The same for the held-out images."""
        if self.groups_of_folds is not None:
            return self.groups_of_folds
        return None if self.originals is None else _groups(self.originals.held_out, self.held_out.labels)

    @cached_property
    def smallest_class(self) -> int:
        """The number of training images or groups of the class that has fewest; no more folds are possible."""
        images = np.array(self._units(least=2))
        return min(len(set(images[self.train.labels == label])) for label in range(len(self.class_names)))

    def with_folds(self, folds: int) -> "FewShotDataset":
        """Returns the data with another number of folds."""
        return self if folds == self.folds else dataclasses.replace(self, folds=folds)


def _groups(images: Sequence[Original], labels: Int[np.ndarray, "images"]) -> list[str] | None:
    from chimeramix_jax.data.kept_together import names_of_units

    names = names_of_units(images, labels, near=False, least=1)
    return None if len(set(names)) == len(names) else names
