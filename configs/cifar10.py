"""CIFAR-10 with 5 images per class and the published settings.

    python main.py --config=configs/cifar10.py:chimeramix_grid
    python main.py --config=configs/cifar10.py:baseline --config.max_labels_per_class=10 --config.seed=1

The settings are those of ``cifair10.py``, but the test split is CIFAR-10's own, in which some images are
near-duplicates of training images. The published archive, ``cifar-10-python.tar.gz``, is downloaded unless
``--config.dataset.archive`` names a copy of it.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import load


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = load(f"cifair10:{experiment}")
    config.dataset.name = "cifar10"
    return config
