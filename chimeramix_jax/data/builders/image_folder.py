"""A user's own images, in a folder per class.

::

    DIRECTORY/train/<class>/*      training images
    DIRECTORY/test/<class>/*       test images; without this folder a share of each class is held out (data/holdout.py)

A directory without ``train`` that holds the class folders directly is treated as the train part. What else lies beside
``train`` and ``test``, and files beside the class folders, are not looked at. Images lie directly in the class folders,
in any format, size and mode that Pillow reads. Hidden files and those that file managers leave behind are ignored. The
published order, to which few-shot splits refer, is that of the class names and, within a class, of the file names.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from chimeramix_jax.data.builders.examples import labelled_image_info, png_bytes
from chimeramix_jax.data.identity import image_digest
from chimeramix_jax.data.image_files import read_rgb, squared
from chimeramix_jax.data.image_paths import is_shown
from chimeramix_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image on disk and the class it shows."""

    path: Path
    label: int


@dataclasses.dataclass(frozen=True)
class FolderContents:
    """The splits of a folder, in published order.

    Attributes:
      class_names: by label.
      train: files of the train split.
      test: files of the test split; None: there is none, and part of ``train`` is to be held out.
      fingerprint: differs where any file's name, size or time of change does, or any file's split.
    """

    class_names: tuple[str, ...]
    train: tuple[ImageFile, ...]
    test: tuple[ImageFile, ...] | None
    fingerprint: str


class ImageFolder(tfds.core.GeneratorBasedBuilder):
    """The images of a folder, square, at one size.

    Prepared data are kept under the fingerprint of the folder and the size, so that a folder that has changed is
    prepared anew, and what was prepared from another is never taken for it. An example also has the digest of the
    image's own pixels, before it was made square and small.
    """

    name = "chimeramix_image_folder"
    VERSION = tfds.core.Version("2.0.0")

    def __init__(self, contents: FolderContents, image_side: int, **builder_arguments: Any) -> None:
        """Creates the builder.

        Args:
          contents: what ``scan_folder`` found.
          image_side: pixels per side to store images at.
          **builder_arguments: of ``tfds.core.GeneratorBasedBuilder``.

        Raises:
          InputError: the size is below 1.
        """
        if image_side < 1:
            raise InputError(f"dataset.image_side is {image_side}; it must be at least 1 pixel")
        self._contents = contents
        self._image_side = image_side
        config = tfds.core.BuilderConfig(name=f"side_{image_side}_{contents.fingerprint}")
        super().__init__(config=config, **builder_arguments)

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(names=self._contents.class_names)
        return labelled_image_info(self, self._image_side, label, digest=tfds.features.Text())

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        splits = {"train": self._contents.train, "test": self._contents.test}
        return {name: self._generate_examples(files) for name, files in splits.items() if files is not None}

    def _generate_examples(self, files: Sequence[ImageFile]) -> Iterator[tuple[int, dict[str, Any]]]:
        for index, file in enumerate(files):
            image = read_rgb(file.path)
            small = png_bytes(squared(image, self._image_side))
            yield (
                index,
                {"index": index, "image": small, "label": file.label, "digest": image_digest(np.asarray(image))},
            )


def scan_folder(directory: str) -> FolderContents:
    """Lists the images of a folder and their splits, without opening any of them.

    Args:
      directory: ``dataset.directory`` of the settings.

    Raises:
      InputError: the folder is missing or unreadable, or is not laid out as this module's description says.
    """
    if not directory:
        raise InputError("dataset.directory is not given; image_folder needs --config.dataset.directory=PATH")
    root = Path(directory).expanduser()
    folders = {path.name: path for path in _visible(root) if _is_folder(path)}
    if "test" in folders and "train" not in folders:
        raise InputError(f"dataset.directory: {root} has a folder test, but none called train")
    train_root = folders.get("train", root)
    class_names = _class_names(train_root)
    train = _files_of_classes(train_root, class_names)
    for label, name in enumerate(class_names):
        if not any(file.label == label for file in train):
            raise InputError(f"dataset.directory: the class folder {train_root / name} holds no images")
    if "test" not in folders:
        _refuse_single_images(train, class_names)
        return FolderContents(class_names, tuple(train), None, _fingerprint(root, class_names, train, None))
    test = _test_files(folders["test"], class_names)
    return FolderContents(class_names, tuple(train), tuple(test), _fingerprint(root, class_names, train, test))


def _visible(folder: Path) -> list[Path]:
    """Lists a folder by name, without hidden files."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise InputError(f"dataset.directory: {folder} cannot be read: {error.strerror}") from error
    return [folder / name for name in names if is_shown(name)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise InputError(f"dataset.directory: {path} cannot be read: {error.strerror}") from error


def _class_names(split_root: Path) -> tuple[str, ...]:
    names = tuple(path.name for path in _visible(split_root) if _is_folder(path))
    if not names:
        raise InputError(f"dataset.directory: {split_root} holds no class folders with images")
    if len(names) == 1:
        raise InputError(f"dataset.directory: {split_root} holds only one class, {names[0]!r}; at least two are needed")
    for name in names:
        # Class names are kept as lines of a UTF-8 text file.
        if name != name.strip() or len(name.splitlines()) != 1 or not _is_unicode(name):
            raise InputError(
                f"dataset.directory: rename the class folder {name!r} in {split_root}: plain text, no blanks around"
            )
    return names


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _files_of_classes(split_root: Path, class_names: Sequence[str]) -> list[ImageFile]:
    files = []
    for label, name in enumerate(class_names):
        folder = split_root / name
        for path in _visible(folder) if _is_folder(folder) else []:
            if _is_folder(path):
                raise InputError(
                    f"dataset.directory: {path} is a folder within a class folder; images must lie in {folder} itself"
                )
            if not path.is_file():  # reading a pipe would wait for ever
                raise InputError(
                    f"dataset.directory: {path} is no file, but a pipe, a device, or a link leading nowhere; remove it"
                )
            files.append(ImageFile(path, label))
    return files


def _test_files(test_root: Path, class_names: Sequence[str]) -> list[ImageFile]:
    unknown = [path.name for path in _visible(test_root) if _is_folder(path) and path.name not in class_names]
    if unknown:
        listed = ", ".join(map(repr, unknown))
        raise InputError(f"dataset.directory: {test_root} has classes that the train part lacks: {listed}")
    files = _files_of_classes(test_root, class_names)
    if not files:
        raise InputError(f"dataset.directory: {test_root} holds no class folders with images")
    return files


def _refuse_single_images(files: Sequence[ImageFile], class_names: Sequence[str]) -> None:
    """Makes sure that a part of every class can be held out."""
    for label, name in enumerate(class_names):
        of_class = [file for file in files if file.label == label]
        if len(of_class) < 2:
            raise InputError(
                f"dataset.directory: class {name!r} has a single image, {of_class[0].path}; without a folder "
                "test each class needs two, one to train and one to test"
            )


def _fingerprint(
    root: Path, class_names: Sequence[str], train: Sequence[ImageFile], test: Sequence[ImageFile] | None
) -> str:
    """Hashes all that the prepared data depend on, besides the image size; not where the folder lies."""
    splits: list[list[tuple[str, int, int]]] = []
    for files in (train, test or ()):
        splits.append([])
        for file in files:
            try:
                status = file.path.stat()
            except OSError as error:
                raise InputError(f"dataset.directory: {file.path} cannot be read: {error.strerror}") from error
            splits[-1].append((str(file.path.relative_to(root)), status.st_size, status.st_mtime_ns))
    text = json.dumps([class_names, splits])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
