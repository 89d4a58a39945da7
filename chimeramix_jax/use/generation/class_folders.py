"""Writes mixed images as PNG files in a folder per class, the layout that PyTorch and Keras read."""

import json
import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from chimeramix_jax.data.builders.examples import png_bytes
from chimeramix_jax.use.generation.mixes import Mix

MANIFEST = "manifest.jsonl"
_NUMERALS = string.digits + string.ascii_lowercase + string.ascii_uppercase + "+-"  # for up to 64 sources


def write(mixes: Iterable[Mix], class_names: Sequence[str], train_indices: Sequence[int], folder: Path) -> None:
    """Writes ``<class>/<number>.png`` for each mix, and a line about each mix into ``manifest.jsonl``.

    A line holds the file, the class, its label, the sources' indices in the data set's train split, and the mask. The
    mask is a list of rows with a character per position, which says which source the mix shows there: 0 the first,
    1 the second, and so on.
    """
    for name in class_names:
        (folder / name).mkdir()
    with (folder / MANIFEST).open("w", encoding="utf-8") as manifest:
        for number, mix in enumerate(mixes):
            file = f"{class_names[mix.label]}/{number:07}.png"
            (folder / file).write_bytes(png_bytes(Image.fromarray(mix.image)))
            line: dict[str, Any] = {
                "file": file,
                "class": class_names[mix.label],
                "label": mix.label,
                "sources": [train_indices[source] for source in mix.sources],
                "mask": ["".join(_NUMERALS[owner] for owner in row) for row in mix.owners],
            }
            manifest.write(json.dumps(line, ensure_ascii=False) + "\n")
