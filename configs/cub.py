"""CUB-200-2011 with the images and, as far as this program can, the settings of the GEM benchmark: for a GPU.

    python main.py --config=configs/cub.py:baseline
    python main.py --config=configs/cub.py:chimeramix_grid --config.dataset.division=1 --config.seed=1
    python main.py --config=configs/cub.py --config.dataset.directory=elsewhere/cub

200 species of birds with 5,994 training images, 29 or 30 of each species, and 5,794 test images of which the species
have 11 to 30. So compare by balanced accuracy (``macro_accuracy``). All training images are used:
``max_labels_per_class=30`` is refused because of the species with 29. ``dataset.directory`` is the folder with GEM's
lists, where its script ``download_data.sh`` puts the images, too; the default is ``datasets/cub`` as in GEM's
repository. ``dataset.division`` is the number of the lists: 0, 1 or 2. All three list the same training images, as CUB
has no more, and divide them differently into images to train on and to validate with.

As in GEM (github.com/lorenzobrigato/gem): ResNet-50 from scratch at 224x224, 200 epochs that show every image once, SGD
with a cosine schedule, and the central square of test images. Otherwise than in GEM:

- Learning rate and weight decay are the defaults of GEM's program, and the batch size is the middle one of those it
  tries. GEM tunes all three for every method, and its repository does not have the values found.
- Training images are shifted by up to 28 pixels and mirrored. GEM crops parts of 40 to 100 % of the image's area.
- The momentum is Nesterov's, and channels are scaled to [-1, 1] instead of to mean 0 and standard deviation 1.

The generator and pretraining have the settings for STL-10, at 224x224 and with every image once per epoch; the size of
segments is that at 96x96, scaled by area. No accuracy was measured with this file yet. GEM's baseline has a balanced
accuracy of 70.79 % after tuning; chance is 0.5 %.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import defaults, experiments

IMAGE_SIDE = 224


def get_config(experiment: str = "chimeramix_grid") -> ConfigDict:
    config = defaults.get_config()
    config.dataset.name = "cub"
    config.dataset.directory = "datasets/cub"
    config.dataset.division = 0
    config.dataset.image_side = IMAGE_SIDE
    config.evaluation.every_epochs = 50  # there are thousands of test images

    config.generator.image_side = IMAGE_SIDE
    config.generator.batch_size = 8
    config.generator.num_dataset_repeats_base = 30

    config.augment.autoaugment_policy = "imagenet"
    config.augment.cutout_side = IMAGE_SIDE // 4

    config.mixing.segmentation_scale = 2200.0
    config.mixing.segmentation_min_size = 2200

    config.pretraining.batch_size = 128
    config.pretraining.num_dataset_repeats_base = 30

    config.classifier.model = "resnet-50"
    config.classifier.image_side = IMAGE_SIDE
    config.classifier.batch_size = 16
    config.classifier.num_dataset_repeats_base = 30
    config.classifier.epochs = 200
    config.classifier.learning_rate = 1e-2
    config.classifier.weight_decay = 1e-3
    return experiments.apply(config, experiment)
