"""ciFAIR-10 with 5 images per class and the published settings.

    python main.py --config=configs/cifair10.py:chimeramix_grid
    python main.py --config=configs/cifair10.py:baseline --config.max_labels_per_class=10 --config.seed=1

Five of the 5,000 training images (32x32) of each class train the generator at 64x64 and then WRN-16-8 at 32x32, with
new mixes at every step. The test split is CIFAR-10's 10,000 images with new images in place of near-duplicates of
training images. The published study has 5, 10, 20, 30, 50 and 100 images per class, each with 5 seeds.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import defaults, experiments


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = defaults.get_config()
    config.dataset.name = "cifair10"
    config.max_labels_per_class = 5
    return experiments.apply(config, experiment)
