"""Your own images, in one folder per class, on any machine, without a GPU.

    python main.py --config=configs/image_folder.py --config.dataset.directory=path/to/images
    python main.py --config=configs/image_folder.py:chimeramix_grid --config.dataset.directory=path/to/images
    python main.py --config=configs/image_folder.py:auto --minutes=30 --config.dataset.directory=path/to/images

The folder contains ``<class>/*`` or, if you have test images, ``train/<class>/*`` and ``test/<class>/*``; without
``test/`` a fixed share of every class is held out for testing. All training images are used
(``--config.max_labels_per_class=10`` uses ten of each class), centre-cropped and resized to 32x32, which shows whether
the classes can be distinguished at all. ``--config.dataset.fit=pad`` shows whole photos instead of their central
squares. Photos are mirrored in training and prediction; if classes are mirror images of each other, as left and right
hands, turn both off with ``--config.augment.horizontal_flip=false`` (in Python, also ``evaluation.mirror``).
``image_folder_gpu.py`` has a higher resolution, for a GPU.

``--config.dataset.name=tfds:NAME`` instead of a directory takes the images of a data set of TensorFlow Datasets, and
``--config.dataset.directory=trainval.txt`` those of a published list of files (``docs/datasets.md``).

The default is TrivialAugment and mixup, images that grow during training, averaged weights, and in prediction the mean
over five crops of each image and their mirror images. No other recipe that we compared within five minutes was better
on the validation images of all our sets of photos. It does not mix features, which lost accuracy there. On test images
of three sets of photos it is ahead of the former default, which mixed, by 5 to 12 points (``docs/results.md``). Compare
recipes on your own photos: ``:chimeramix_grid`` and the other experiments mix; they train the generator first, and then
the classifier with and without mixing, and print both accuracies. All of them average weights and crops like the
default, so that they can be compared with it. ``:mixup_trivialaugment_harmonic`` is the default with harmonic
convolutions, which gain much with some photos and nothing with others. Everywhere but in these two, batch norm predicts
with statistics of unmixed images.

``--minutes=10`` trains any of them for ten minutes altogether, and those without a generator on larger images if the
time is enough for all epochs at that side.

``:auto`` compares several recipes by folds of the training images instead and trains the best one on all of them,
within the given time. Comparing takes up to two thirds of it, so give it half an hour (``docs/results.md``, "How a
choice should divide its time").

With 20 photos of each of the ten classes of CIFAR-10, expect 47 % (the mean over five choices of photos, on 10,000 test
images), give or take 3 points for the choice of the photos; chance is 10 % (``docs/results.md``). Takes about five
minutes on two slow cores, without the time for test images, and three on fast ones. Longer training gains more: with
``--minutes=5`` on fast cores, three subsets had 50.6 % on average, on 10,000 test images.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import defaults, experiments

IMAGE_SIDE = 32
DEFAULT = "mixup_trivialaugment"
WITH_RUNNING_STATISTICS = (DEFAULT, f"{DEFAULT}_harmonic")  # measured with these, and the others gained nothing


def get_config(experiment: str = DEFAULT) -> ConfigDict:
    config = defaults.get_config()
    config.dataset.name = "image_folder"
    config.dataset.keep_together = "near_duplicates"
    config.dataset.image_side = IMAGE_SIDE
    config.larger_sides = "48,64,96"
    config.compare_with_baseline = True
    config.augment.autoaugment_policy = "imagenet"
    config.augment.cutout_side = IMAGE_SIDE // 4
    config.repeat_unlimited = True  # otherwise the epochs of a small folder would have few steps
    config.evaluation.mirror = True
    config.evaluation.crops = 5
    config.evaluation.every_epochs = 32  # a folder may have thousands of test images

    config.generator.image_side = IMAGE_SIDE
    config.generator.channels = 16
    config.generator.discriminator_channels = 16
    config.generator.batch_size = 32
    config.generator.num_dataset_repeats_base = 100
    config.generator.epochs = 25
    config.generator.learning_rate = 1e-3  # for a narrow generator and few steps

    config.pretraining.batch_size = 128
    config.pretraining.num_dataset_repeats_base = 100
    config.pretraining.epochs = 25

    config.classifier.model = "wrn-10-4-early"
    config.classifier.image_side = IMAGE_SIDE
    config.classifier.growing_sides = "1/2:0.4,3/4:0.3"
    config.classifier.dropout_rate = 0.0
    config.classifier.batch_size = 16  # many small steps
    config.classifier.num_dataset_repeats_base = 100
    config.classifier.epochs = 128
    config.classifier.learning_rate = 0.02
    config.classifier.averaged_share = 0.08
    config.classifier.batch_statistics = "unmixed"  # a small generator's mixes are unlike photos
    if experiment in WITH_RUNNING_STATISTICS:
        config.classifier.batch_statistics = "running"
    return experiments.apply(config, experiment)
