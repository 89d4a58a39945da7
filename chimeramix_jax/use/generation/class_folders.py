"""Writes mixed images as PNG files in a folder per class, the layout that PyTorch and Keras read."""

import json
import os
import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from chimeramix_jax.data.builders.examples import png_bytes
from chimeramix_jax.use.generation.mixes import Mix

MANIFEST = "manifest.jsonl"
_TAKEN = (MANIFEST, "generated.json")  # the latter is written beside the folders
_LONGEST = 200  # bytes of a folder's name, of the 255 that file systems allow
_NUMERALS = string.digits + string.ascii_lowercase + string.ascii_uppercase + "+-"  # for up to 64 sources


def write(mixes: Iterable[Mix], class_names: Sequence[str], train_indices: Sequence[int], folder: Path) -> None:
    """Writes ``<class>/<number>.png`` for each mix, and a line about each mix into ``manifest.jsonl``.

    A class whose name cannot be that of a visible folder, such as ``animals/cat``, has a folder of another name.

    A line holds the file, the class, its label, the sources' indices in the data set's train split, and the mask. The
    mask is a list of rows with a character per position, which says which source the mix shows there: 0 the first,
    1 the second, and so on.
    """
    folders = _make_folders(class_names, folder)
    with (folder / MANIFEST).open("w", encoding="utf-8") as manifest:
        for number, mix in enumerate(mixes):
            file = f"{folders[mix.label]}/{number:07}.png"
            (folder / file).write_bytes(png_bytes(Image.fromarray(mix.image)))
            line: dict[str, Any] = {
                "file": file,
                "class": class_names[mix.label],
                "label": mix.label,
                "sources": [train_indices[source] for source in mix.sources],
                "mask": ["".join(_NUMERALS[owner] for owner in row) for row in mix.owners],
            }
            manifest.write(json.dumps(line, ensure_ascii=False) + "\n")


def _make_folders(class_names: Sequence[str], folder: Path) -> list[str]:
    """Makes a folder for each class directly in a folder, and returns their names.

    Classes whose names can be those of folders come first, so that they keep them.
    """
    made = [""] * len(class_names)
    for label in sorted(
        range(len(class_names)), key=lambda label: _folder_name(class_names[label]) != class_names[label]
    ):
        first = name = _folder_name(class_names[label])
        number = 1
        while name in _TAKEN or not _is_made(folder / name):
            number += 1
            name = f"{first}-{number}"
        made[label] = name
    return made


def _folder_name(class_name: str) -> str:
    """Returns the name itself if a visible folder may have it, and otherwise one like it."""
    name = class_name.replace("/", "_").replace("\0", "_")
    name = f"_{name[1:]}" if name.startswith(".") or not name else name
    while len(os.fsencode(name)) > _LONGEST:
        name = name[:-1]
    return name


def _is_made(folder: Path) -> bool:
    """Makes a folder unless its name is taken, which depends on capitals in some file systems and not in others."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True
