"""Mixed images as PNG files in a folder per class, as PyTorch's and Keras's readers of image folders want them."""

import json
import string
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from chimeramix_jax.data.builders.examples import png_bytes
from chimeramix_jax.use.generation.mixes import Mix

MANIFEST = "manifest.jsonl"
_NUMERALS = string.digits + string.ascii_lowercase + string.ascii_uppercase + "+-"  # one for each of up to 64 sources


def write(mixes: Iterable[Mix], class_names: Sequence[str], train_indices: Sequence[int], folder: Path) -> None:
    """Writes ``<class>/<number>.png`` for each mix, and a line about each into ``manifest.jsonl``.

    A line has the file, the class, its label, the sources' places in the data set's train split, and the mask: rows of
    one character for each of its places, which says whether the first source (0), the second (1), ... is shown there.
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
