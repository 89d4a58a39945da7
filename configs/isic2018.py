"""ISIC 2018, task 3, with 80 images per class and, as far as this program can, GEM's settings: for a GPU.

    python main.py --config=configs/isic2018.py:baseline
    python main.py --config=configs/isic2018.py:chimeramix_grid --config.dataset.division=1 --config.seed=1
    python main.py --config=configs/isic2018.py --config.dataset.directory=elsewhere/isic2018

Seven kinds of skin lesions with 80 training images each and 1,944 test images, of which the kinds have 35 to 400. So
compare by balanced accuracy (``macro_accuracy``). ``dataset.directory`` is the folder with GEM's lists and images,
``datasets/isic2018`` by default. ``dataset.division`` is the number of the lists, 0, 1 or 2; each division has training
and test images of its own.

The settings, and what differs from GEM, are as in ``cub.py``, except for 500 epochs, as in GEM. GEM also mirrors
training images from top to bottom, which this program does not. No accuracy was measured with this file yet. GEM's
baseline has a balanced accuracy of 64.49 % after tuning; chance is 14.3 %.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import experiments, load

IMAGES_PER_CLASS = 80


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = load(f"cub:{experiment}")
    config.dataset.name = "isic2018"
    config.dataset.directory = "datasets/isic2018"
    config.max_labels_per_class = IMAGES_PER_CLASS
    config.generator.num_dataset_repeats_base = IMAGES_PER_CLASS
    config.pretraining.num_dataset_repeats_base = IMAGES_PER_CLASS
    config.classifier.num_dataset_repeats_base = IMAGES_PER_CLASS
    config.classifier.epochs = 500
    return experiments.apply(config, experiment)
