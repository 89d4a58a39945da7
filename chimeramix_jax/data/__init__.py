"""Loads the arrays of a few-shot run: labelled training images and the whole test split.

``config.catalog`` lists the data sets, ``builders`` write them to disk through TensorFlow Datasets (TFDS), ``few_shot``
draws the labelled subset, and ``load_few_shot`` combines these. Importing this package loads neither TFDS nor JAX.
"""

from chimeramix_jax.data.dataset import FewShotDataset, LabelledImages
from chimeramix_jax.data.few_shot import few_shot_indices
from chimeramix_jax.data.loading import load_few_shot
