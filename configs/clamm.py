"""CLaMM with 50 images per class and, as far as this program can, the settings of the GEM benchmark: for a GPU.

    python main.py --config=configs/clamm.py:baseline
    python main.py --config=configs/clamm.py:chimeramix_grid --config.dataset.division=1 --config.seed=1
    python main.py --config=configs/clamm.py --config.dataset.directory=elsewhere/clamm

Photographs of Latin manuscripts in twelve scripts, with 50 training images of each and 1,000 test images, of which the
scripts have 68 to 90. So compare by balanced accuracy (``macro_accuracy``). ``dataset.directory`` is the folder with
GEM's lists and images, ``datasets/clamm`` by default; ``dataset.division`` is the number of the lists of training
images: 0, 1 or 2.

The settings, and what differs from GEM, are as in ``cub.py``, except for 500 epochs and no mirror images, as in GEM.
GEM crops parts of 20 to 100 % of the image's area here, and its network has a single grey channel instead of three
equal ones. No accuracy was measured with this file yet. GEM's baseline has a balanced accuracy of 70.15 % after tuning;
chance is 8.3 %.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import experiments, load

IMAGES_PER_CLASS = 50


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = load(f"cub:{experiment}")
    config.dataset.name = "clamm"
    config.dataset.directory = "datasets/clamm"
    config.max_labels_per_class = IMAGES_PER_CLASS
    config.augment.horizontal_flip = False
    config.generator.num_dataset_repeats_base = IMAGES_PER_CLASS
    config.pretraining.num_dataset_repeats_base = IMAGES_PER_CLASS
    config.classifier.num_dataset_repeats_base = IMAGES_PER_CLASS
    config.classifier.epochs = 500
    return experiments.apply(config, experiment)
