"""Your own images, in one folder per class: how much does mixing help on them?

    python main.py --config=configs/image_folder.py --config.dataset.directory=path/to/images

The folder holds ``train/<class>/*`` and, if you have set test images apart, ``test/<class>/*``; without ``test/`` a
fixed share of every class is kept for testing. All training images are used (``--config.max_labels_per_class=10`` takes
ten of each class), centre-cropped and stored at 64x64, the size that the generator and the classifier work at. The
classifier is also trained without mixing, and both are printed. The networks are narrower than the published ones, for
a laptop's GPU.
"""

from ml_collections import ConfigDict

from configs import common, experiments

IMAGE_SIDE = 64


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = common.get_config()
    config.dataset.name = "image_folder"
    config.dataset.image_side = IMAGE_SIDE
    config.compare_with_baseline = True
    config.repeat_unlimited = True  # a small folder would otherwise have epochs of a few steps

    config.generator.image_side = IMAGE_SIDE
    config.generator.channels = 32
    config.generator.discriminator_channels = 32
    config.generator.batch_size = 32
    config.generator.num_dataset_repeats_base = 200

    config.classifier.model = "wrn-16-4"
    config.classifier.image_side = IMAGE_SIDE
    config.classifier.batch_size = 32
    config.classifier.num_dataset_repeats_base = 200
    return experiments.apply(config, experiment)
