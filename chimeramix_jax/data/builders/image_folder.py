"""Lists a user's own images that are in one folder per class.

::

    DIRECTORY/train/<class>/*      training images
    DIRECTORY/val/<class>/*        validation images, if there are any; ``valid`` and ``validation`` mean the same
    DIRECTORY/test/<class>/*       test images; without this folder a share of each class in ``train`` is held out for
                                   testing (data/holdout.py)

A directory without ``train`` that directly contains the class folders is used as the train part. Names such as
``Train``, ``training``, ``testing`` and ``tests`` are accepted as well. Images lie directly in the class folders, in
any format, size and mode that Pillow reads. All other files, and files whose names are not those of images, are ignored
and counted. The published order, to which few-shot splits refer, is the order of the class names and, within a class,
of the file names, whatever Unicode form the file system uses for letters such as ``ä``.
"""

import dataclasses
import os
import unicodedata
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax.data.builders.contents import (
    SPLIT_NAMES,
    TEST,
    TRAIN,
    VALIDATION,
    Contents,
    ImageFile,
    fingerprint_of_files,
    named_if_unreadable,
    refuse_odd_names,
    refuse_single_images,
)
from chimeramix_jax.data.image_paths import (
    IgnoredFilesWarning,
    about_raw,
    is_shown,
    may_be_image,
    warn_of_ignored,
)
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import by_name, local_path


def scan_folder(root: Path, evaluate_on: str = "test") -> Contents:
    """Lists the images of a folder and their splits, without opening them; raises InputError for any other layout.

    ``evaluate_on`` are the held-out images to use; a warning says which are not.
    """
    ignored: list[Path] = []
    split_roots = _split_roots(root, ignored)
    folders = _class_folders(root, split_roots.get(TRAIN, root), ignored)
    class_names = tuple(folders)
    listing = _Listing(root, class_names, ignored)
    train = listing.files_of_classes(folders)
    for label, name in enumerate(class_names):
        if not any(file.label == label for file in train):
            raw = about_raw(path for path in ignored if path.parent == folders[name])
            raise InputError(f"dataset.directory: the class folder {folders[name]} contains no images{raw}")
    validation, test = (
        tuple(listing.held_out_files(split_roots[split])) if split in split_roots else None
        for split in (VALIDATION, TEST)
    )
    warn_of_ignored("dataset.directory", [str(path.relative_to(root)) for path in ignored], " of a class")
    if validation is not None and evaluate_on == "test":
        evaluated = (
            f"images of {split_roots[TRAIN].name} that it leaves out" if test is None else split_roots[TEST].name
        )
        _warn(
            f"{split_roots[VALIDATION]} is used only with --config.dataset.evaluate_on=validation, or to calibrate "
            f"probabilities; this run evaluates on {evaluated}"
        )
    if test is None and validation is None:
        refuse_single_images(train, class_names, "a test folder")
    fingerprint = fingerprint_of_files(class_names, [train, test or (), *([validation] if validation else [])])
    return Contents(class_names, tuple(train), validation, test, fingerprint)


def refuse_among_photos(path: str | os.PathLike[str], named_by: str, dataset_config: ConfigDict) -> None:
    """Raises InputError, which names a flag or setting, if a folder for other files is where photos are looked for.

    Its files would be taken for classes or photos at the next look, if not at the first. Hidden folders are not looked
    at, and neither are those beside ``train`` and ``test``. The folder need not exist.
    """
    if dataset_config.name != "image_folder" or not dataset_config.directory:
        return
    root = Path(os.path.realpath(local_path(dataset_config.directory, "dataset.directory")))
    place = Path(os.path.realpath(path))
    if not os.path.isdir(root) or (root != place and root not in place.parents):
        return
    parts = place.relative_to(root).parts
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IgnoredFilesWarning)  # they come with the look that follows
        splits = _split_roots(root, [])
    is_looked_at = not splits or (bool(parts) and root / parts[0] in splits.values())
    if is_looked_at and all(map(is_shown, parts)):
        raise InputError(
            f"{named_by}={path}: lies in the folder of photos {root}, where it would be taken for a class or a photo; "
            f"choose a folder outside it with {named_by}=PATH"
        )


def _split_roots(root: Path, ignored: list[Path]) -> dict[str, Path]:
    """Returns the existing split folders: those called ``train``, ``val`` or ``test`` that contain folders."""
    _refuse_broken_links(root)
    folders = [path for path in _listed(root) if is_shown(path.name) and _is_folder(path)]
    named = [path for path in folders if path.name.casefold() in SPLIT_NAMES]
    hold_folders = any(map(_holds_folders, named))
    parts: dict[str, Path] = {}
    for path in named:
        split = SPLIT_NAMES[path.name.casefold()]
        if split in parts and hold_folders:
            raise InputError(f"dataset.directory: {root} has both {parts[split].name} and {path.name}; keep one")
        parts.setdefault(split, path)
    if not hold_folders:
        if len(folders) > len(parts) or TRAIN not in parts:
            for path in named:
                _warn(f"{path} contains no class folders, so it is used as a class called {path.name}, not as a split")
            return {}
    elif TRAIN not in parts:
        first = next(path for path in parts.values() if _holds_folders(path))
        raise InputError(
            f"dataset.directory: {root} has a folder {first.name}, but no folder train; move the class folders into one"
        )
    ignored += [path for path in _listed(root) if path not in parts.values()]
    return parts


def _warn(message: str) -> None:
    warnings.warn(f"dataset.directory: {message}", IgnoredFilesWarning, stacklevel=2)


def _only_folder(path: Path) -> Path | None:
    """Returns the only folder in a folder; None if there are several or none."""
    folders = [inner for inner in _listed(path) if is_shown(inner.name) and _is_folder(inner)]
    return folders[0] if len(folders) == 1 else None


def _holds_folders(path: Path) -> bool:
    return any(is_shown(inner.name) and _is_folder(inner) for inner in _listed(path))


def _listed(folder: Path) -> list[Path]:
    """Lists a folder, sorted by name."""
    with named_if_unreadable(folder):
        return [folder / name for name in sorted(os.listdir(folder), key=by_name)]


def _is_folder(path: Path) -> bool:
    with named_if_unreadable(path):
        return path.is_dir()


def _refuse_broken_links(folder: Path) -> None:
    """Raises InputError for a link that leads nowhere: a class or a split would be missing without a word."""
    for path in _listed(folder):
        with named_if_unreadable(path):
            is_broken = path.is_symlink() and not path.exists()
        if is_broken and may_be_image(path.name):
            raise InputError(
                f"dataset.directory: {path} is a broken link to {os.readlink(path)}; remove it, or make available what "
                "it leads to"
            )


def _class_folders(root: Path, split_root: Path, ignored: list[Path]) -> dict[str, Path]:
    """Returns the class folders in the user's folder, or in its part ``split_root``, by class name."""
    folders = _folders_by_name(split_root, ignored)
    if not folders:
        raise InputError(f"dataset.directory: {split_root} contains no class folders with images")
    if len(folders) == 1:
        only, path = next(iter(folders.items()))
        if _holds_folders(path):
            _refuse_one_folder_too_many(root, split_root, path)
        raise InputError(f"dataset.directory: {split_root} contains only one class, {only!r}; at least two are needed")
    _refuse_splits_of_other_names(split_root, folders)
    refuse_odd_names(tuple(folders), "class folder", split_root)
    return folders


def _refuse_splits_of_other_names(split_root: Path, folders: Mapping[str, Path]) -> None:
    """Raises InputError if all folders contain folders of the same names, as those of splits do."""
    within = [
        {inner.name for inner in _listed(path) if is_shown(inner.name) and _is_folder(inner)}
        for path in folders.values()
    ]
    if within[0] and all(names == within[0] for names in within):
        raise InputError(
            f"dataset.directory: all folders in {split_root} ({', '.join(folders)}) contain folders of the same names "
            f"({', '.join(sorted(within[0], key=by_name))}), so they look like splits and not like classes; call them "
            "train, val and test"
        )


def _folders_by_name(split_root: Path, ignored: list[Path]) -> dict[str, Path]:
    """Returns the folders in a part of the user's folder by their names in composed form; ``ignored`` gets the rest.

    Raises InputError for names that differ only in their Unicode form.
    """
    _refuse_broken_links(split_root)
    folders: dict[str, Path] = {}
    for path in _listed(split_root):
        if not (is_shown(path.name) and _is_folder(path)):
            ignored.append(path)
            continue
        name = unicodedata.normalize("NFC", path.name)
        if name in folders:
            raise InputError(f"dataset.directory: {split_root} has two folders called {name!r}; merge them")
        folders[name] = path
    return folders


def _refuse_one_folder_too_many(root: Path, split_root: Path, only: Path) -> None:
    """Raises InputError for a folder whose only folder holds folders itself, as unpacked archives often do."""
    inner = only
    while (below := _only_folder(inner)) and below.name.casefold() not in SPLIT_NAMES and _holds_folders(below):
        inner = below
    if split_root == root:
        advice = f"did you mean --config.dataset.directory={inner}?"
    else:
        advice = f"move the folders in {inner} to {split_root}"
    raise InputError(
        f"dataset.directory: {split_root} contains only the folder {only.name!r}, which contains folders and not the "
        f"images of a class; {advice}"
    )


@dataclasses.dataclass(frozen=True)
class _Listing:
    """Lists the files of class folders."""

    root: Path  # the user's folder
    class_names: tuple[str, ...]  # by label
    ignored: list[Path]  # gets what is not an image

    def files_of_classes(self, folders: Mapping[str, Path]) -> list[ImageFile]:
        """Returns the images in class folders, given by class name, in published order."""
        return [
            ImageFile(path, label, str(path.relative_to(self.root)))
            for label, name in enumerate(self.class_names)
            if name in folders
            for path in self._images_in(folders[name])
        ]

    def _images_in(self, folder: Path) -> Iterator[Path]:
        for path in _listed(folder):
            if not is_shown(path.name):
                self.ignored.append(path)
            elif _is_folder(path):
                raise InputError(
                    f"dataset.directory: {path} is a folder within a class folder; images must be directly in {folder}"
                )
            elif not path.is_file():  # reading a pipe could block forever
                raise InputError(
                    f"dataset.directory: {path} is not a file but a pipe, a device or a broken link; remove it"
                )
            elif not may_be_image(path.name):
                self.ignored.append(path)
            else:
                yield path

    def held_out_files(self, split_root: Path) -> list[ImageFile]:
        """Returns the images of a test or validation folder, in published order."""
        folders = _folders_by_name(split_root, self.ignored)
        unknown = [name for name in folders if name not in self.class_names]
        if unknown:
            listed = ", ".join(map(repr, unknown))
            raise InputError(f"dataset.directory: {split_root} has classes that are not in the train part: {listed}")
        files = self.files_of_classes(folders)
        if not files:
            raise InputError(f"dataset.directory: {split_root} contains no class folders with images")
        return files
