"""STL-10 with 5 images per class and the published settings.

    python main.py --config=configs/stl10.py:chimeramix_grid
    python main.py --config=configs/stl10.py:baseline --config.max_labels_per_class=10 --config.seed=1

Five of the 500 labelled images (96x96) of each class train the generator and then the classifier, both at 96x96; the
100,000 unlabelled images are not used. The classifier is a ResNet-50, trained from scratch. The test split has 8,000
images.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import defaults, experiments


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = defaults.get_config()
    config.dataset.name = "stl10"
    config.max_labels_per_class = 5

    config.generator.image_side = 96
    config.generator.batch_size = 8
    config.generator.num_dataset_repeats_base = 30

    config.augment.autoaugment_policy = "imagenet"
    config.augment.cutout_side = 24

    config.mixing.segmentation_scale = 400.0
    config.mixing.segmentation_min_size = 400

    config.pretraining.batch_size = 128
    config.pretraining.num_dataset_repeats_base = 120

    config.classifier.model = "resnet-50"
    config.classifier.image_side = 96
    config.classifier.batch_size = 16
    config.classifier.num_dataset_repeats_base = 120
    config.classifier.learning_rate = 7.4e-3
    config.classifier.weight_decay = 4.1e-4
    return experiments.apply(config, experiment)
