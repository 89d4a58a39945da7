"""CIFAR-100 with 5 images per class and the published settings.

    python main.py --config=configs/cifar100.py:chimeramix_grid
    python main.py --config=configs/cifar100.py:baseline --config.max_labels_per_class=10 --config.seed=1

The settings are those of ``cifair100.py``, but the test split is CIFAR-100's own, in which some images are
near-duplicates of training images. The published archive, ``cifar-100-python.tar.gz``, is downloaded unless
``--config.dataset.archive`` names a copy of it.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import load


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = load(f"cifair100:{experiment}")
    config.dataset.name = "cifar100"
    return config
