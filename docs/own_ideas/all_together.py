"""A custom experiment that uses all ideas of this folder at once; each comes from the file that is imported for it.

chimeramix --config=docs/own_ideas/all_together.py
"""

import focal_loss
import shapes
import small_network
import speckle
import stripes

from chimeramix_jax import extensions

extensions.experiment(
    "all_together",
    {
        "dataset.name": "shapes",
        "dataset.image_side": shapes.SIDE,
        "augment.own": "speckle",
        "mixing.mask": "stripes",
        "classifier.model": "small-network",
        "classifier.loss": "focal",
        "compare_with_baseline": False,
    },
)
