"""A user's own images, from folders (``image_folder``), a table or split files (``image_table``, ``image_list``), or
arrays (``image_arrays``).
"""

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from chimeramix_jax.config.catalog import LISTS
from chimeramix_jax.config.rules import Fit
from chimeramix_jax.data.builders import image_arrays, image_folder, image_list, image_table
from chimeramix_jax.data.builders.contents import (
    TRAIN,
    Contents,
    LabelledSource,
    LabelledSources,
    fingerprint_of,
    refuse_single_images,
)
from chimeramix_jax.data.builders.examples import SKIPPED, labelled_image_info, png_bytes
from chimeramix_jax.data.fitting import squared
from chimeramix_jax.data.identity import image_digest
from chimeramix_jax.data.image_files import UnreadableFilesError, UnreadableImageError, unreadable_files
from chimeramix_jax.data.perceptual_hash import perceptual_hash
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import local_path, printable

_READ_AT_ONCE = 1000  # bounds the memory, if sources hold their images


class OwnImages(tfds.core.GeneratorBasedBuilder):
    """A user's own images, as squares of the same side.

    Prepared data are stored under the fingerprint of the images, the side and how images are fitted into squares. So a
    folder that has changed is prepared again, and different data are never confused. An example also describes the
    original image, before it was resized: its name, its size, the digest of its pixels and its perceptual hash.
    """

    name = "chimeramix_image_folder"
    VERSION = tfds.core.Version("3.0.0")
    NAMED_BY: ClassVar[str] = "dataset.directory"  # the setting that names the images, for error messages

    def __init__(
        self,
        contents: Contents,
        image_side: int,
        *,
        fit: Fit = "crop",
        skip_unreadable: bool = False,
        attempt: str = "",
        **builder_arguments: Any,
    ) -> None:
        """Creates the builder for the contents that ``scan`` has found.

        With ``skip_unreadable``, files that cannot be read are listed in the metadata; else they are an InputError.
        ``attempt`` tells data that were prepared with ``trying_again`` from those prepared before.
        """
        self._contents = contents
        self._image_side, self._fit = image_side, fit
        self._skip_unreadable = skip_unreadable
        kind = (f"_readable{attempt}" if skip_unreadable else "") + ("" if fit == "crop" else f"_{fit}")
        config = tfds.core.BuilderConfig(name=f"side_{image_side}_{contents.fingerprint}{kind}")
        super().__init__(config=config, **builder_arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(names=self._contents.class_names)
        metadata = tfds.core.MetadataDict({SKIPPED: []})
        sides = {name: tfds.features.Scalar(np.int64) for name in ("width", "height")}
        texts = {name: tfds.features.Text() for name in ("file", "digest", "perceptual_hash")}
        return labelled_image_info(self, self._image_side, label, metadata=metadata, **sides, **texts)

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        return {name: self._generate_examples(name, images) for name, images in self._contents.splits.items()}

    def _generate_examples(self, split: str, images: LabelledSources) -> Iterator[tuple[int, dict[str, Any]]]:
        readable, unreadable = set[int](), dict[int, UnreadableImageError]()  # by label, the first error
        for index, source in enumerate(images):
            try:
                image = source.read()
            except UnreadableImageError as error:
                if not self._skip_unreadable:
                    raise self._all_unreadable(error) from None
                self.info.metadata[SKIPPED].append([split, index])
                unreadable.setdefault(source.label, error)
                continue
            readable.add(source.label)
            yield (
                index,
                {
                    "index": index,
                    "image": png_bytes(squared(image, self._image_side, self._fit)),
                    "label": source.label,
                    "file": printable(source.name),
                    "width": image.width,
                    "height": image.height,
                    "digest": image_digest(np.asarray(image)),
                    "perceptual_hash": perceptual_hash(image),
                },
            )
        self._refuse_empty(split, readable, unreadable)

    def _refuse_empty(self, split: str, readable: Set[int], unreadable: Mapping[int, UnreadableImageError]) -> None:
        """Raises InputError if skipping files leaves a class without training images, or another split without any.

        A class without test images is allowed, as it is in a folder whose test part lacks the class.
        """
        missing = sorted(unreadable.keys() - readable)
        if not missing or (split != TRAIN and readable):
            return
        first, of_class = unreadable[missing[0]], f" of class {self._contents.class_names[missing[0]]!r}"
        what = f"training image{of_class}" if split == TRAIN else f"{split} image"
        raise InputError(f"{self.NAMED_BY}: no {what} can be read (the first, {first.path}, {first.reason})")

    @property
    def skipped(self) -> list[LabelledSource]:
        """The images that the prepared data lack because they could not be read, where their files are now."""
        positions = (self.info.metadata or {}).get(SKIPPED, ())
        return [self._contents.splits[split][index : index + 1][0] for split, index in positions]

    def groups(self, split: str) -> Sequence[str] | None:
        """Returns the group of each image of a split, those that were skipped included; None: the split has none."""
        return self._contents.groups.get(split)

    def trying_again(self) -> "Callable[[], OwnImages] | None":
        """Returns a function that creates the builder of data with more images; None if no skipped file can be read.

        Files become readable without being changed when a package such as pillow-heif is installed. The present data
        stay, since another process may be reading them.
        """
        skipped = self.skipped
        with ThreadPoolExecutor(os.cpu_count()) as readers:
            still = [error is not None for error in readers.map(_unreadable, skipped)]
        if all(still):
            return None
        attempt = fingerprint_of([self.builder_config.name, still])
        return functools.partial(
            type(self),
            self._contents,
            self._image_side,
            fit=self._fit,
            skip_unreadable=True,
            attempt=f"_{attempt}",
            data_dir=self.data_dir_root,
        )

    def _all_unreadable(self, first: UnreadableImageError) -> UnreadableFilesError:
        """Returns an error that lists all unreadable files, after the first has been found."""
        errors = []
        with ThreadPoolExecutor(os.cpu_count()) as readers:
            for images in self._contents.splits.values():
                for start in range(0, len(images), _READ_AT_ONCE):
                    read = readers.map(_unreadable, images[start : start + _READ_AT_ONCE])
                    errors += [error for error in read if error is not None]
        return unreadable_files(self.NAMED_BY, errors or [first])


def _unreadable(source: LabelledSource) -> UnreadableImageError | None:
    try:
        source.read()
    except UnreadableImageError as error:
        return error
    return None


def scan(directory: str, evaluate_on: str = "test", image_directory: str = "") -> Contents:
    """Lists a user's own images and their splits, without opening them; raises InputError if that is impossible.

    Args:
        directory: a folder, a CSV or TXT file that lists images, or an NPZ file of arrays.
        evaluate_on: the held-out images to use, "test" or "validation".
        image_directory: the folder to which listed paths are relative; "": that of the list.
    """
    if not directory:
        raise InputError("dataset.directory: not set; image_folder needs --config.dataset.directory=PATH")
    path = local_path(directory, "dataset.directory")
    suffix = path.suffix.lower()
    if path.is_dir() or not path.exists():
        contents = image_folder.scan_folder(path, evaluate_on)
    elif suffix in LISTS:
        root = _root_of_list(path, image_directory)
        contents = image_table.scan_table(path, root) if suffix == ".csv" else image_list.scan_list(path, root)
    elif suffix == ".npz":
        contents = image_arrays.scan_arrays(path)
    else:
        raise InputError(
            f"dataset.directory: {path} is a file; it must be a folder of images, a .csv or .txt file that lists "
            "images, or an .npz file of arrays"
        )
    if contents.validation is not None and contents.test is None and evaluate_on == "test":
        refuse_single_images(tuple(contents.train), contents.class_names, "test images")
    return contents


def folder_of(directory: str, image_directory: str = "") -> Path | None:
    """Returns the folder below which the files named by ``scan`` are; None for arrays, whose images have no files."""
    path = local_path(directory, "dataset.directory")
    if path.is_dir():
        return path
    return None if path.suffix.lower() == ".npz" else _root_of_list(path, image_directory)


def _root_of_list(path: Path, image_directory: str) -> Path:
    """Returns the folder to which the paths in a list of images are relative."""
    return local_path(image_directory, "dataset.image_directory") if image_directory else path.parent
