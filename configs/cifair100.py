"""ciFAIR-100 with 5 images per class and the published settings.

    python main.py --config=configs/cifair100.py:chimeramix_grid
    python main.py --config=configs/cifair100.py:baseline --config.max_labels_per_class=10 --config.seed=1

Five of the 500 training images (32x32) of each class train the generator at 64x64 and then WRN-16-8 at 32x32, with new
mixes at every step. The test split is CIFAR-100's 10,000 images with new images in place of near-duplicates of training
images. All settings except the data set and the side of Cutout's square are those of ``cifair10.py``.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import load


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = load(f"cifair10:{experiment}")
    config.dataset.name = "cifair100"
    config.augment.cutout_side = 8
    return config
