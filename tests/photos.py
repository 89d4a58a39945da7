"""Small photos of noise to train on: ten classes, as many as the digits have.

A step is compiled for the number of training images and of classes. Of four photos per class, all of them and those
outside one of two folds are as many as in other tests, which find the programs compiled.
"""

import numpy as np
from PIL import Image


def write_photo(path, number, sides=(8, 8)):
    """Writes the photo of a number; ``sides`` are its height and width."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (*sides, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def write_photos(root, split="", per_class=4, first=0, sides=(8, 8)):
    """Writes ``class 0/0.png`` and so on, numbered from ``first`` in each class, and returns ``root``."""
    for label in range(10):
        for number in range(first, first + per_class):
            write_photo(root / split / f"class {label}" / f"{number}.png", 100 * label + number, sides)
    return root
