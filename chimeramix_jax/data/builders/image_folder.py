"""A user's own images, in one folder per class.

::

    DIRECTORY/train/<class>/*      training images
    DIRECTORY/test/<class>/*       test images; without this folder a share of each class is held out (data/holdout.py)

A directory without ``train`` that directly contains the class folders is used as the train part. ``Train`` and ``Test``
are accepted as well. Images lie directly in the class folders, in any format, size and mode that Pillow reads. All
other files, and files whose names are not those of images, are ignored and counted. The published order, to which
few-shot splits refer, is the order of the class names and, within a class, of the file names, whatever Unicode form the
file system uses for letters such as ``ä``.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from chimeramix_jax.data.builders.examples import SKIPPED, labelled_image_info, png_bytes
from chimeramix_jax.data.identity import image_digest
from chimeramix_jax.data.image_files import UnreadableImageError, read_rgb, squared
from chimeramix_jax.data.image_paths import IgnoredFilesWarning, is_shown, may_be_image, warn_of_ignored
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import by_name, local_path

_TRAIN, _TEST = "train", "test"
_SURROGATE = re.compile("[\ud800-\udfff]")  # stands for bytes that are not UTF-8
_VALIDATION = ("val", "valid", "validation")  # usual names of a validation part


@dataclasses.dataclass(frozen=True)
class ImageFile:
    """An image on disk and its class."""

    path: Path
    label: int


@dataclasses.dataclass(frozen=True)
class FolderContents:
    """The splits of a folder, in published order."""

    class_names: tuple[str, ...]  # by label
    train: tuple[ImageFile, ...]  # files of the train split
    # Files of the test split; None: there is none, and part of ``train`` must be held out.
    test: tuple[ImageFile, ...] | None
    fingerprint: str  # changes with any file's name, size, modification time or split
    root: Path  # the folder that was scanned


class ImageFolder(tfds.core.GeneratorBasedBuilder):
    """The images of a folder, as squares of the same side.

    Prepared data are stored under the fingerprint of the folder and the side, so a folder that has changed is prepared
    again, and data of different folders are never confused. An example also has the digest of the original image's
    pixels, before it was cropped and resized.
    """

    name = "chimeramix_image_folder"
    VERSION = tfds.core.Version("2.0.0")

    def __init__(
        self, contents: FolderContents, image_side: int, *, skip_unreadable: bool = False, **builder_arguments: Any
    ) -> None:
        """Creates the builder for the contents that ``scan_folder`` has found.

        With ``skip_unreadable``, files that cannot be read are listed in the metadata; else they are an InputError.
        """
        self._contents = contents
        self._image_side = image_side
        self._skip_unreadable = skip_unreadable
        kind = "_readable" if skip_unreadable else ""
        config = tfds.core.BuilderConfig(name=f"side_{image_side}_{contents.fingerprint}{kind}")
        super().__init__(config=config, **builder_arguments)

    @property
    def root(self) -> Path:
        """The folder that contains all files."""
        return self._contents.root

    def file_names(self, split: str) -> list[str]:
        """Returns the files of a split in published order, relative to ``root``, including those that were skipped."""
        files = (self._contents.train if split == _TRAIN else self._contents.test) or ()
        return [str(file.path.relative_to(self.root)) for file in files]

    def _info(self) -> tfds.core.DatasetInfo:
        label = tfds.features.ClassLabel(names=self._contents.class_names)
        metadata = tfds.core.MetadataDict({SKIPPED: []})
        return labelled_image_info(self, self._image_side, label, metadata=metadata, digest=tfds.features.Text())

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        splits = {"train": self._contents.train, "test": self._contents.test}
        return {name: self._generate_examples(files) for name, files in splits.items() if files is not None}

    def _generate_examples(self, files: Sequence[ImageFile]) -> Iterator[tuple[int, dict[str, Any]]]:
        readable: set[int] = set()
        for index, file in enumerate(files):
            try:
                image = read_rgb(file.path)
            except UnreadableImageError as error:
                if not self._skip_unreadable:
                    raise self._all_unreadable(error) from None
                self.info.metadata[SKIPPED].append(str(file.path))
                continue
            readable.add(file.label)
            small, digest = png_bytes(squared(image, self._image_side)), image_digest(np.asarray(image))
            yield index, {"index": index, "image": small, "label": file.label, "digest": digest}
        for label in sorted({file.label for file in files} - readable):
            name = self._contents.class_names[label]
            raise InputError(f"dataset.directory: no image of class {name!r} can be read")

    def _all_unreadable(self, first: UnreadableImageError) -> InputError:
        """Returns an error that lists all unreadable files, after the first has been found."""
        with ThreadPoolExecutor(os.cpu_count()) as readers:
            read = readers.map(self._unreadable, (*self._contents.train, *(self._contents.test or ())))
            errors = [error for error in read if error is not None]
        advice = "repair or remove them, or skip them with --config.dataset.skip_unreadable"
        if len(errors) == 1:
            return InputError(f"{first} ({advice.replace('them', 'it')})")
        paths: dict[str, list[str]] = {}
        for error in errors:
            paths.setdefault(error.reason, []).append(str(error.path))
        listed = "; ".join(f"{', '.join(files)} {reason}" for reason, files in paths.items())
        return InputError(f"dataset.directory: {len(errors)} files cannot be read: {listed} ({advice})")

    def _unreadable(self, file: ImageFile) -> UnreadableImageError | None:
        try:
            read_rgb(file.path)
        except UnreadableImageError as error:
            return error
        return None


def scan_folder(directory: str) -> FolderContents:
    """Lists the images of a folder and their splits, without opening them; raises InputError for any other layout."""
    if not directory:
        raise InputError("dataset.directory: not set; image_folder needs --config.dataset.directory=PATH")
    root = local_path(directory, "dataset.directory")
    ignored: list[Path] = []
    split_roots = _split_roots(root, ignored)
    train_root = split_roots.get(_TRAIN, root)
    folders = _class_folders(train_root, ignored)
    class_names = tuple(folders)
    train = _files_of_classes(folders, class_names, ignored)
    for label, name in enumerate(class_names):
        if not any(file.label == label for file in train):
            raise InputError(f"dataset.directory: the class folder {folders[name]} contains no images")
    test = _test_files(split_roots[_TEST], class_names, ignored) if _TEST in split_roots else None
    relative = [str(path.relative_to(root)) for path in ignored]
    warn_of_ignored("dataset.directory", relative, "images of a class")
    if test is None:
        _refuse_single_images(train, class_names)
    fingerprint = _fingerprint(root, class_names, train, test)
    return FolderContents(class_names, tuple(train), None if test is None else tuple(test), fingerprint, root)


def _split_roots(root: Path, ignored: list[Path]) -> dict[str, Path]:
    """Returns the existing split folders: those called ``train`` or ``test`` that contain folders."""
    folders = [path for path in _listed(root) if is_shown(path.name) and _is_folder(path)]
    parts: dict[str, Path] = {}
    for path in folders:
        name = path.name.casefold()
        if name in (_TRAIN, _TEST, *_VALIDATION):
            if name in parts:
                raise InputError(f"dataset.directory: {root} has both {parts[name].name} and {path.name}; keep one")
            parts[name] = path
    others = [path for path in folders if path not in parts.values()]
    if not any(_holds_folders(path) for path in parts.values()):
        if others or _TRAIN not in parts:
            for path in parts.values():
                _warn(f"{path} contains no class folders, so it is used as a class called {path.name}, not as a split")
            return {}
    elif _TRAIN not in parts:
        first = next(path for path in parts.values() if _holds_folders(path))
        raise InputError(f"dataset.directory: {root} has a folder {first.name}, but no folder train")
    validation = [parts[name] for name in _VALIDATION if name in parts]
    if validation and _TEST not in parts:
        raise InputError(
            f"dataset.directory: {root} has {parts[_TRAIN].name} and {validation[0].name}, but no test; rename "
            f"{validation[0].name} to test to evaluate on it, or move it away to hold out a share of train"
        )
    for path in validation:
        _warn(f"{path} is not used; classifiers are evaluated on {parts[_TEST].name}")
    ignored += [path for path in _listed(root) if path not in parts.values()]
    return {name: parts[name] for name in (_TRAIN, _TEST) if name in parts}


def _warn(message: str) -> None:
    warnings.warn(f"dataset.directory: {message}", IgnoredFilesWarning, stacklevel=2)


def _holds_folders(path: Path) -> bool:
    return any(is_shown(inner.name) and _is_folder(inner) for inner in _listed(path))


def _listed(folder: Path) -> list[Path]:
    """Lists a folder, sorted by name."""
    with _named_if_unreadable(folder):
        return [folder / name for name in sorted(os.listdir(folder), key=by_name)]


def _is_folder(path: Path) -> bool:
    with _named_if_unreadable(path):
        return path.is_dir()


@contextlib.contextmanager
def _named_if_unreadable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"dataset.directory: {path} cannot be read: {error.strerror}") from error


def _class_folders(split_root: Path, ignored: list[Path]) -> dict[str, Path]:
    """Returns the class folders by class name."""
    folders: dict[str, Path] = {}
    for path in _listed(split_root):
        if not (is_shown(path.name) and _is_folder(path)):
            ignored.append(path)
            continue
        name = unicodedata.normalize("NFC", path.name)
        if name in folders:
            raise InputError(f"dataset.directory: {split_root} has two folders called {name!r}; merge them")
        folders[name] = path
    if not folders:
        raise InputError(f"dataset.directory: {split_root} contains no class folders with images")
    if len(folders) == 1:
        only = next(iter(folders))
        raise InputError(f"dataset.directory: {split_root} contains only one class, {only!r}; at least two are needed")
    for name in folders:
        # TFDS stores class names as lines of a UTF-8 text file.
        if name != name.strip() or len(name.splitlines()) != 1 or _SURROGATE.search(name):
            raise InputError(
                f"dataset.directory: rename the class folder {name!r} in {split_root}; its name must be a line of "
                "Unicode text without spaces at its ends"
            )
    return folders


def _files_of_classes(folders: Mapping[str, Path], class_names: Sequence[str], ignored: list[Path]) -> list[ImageFile]:
    files = []
    for label, name in enumerate(class_names):
        for path in _listed(folders[name]) if name in folders else []:
            if not is_shown(path.name):
                ignored.append(path)
            elif _is_folder(path):
                raise InputError(
                    f"dataset.directory: {path} is a folder within a class folder; images must be directly in "
                    f"{folders[name]}"
                )
            elif not path.is_file():  # reading a pipe could block forever
                raise InputError(
                    f"dataset.directory: {path} is not a file but a pipe, a device or a broken link; remove it"
                )
            elif not may_be_image(path.name):
                ignored.append(path)
            else:
                files.append(ImageFile(path, label))
    return files


def _test_files(test_root: Path, class_names: Sequence[str], ignored: list[Path]) -> list[ImageFile]:
    folders: dict[str, Path] = {}
    for path in _listed(test_root):
        if is_shown(path.name) and _is_folder(path):
            folders[unicodedata.normalize("NFC", path.name)] = path
        else:
            ignored.append(path)
    unknown = [name for name in folders if name not in class_names]
    if unknown:
        listed = ", ".join(map(repr, unknown))
        raise InputError(f"dataset.directory: {test_root} has classes that are not in the train part: {listed}")
    files = _files_of_classes(folders, class_names, ignored)
    if not files:
        raise InputError(f"dataset.directory: {test_root} contains no class folders with images")
    return files


def _refuse_single_images(files: Sequence[ImageFile], class_names: Sequence[str]) -> None:
    """Raises InputError unless every class has an image to train and an image to hold out."""
    for label, name in enumerate(class_names):
        of_class = [file for file in files if file.label == label]
        if len(of_class) < 2:
            raise InputError(
                f"dataset.directory: class {name!r} has a single image, {of_class[0].path}; without a test "
                "folder each class needs two, one to train and one to test"
            )


def _fingerprint(
    root: Path, class_names: Sequence[str], train: Sequence[ImageFile], test: Sequence[ImageFile] | None
) -> str:
    """Returns a hash of everything that the prepared data depend on except the image side; not of the location."""
    splits: list[list[tuple[str, int, int]]] = []
    for files in (train, test or ()):
        splits.append([])
        for file in files:
            with _named_if_unreadable(file.path):
                status = file.path.stat()
            name = unicodedata.normalize("NFC", str(file.path.relative_to(root)))
            splits[-1].append((name, status.st_size, status.st_mtime_ns))
    text = json.dumps([class_names, splits])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
