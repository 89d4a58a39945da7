"""A user's own images, in a folder per class.

::

    DIRECTORY/train/<class>/*      training images
    DIRECTORY/test/<class>/*       test images; without this folder a share of each class is held out (data/holdout.py)

A directory without ``train`` that holds the class folders directly is treated as the train part. ``Train`` and ``Test``
will do as well. Images lie directly in the class folders, in any format, size and mode that Pillow reads. What else
lies around, and what is no image by its name, is passed over and counted. The published order, to which few-shot splits
refer, is that of the class names and, within a class, of the file names; a letter such as ``ä`` is the same however the
file system composes it.
"""

import dataclasses
import hashlib
import json
import os
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
from chimeramix_jax.data.image_paths import PassedOverWarning, is_shown, may_be_image, tell_passed_over
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import by_name, local_path

_TRAIN, _TEST = "train", "test"
_VALIDATION = ("val", "valid", "validation")  # as others call images to choose by


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

    def __init__(
        self, contents: FolderContents, image_side: int, *, skip_unreadable: bool = False, **builder_arguments: Any
    ) -> None:
        """Creates the builder.

        Args:
          contents: what ``scan_folder`` found.
          image_side: pixels per side to store images at.
          skip_unreadable: leaves out files that cannot be read, instead of refusing the folder; they are listed in the
            metadata of the prepared data.
          **builder_arguments: of ``tfds.core.GeneratorBasedBuilder``.

        Raises:
          InputError: the size is below 1.
        """
        if image_side < 1:
            raise InputError(f"dataset.image_side is {image_side}; it must be at least 1 pixel")
        self._contents = contents
        self._image_side = image_side
        self._skip_unreadable = skip_unreadable
        kind = "_readable" if skip_unreadable else ""
        config = tfds.core.BuilderConfig(name=f"side_{image_side}_{contents.fingerprint}{kind}")
        super().__init__(config=config, **builder_arguments)

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
        """One error for all files that cannot be read, of which one has been met."""
        with ThreadPoolExecutor(os.cpu_count()) as readers:
            read = readers.map(self._unreadable, (*self._contents.train, *(self._contents.test or ())))
            errors = [error for error in read if error is not None]
        advice = "mend or remove them, or leave them out with --config.dataset.skip_unreadable"
        if len(errors) == 1:
            return InputError(f"{first} ({advice.replace('them', 'it')})")
        paths: dict[str, list[str]] = {}
        for error in errors:
            paths.setdefault(error.reason, []).append(str(error.path))
        listed = "; ".join(f"{', '.join(those)} {reason}" for reason, those in paths.items())
        return InputError(f"dataset.directory: {len(errors)} files cannot be read: {listed} ({advice})")

    def _unreadable(self, file: ImageFile) -> UnreadableImageError | None:
        try:
            read_rgb(file.path)
        except UnreadableImageError as error:
            return error
        return None


def scan_folder(directory: str) -> FolderContents:
    """Lists the images of a folder and their splits, without opening any of them.

    Args:
      directory: ``dataset.directory`` of the settings.

    Raises:
      InputError: the folder is missing or unreadable, or is not laid out as this module's description says.
    """
    if not directory:
        raise InputError("dataset.directory is not given; image_folder needs --config.dataset.directory=PATH")
    root = local_path(directory, "dataset.directory")
    passed_over: list[Path] = []
    split_roots = _split_roots(root, passed_over)
    train_root = split_roots.get(_TRAIN, root)
    folders = _class_folders(train_root, passed_over)
    class_names = tuple(folders)
    train = _files_of_classes(folders, class_names, passed_over)
    for label, name in enumerate(class_names):
        if not any(file.label == label for file in train):
            raise InputError(f"dataset.directory: the class folder {folders[name]} holds no images")
    test = _test_files(split_roots[_TEST], class_names, passed_over) if _TEST in split_roots else None
    told = [str(path.relative_to(root)) for path in passed_over]
    tell_passed_over("dataset.directory", told, "images of a class")
    if test is None:
        _refuse_single_images(train, class_names)
        return FolderContents(class_names, tuple(train), None, _fingerprint(root, class_names, train, None))
    return FolderContents(class_names, tuple(train), tuple(test), _fingerprint(root, class_names, train, test))


def _split_roots(root: Path, passed_over: list[Path]) -> dict[str, Path]:
    """The folders of the splits, as far as there are any: those called so that hold folders themselves."""
    folders = [path for path in _listed(root) if is_shown(path.name) and _is_folder(path)]
    called: dict[str, Path] = {}
    for path in folders:
        name = path.name.casefold()
        if name in (_TRAIN, _TEST, *_VALIDATION):
            if name in called:
                raise InputError(f"dataset.directory: {root} has both {called[name].name} and {path.name}; keep one")
            called[name] = path
    others = [path for path in folders if path not in called.values()]
    if not any(_holds_folders(path) for path in called.values()):
        if others or _TRAIN not in called:
            for path in called.values():
                _tell(f"{path} holds no class folders, and so it is taken for a class called {path.name}, not a split")
            return {}
    elif _TRAIN not in called:
        first = next(path for path in called.values() if _holds_folders(path))
        raise InputError(f"dataset.directory: {root} has a folder {first.name}, but none called train")
    validation = [called[name] for name in _VALIDATION if name in called]
    if validation and _TEST not in called:
        raise InputError(
            f"dataset.directory: {root} has {called[_TRAIN].name} and {validation[0].name}, but no test; rename "
            f"{validation[0].name} to test to measure on it, or move it away to have a share of train held out"
        )
    for path in validation:
        _tell(f"{path} is not used; classifiers are measured on {called[_TEST].name}")
    passed_over += [path for path in _listed(root) if path not in called.values()]
    return {name: called[name] for name in (_TRAIN, _TEST) if name in called}


def _tell(what: str) -> None:
    warnings.warn(f"dataset.directory: {what}", PassedOverWarning, stacklevel=2)


def _holds_folders(path: Path) -> bool:
    return any(is_shown(inner.name) and _is_folder(inner) for inner in _listed(path))


def _listed(folder: Path) -> list[Path]:
    """Lists a folder by name."""
    try:
        names = sorted(os.listdir(folder), key=by_name)
    except OSError as error:
        raise InputError(f"dataset.directory: {folder} cannot be read: {error.strerror}") from error
    return [folder / name for name in names]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError as error:
        raise InputError(f"dataset.directory: {path} cannot be read: {error.strerror}") from error


def _class_folders(split_root: Path, passed_over: list[Path]) -> dict[str, Path]:
    """The classes' folders by the classes' names."""
    folders: dict[str, Path] = {}
    for path in _listed(split_root):
        if not (is_shown(path.name) and _is_folder(path)):
            passed_over.append(path)
            continue
        name = unicodedata.normalize("NFC", path.name)
        if name in folders:
            raise InputError(f"dataset.directory: {split_root} has two folders called {name!r}; put them together")
        folders[name] = path
    if not folders:
        raise InputError(f"dataset.directory: {split_root} holds no class folders with images")
    if len(folders) == 1:
        only = next(iter(folders))
        raise InputError(f"dataset.directory: {split_root} holds only one class, {only!r}; at least two are needed")
    for name in folders:
        # Class names are kept as lines of a UTF-8 text file.
        if name != name.strip() or len(name.splitlines()) != 1 or not _is_unicode(name):
            raise InputError(
                f"dataset.directory: rename the class folder {name!r} in {split_root}: plain text, no blanks around"
            )
    return folders


def _is_unicode(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _files_of_classes(
    folders: Mapping[str, Path], class_names: Sequence[str], passed_over: list[Path]
) -> list[ImageFile]:
    files = []
    for label, name in enumerate(class_names):
        for path in _listed(folders[name]) if name in folders else []:
            if not is_shown(path.name):
                passed_over.append(path)
            elif _is_folder(path):
                raise InputError(
                    f"dataset.directory: {path} is a folder within a class folder; images must lie in {folders[name]} "
                    "itself"
                )
            elif not path.is_file():  # reading a pipe would wait for ever
                raise InputError(
                    f"dataset.directory: {path} is no file, but a pipe, a device, or a link leading nowhere; remove it"
                )
            elif not may_be_image(path.name):
                passed_over.append(path)
            else:
                files.append(ImageFile(path, label))
    return files


def _test_files(test_root: Path, class_names: Sequence[str], passed_over: list[Path]) -> list[ImageFile]:
    folders: dict[str, Path] = {}
    for path in _listed(test_root):
        if is_shown(path.name) and _is_folder(path):
            folders[unicodedata.normalize("NFC", path.name)] = path
        else:
            passed_over.append(path)
    unknown = [name for name in folders if name not in class_names]
    if unknown:
        listed = ", ".join(map(repr, unknown))
        raise InputError(f"dataset.directory: {test_root} has classes that the train part lacks: {listed}")
    files = _files_of_classes(folders, class_names, passed_over)
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
            name = unicodedata.normalize("NFC", str(file.path.relative_to(root)))
            splits[-1].append((name, status.st_size, status.st_mtime_ns))
    text = json.dumps([class_names, splits])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
