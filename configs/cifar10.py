"""CIFAR-10 with 5 images per class, with the published settings.

    python main.py --config=configs/cifar10.py:chimeramix_grid
    python main.py --config=configs/cifar10.py:baseline --config.max_labels_per_class=10 --config.seed=1

As ``cifair10.py`` in everything but the test split, which is CIFAR-10's own: some of its images are near-duplicates of
training images. TensorFlow Datasets downloads and prepares it, for which TensorFlow has to be installed.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import load


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = load(f"cifair10:{experiment}")
    config.dataset.name = "cifar10"
    return config
