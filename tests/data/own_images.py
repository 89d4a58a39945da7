"""Makes tiny files of a user's own images."""

import numpy as np
from PIL import Image


def write_images(folder, count, seed=0, size=(20, 16)):
    """Writes different colourful images called 0.png, 1.png, ..., and returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    paths = [folder / f"{number}.png" for number in range(count)]
    for path in paths:
        blocks = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
        blocks.resize(size, Image.Resampling.BICUBIC).save(path)
    return paths


def write_table(path, rows, header="path,label,split"):
    """Writes a CSV file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path
