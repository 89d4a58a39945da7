"""A custom data set: squares, discs and crosses of random size, place and brightness, drawn by a function.

chimeramix --config=docs/own_ideas/shapes.py
"""

import numpy as np

from chimeramix_jax import extensions

SIDE, NOISE = 16, 20  # pixels per side; standard deviation of the noise, of 255
CLASSES = ("square", "disc", "cross")
IMAGES = {"train": 300, "test": 150}  # of all classes together


@extensions.dataset("shapes")
def shapes():
    """Returns the same images at every call, which a run checks."""
    random = np.random.default_rng(0)
    arrays = {}
    for split, number in IMAGES.items():
        labels = np.arange(number) % len(CLASSES)
        arrays[f"{split}_images"] = np.stack([_draw(CLASSES[label], random) for label in labels])
        arrays[f"{split}_labels"] = labels
    return extensions.Arrays(CLASSES, **arrays)


def _draw(shape, random):
    """Returns a grey image, uint8 of shape (SIDE, SIDE)."""
    radius = random.integers(3, 6)
    rows, columns = np.abs(np.indices((SIDE, SIDE)) - random.integers(radius, SIDE - radius, (2, 1, 1)))
    inside = {
        "square": np.maximum(rows, columns) <= radius,
        "disc": rows**2 + columns**2 <= radius**2,
        "cross": (np.minimum(rows, columns) <= 1) & (np.maximum(rows, columns) <= radius),
    }[shape]
    bright = random.integers(100, 236) * inside + random.normal(0, NOISE, (SIDE, SIDE))
    return np.clip(bright, 0, 255).astype(np.uint8)


extensions.experiment(
    "shapes",
    {"dataset.name": "shapes", "dataset.image_side": SIDE, "mixing.mask": "none", "compare_with_baseline": False},
)
