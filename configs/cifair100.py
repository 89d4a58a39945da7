"""ciFAIR-100 with 5 images per class, with the published settings.

    python main.py --config=configs/cifair100.py:chimeramix_grid
    python main.py --config=configs/cifair100.py:baseline --config.max_labels_per_class=10 --config.seed=1

Five of each class's 500 32x32 training images train the generator at 64x64, then WRN-16-8 at 32x32 on images mixed anew
at every step. The test split is CIFAR-100's 10,000 images with the near-duplicates of training images replaced. All
settings but the data set and Cutout's square are those of ``cifair10.py``.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import load


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = load(f"cifair10:{experiment}")
    config.dataset.name = "cifair100"
    config.augment.cutout_side = 8
    return config
