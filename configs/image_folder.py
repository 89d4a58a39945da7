"""Your own images, in one folder per class: a first result on any machine, without a GPU.

    python main.py --config=configs/image_folder.py --config.dataset.directory=path/to/images
    python main.py --config=configs/image_folder.py:baseline --config.dataset.directory=path/to/images
    python main.py --config=configs/image_folder.py:auto --minutes=30 --config.dataset.directory=path/to/images

The folder contains ``train/<class>/*`` and, if you have test images, ``test/<class>/*``; without ``test/`` a fixed
share of every class is held out for testing. All training images are used (``--config.max_labels_per_class=10`` uses
ten of each class), centre-cropped and resized to 32x32, which shows whether the classes can be distinguished at all.
The classifier is also trained without mixing, and both accuracies are printed. ``image_folder_gpu.py`` has a higher
resolution, for a GPU.

``:auto`` compares several recipes by folds of the training images instead and trains the best one on all of them,
within the given time. How well it chooses has not been measured yet.

With 20 photos of each of the ten classes of CIFAR-10, expect 36.5 % without and 39.5 % with mixing on 10,000 test
images, give or take 3 points for the choice of the photos, and 47 % either way with 50; chance is 10 %
(``docs/results.md``). Takes about ten minutes on two cores, with 10,000 test images.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import defaults, experiments

IMAGE_SIDE = 32


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = defaults.get_config()
    config.dataset.name = "image_folder"
    config.dataset.image_side = IMAGE_SIDE
    config.compare_with_baseline = True
    config.augment.autoaugment_policy = "imagenet"
    config.augment.cutout_side = IMAGE_SIDE // 4
    config.repeat_unlimited = True  # otherwise the epochs of a small folder would have few steps

    config.generator.image_side = IMAGE_SIDE
    config.generator.channels = 16
    config.generator.discriminator_channels = 16
    config.generator.batch_size = 32
    config.generator.num_dataset_repeats_base = 100
    config.generator.epochs = 25
    config.generator.learning_rate = 1e-3  # for a narrow generator and few steps

    config.classifier.model = "wrn-10-2"
    config.classifier.image_side = IMAGE_SIDE
    config.classifier.batch_size = 32
    config.classifier.num_dataset_repeats_base = 100
    config.classifier.epochs = 40
    config.classifier.learning_rate = 0.03
    return experiments.apply(config, experiment)
