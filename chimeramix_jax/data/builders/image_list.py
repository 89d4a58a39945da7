"""Lists a user's own images from split files in the format of the DEIC and GEM benchmarks.

Brigato, Barz, Iocchi and Denzler, "Tune It or Don't Use It", VIPriors workshop at ICCV 2021, and "Image Classification
With Small Datasets: Overview and Benchmark", IEEE Access 2022; https://github.com/cvjena/deic and
https://github.com/lorenzobrigato/gem.

::

    trainval0.txt, train0.txt     training images; the one that is given is used
    val0.txt                      validation images, beside train0.txt only, as they are part of trainval0.txt
    test0.txt                     test images

Every line is the path of an image, which may lack its extension, a space, and the number of its class. The names may
also lack the number, which is that of a division. A division without test images of its own uses those of the first.
Classes are in the order of their numbers; they are named after the folder of their training images if each class has
one of its own, and otherwise by the numbers.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from chimeramix_jax.data.builders.contents import TEST, TRAIN, VALIDATION, Contents, named_if_unreadable
from chimeramix_jax.data.builders.listed_images import ListedImage, contents_of
from chimeramix_jax.data.image_paths import may_be_image
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import in_any_form

_MOST_DIGITS = 18  # of a class number: 64 bits; Python reads numbers of thousands of digits only on request
_MOST_SHOWN = 200  # characters of a line that is refused
_NAME = re.compile(r"(?P<part>train|trainval)(?P<division>\d*)\.txt", re.IGNORECASE)


def scan_list(path: Path, root: Path) -> Contents:
    """Lists the images of split files, without opening them; raises InputError, which names lines, if it cannot.

    Args:
        path: the file that lists the training images.
        root: the folder to which the paths in the files are relative.
    """
    files = _files_of_splits(path)
    lines = {split: _lines(file) for split, file in files.items()}
    names = _class_names(lines[TRAIN])
    for split, of_split in lines.items():
        _refuse_unknown(files[split], of_split, names)
    rows = [
        ListedImage(f"{number} of {files[split].name}", name, names[label], split)
        for split, of_split in lines.items()
        for number, name, label in of_split
    ]
    return contents_of(path, root, rows, tuple(names.values()), _Finder(root))


def _files_of_splits(path: Path) -> dict[str, Path]:
    """Returns the files that list the images of each split."""
    name = _NAME.fullmatch(path.name)
    if name is None:
        raise InputError(
            f"dataset.directory: {path} is a .txt file; a list of training images must be called train.txt, "
            "trainval.txt, or the same with a number before the dot, as in trainval0.txt"
        )
    division = name["division"]
    files = {TRAIN: path}
    validation = path.with_name(f"val{division}.txt")
    if name["part"].lower() == "train" and validation.is_file():
        files[VALIDATION] = validation
    tests = (path.with_name(f"test{number}.txt") for number in dict.fromkeys((division, "0", "")))
    test = next((file for file in tests if file.is_file()), None)
    if test is not None:
        files[TEST] = test
    return files


def _lines(file: Path) -> list[tuple[int, str, int]]:
    """Returns number, path and label of each line that is not empty."""
    with named_if_unreadable(file):
        content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"dataset.directory: {file} is not text in UTF-8") from None
    lines = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, _, label = line.strip().rpartition(" ")
        if not name or not label.isdecimal() or len(label) > _MOST_DIGITS:
            raise InputError(
                f"dataset.directory: {file}, line {number}, is {_shortened(line.strip())!r}; it must be the path of an "
                f"image, a space, and the number of its class, of at most {_MOST_DIGITS} digits"
            )
        lines.append((number, name.rstrip(), int(label)))
    if not lines:
        raise InputError(f"dataset.directory: {file} lists no images")
    return lines


def _shortened(line: str) -> str:
    """Returns a line for an error message, which may be of any length if the file is not a list."""
    return line if len(line) <= _MOST_SHOWN else f"{line[:_MOST_SHOWN]}..."


def _refuse_unknown(file: Path, lines: Sequence[tuple[int, str, int]], names: Mapping[int, str]) -> None:
    """Raises InputError if a list has numbers of classes of which there are no training images."""
    unknown = {label: number for number, _, label in reversed(lines) if label not in names}
    if unknown:
        listed = ", ".join(f"{label} (line {number})" for label, number in sorted(unknown.items()))
        raise InputError(f"dataset.directory: {file} has labels without a training image: {listed}")


def _class_names(lines: Sequence[tuple[int, str, int]]) -> dict[int, str]:
    """Returns the names of the classes by their numbers, in ascending order."""
    folders: dict[int, set[str]] = {}
    for _, name, label in lines:
        folders.setdefault(label, set()).add(Path(name).parent.name)
    labels = sorted(folders)
    own = {label: next(iter(folders[label])) for label in labels if len(folders[label]) == 1}
    if len(set(own.values()) - {""}) == len(labels):
        return {label: own[label] for label in labels}
    return {label: str(label) for label in labels}


class _Finder:
    """Finds the files of listed paths, which may lack their extensions."""

    def __init__(self, root: Path):
        self._root = root
        self._files: dict[Path, dict[str, list[Path]]] = {}  # by folder, and by name without extension

    def __call__(self, name: str) -> Path:
        """Returns the file; one that does not exist if there is none. Raises InputError if there are several."""
        exact = in_any_form(self._root / name)
        if exact.is_file():
            return exact
        files = self._by_stem(exact.parent).get(exact.name, [])
        if len(files) > 1:
            listed = ", ".join(sorted(file.name for file in files))
            raise InputError(
                f"dataset.directory: {name} may be any of {listed} in {exact.parent}; name a folder that contains only "
                "one of them with --config.dataset.image_directory"
            )
        return files[0] if files else exact

    def _by_stem(self, folder: Path) -> dict[str, list[Path]]:
        if folder not in self._files:
            found: dict[str, list[Path]] = {}
            with named_if_unreadable(folder):
                for path in folder.iterdir() if folder.is_dir() else ():
                    if may_be_image(path.name):
                        found.setdefault(path.stem, []).append(path)
            self._files[folder] = found
        return self._files[folder]
