"""EuroSAT with 50 images per class and, as far as this program can, the settings of the GEM benchmark.

    python main.py --config=configs/eurosat.py:baseline
    python main.py --config=configs/eurosat.py:chimeramix_grid --config.dataset.division=1 --config.seed=1
    python main.py --config=configs/eurosat.py --config.dataset.directory=elsewhere/eurosat

Satellite images (64x64) of ten kinds of land use, with 50 training images and 1,950 test images of each kind.
``dataset.directory`` is the folder with GEM's lists and images, ``datasets/eurosat`` by default. ``dataset.division``
is the number of the lists, 0, 1 or 2; each division has training and test images of its own.

As in GEM (github.com/lorenzobrigato/gem): ResNet-50 from scratch at 64x64, 500 epochs that show every image once, SGD
with a cosine schedule, and shifts by up to 8 pixels. Otherwise than in GEM:

- The images are those in RGB. GEM's published figures are with all 13 bands.
- Learning rate and weight decay are the defaults of GEM's program, and the batch size is the middle one of those it
  tries. GEM tunes all three for every method, and its repository does not have the values found.
- Training images are mirrored from left to right only, in GEM also from top to bottom.
- The momentum is Nesterov's, and channels are scaled to [-1, 1] instead of to mean 0 and standard deviation 1.

The generator has the published settings for ciFAIR, whose side is 64 as well. No accuracy was measured with this file
yet. GEM's baseline has 90.58 % after tuning; chance is 10 %.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import defaults, experiments

IMAGES_PER_CLASS = 50
IMAGE_SIDE = 64


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = defaults.get_config()
    config.dataset.name = "eurosat"
    config.dataset.directory = "datasets/eurosat"
    config.dataset.division = 0
    config.dataset.image_side = IMAGE_SIDE
    config.max_labels_per_class = IMAGES_PER_CLASS
    config.evaluation.every_epochs = 50  # there are 19,500 test images

    config.augment.autoaugment_policy = "imagenet"
    config.augment.cutout_side = IMAGE_SIDE // 4

    config.pretraining.batch_size = 128

    config.classifier.model = "resnet-50"
    config.classifier.image_side = IMAGE_SIDE
    config.classifier.batch_size = 25
    config.classifier.num_dataset_repeats_base = IMAGES_PER_CLASS
    config.classifier.epochs = 500
    config.classifier.learning_rate = 1e-2
    config.classifier.weight_decay = 1e-3
    return experiments.apply(config, experiment)
