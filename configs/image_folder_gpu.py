"""Your own images, in one folder per class, at a higher resolution: for a GPU.

    python main.py --config=configs/image_folder_gpu.py --config.dataset.directory=path/to/images

Like ``image_folder.py``, but at 96x96 pixels, without averaged weights, with a deeper classifier, a generator of the
published width for the experiments that mix, and the published 200 epochs. On a GPU, the name ``--config=image_folder``
stands for this file. No accuracy was measured with these settings yet.
"""

from ml_collections import ConfigDict

from chimeramix_jax.config import defaults, experiments, load

IMAGE_SIDE = 96


def get_config(experiment: str = "mixup_trivialaugment") -> ConfigDict:
    config = load(f"image_folder:{experiment}")
    published = defaults.get_config()
    config.dataset.keep_together = "near_duplicates"
    config.dataset.image_side = IMAGE_SIDE
    config.augment.cutout_side = IMAGE_SIDE // 4
    config.mixing.segmentation_scale = 400.0  # the published values for this side
    config.mixing.segmentation_min_size = 400
    config.generator = published.generator
    config.generator.image_side = IMAGE_SIDE
    config.generator.batch_size = 16
    config.generator.num_dataset_repeats_base = 60
    published.classifier.batch_statistics = config.classifier.batch_statistics
    config.classifier = published.classifier
    config.classifier.image_side = IMAGE_SIDE
    config.classifier.model = "wrn-16-4"
    config.classifier.num_dataset_repeats_base = 120
    return experiments.apply(config, experiment)  # again, because it may have changed the generator
