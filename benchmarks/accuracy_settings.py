"""The settings of both sides of the accuracy comparison, written out so that no change of a default affects them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config import defaults

# The probability that a whole batch is mixed. The published value is one fair coin per batch.
ARMS: Mapping[str, float] = {"baseline": 0.0, "coin": 0.5, "every": 1.0}


@dataclass(frozen=True)
class Sizes:
    """The sizes of networks and schedules, small enough for a CPU. All other settings are as published.

    Attributes:
        side: pixels per side of the images that both stages see.
        channels: channels of the generator after its first convolution.
        discriminator_channels: channels of the discriminator after its first convolution.
        residual_blocks: blocks in the generator's encoder; its decoder uses none, as in the released program.
        images_per_epoch: images of every class in an epoch; the few images are repeated.
        generator_batch_size: pairs per iteration.
        generator_epochs: epochs of adversarial training.
        generator_learning_rate: Adam's for both networks.
        drops: shares of the generator's epochs after which its learning rate drops.
        drop_factor: the factor of each drop.
        depth: depth of the wide ResNet, 6k + 4.
        width: factor on the channels of the wide ResNet.
        dropout_rate: dropout rate between a block's convolutions.
        classifier_batch_size: images per step.
        classifier_epochs: epochs of the classifier's training.
        classifier_learning_rate: SGD's initial learning rate; it falls to 0 along a cosine.
        test_batch_size: images per step of the evaluation.
    """

    side: int = 32
    channels: int = 16
    discriminator_channels: int = 16
    residual_blocks: int = 2
    images_per_epoch: int = 100
    generator_batch_size: int = 32
    generator_epochs: int = 25
    generator_learning_rate: float = 1e-3
    drops: tuple[float, ...] = (0.3, 0.6, 0.8)
    drop_factor: float = 0.2
    depth: int = 10
    width: int = 2
    dropout_rate: float = 0.3
    classifier_batch_size: int = 32
    classifier_epochs: int = 40
    classifier_learning_rate: float = 0.03
    test_batch_size: int = 500

    def repeats(self, images_per_class: int) -> int:
        """Returns how often an epoch shows each image."""
        return max(self.images_per_epoch // images_per_class, 1)


# What does not depend on the sizes.
_AS_PUBLISHED: dict[str, Any] = {
    "precision": "float32",
    "augment.crop_padding_fraction": 0.125,
    "augment.horizontal_flip": True,
    "augment.policy": "none",
    "mixing.of": "features",
    "mixing.mix_size": 4,
    "generator.decoder_residual_blocks": 0,
    "generator.adam_b1": 0.5,
    "generator.adam_b2": 0.999,
    "generator.reconstruction_weight": 1000.0,
    "generator.adversarial_weight": 1.0,
    "generator.perceptual_weight": 1.0,
    "classifier.momentum": 0.9,
    "classifier.weight_decay": 5.3e-3,
    "classifier.averaged_share": 0.0,
    "classifier.averaged_weights": 0.0,
    "classifier.batch_statistics": "running",
    "classifier.class_balance": "none",
    "classifier.convolutions": "standard",
    "classifier.growing_sides": "",
    "classifier.head": "linear",
    "classifier.label_smoothing": 0.0,
    "classifier.loss": "cross_entropy",
    "classifier.members": 1,
    "evaluation.crops": 1,
    "evaluation.mirror": False,
}


def dataset_config(images: str, data_dir: str, sizes: Sizes) -> ConfigDict:
    """Returns ``config.dataset`` for a folder of images, which both sides load with the program's own loader."""
    config = defaults.get_config().dataset
    config.update({"name": "image_folder", "directory": images, "data_dir": data_dir, "image_side": sizes.side})
    config.fit = "crop"
    return config


def config_of(dataset: ConfigDict, images_per_class: int, seed: int, arm: str, sizes: Sizes) -> ConfigDict:
    """Returns our program's settings for one run: ``sizes``, and the values that are fixed in the twin.

    Raises:
        InputError: the settings do not fit together.
    """
    config = defaults.get_config().lock()
    values = _AS_PUBLISHED | {
        "experiment": "baseline" if arm == "baseline" else "chimeramix_grid",
        "seed": seed,
        "max_labels_per_class": images_per_class,
        "mixing.mask": "none" if arm == "baseline" else "grid",
        "generator.image_side": sizes.side,
        "generator.channels": sizes.channels,
        "generator.discriminator_channels": sizes.discriminator_channels,
        "generator.residual_blocks": sizes.residual_blocks,
        "generator.batch_size": sizes.generator_batch_size,
        "generator.num_dataset_repeats_base": sizes.images_per_epoch,
        "generator.epochs": sizes.generator_epochs,
        "generator.learning_rate": sizes.generator_learning_rate,
        "generator.learning_rate_drops": sizes.drops,
        "generator.learning_rate_drop_factor": sizes.drop_factor,
        "classifier.model": f"wrn-{sizes.depth}-{sizes.width}",
        "classifier.image_side": sizes.side,
        "classifier.dropout_rate": sizes.dropout_rate,
        "classifier.batch_size": sizes.classifier_batch_size,
        "classifier.num_dataset_repeats_base": sizes.images_per_epoch,
        "classifier.epochs": sizes.classifier_epochs,
        "classifier.learning_rate": sizes.classifier_learning_rate,
        "evaluation.every_epochs": sizes.classifier_epochs,  # only at the end
        "evaluation.batch_size": sizes.test_batch_size,
    }
    if arm != "baseline":
        values["mixing.probability"] = ARMS[arm]
    config.update_from_flattened_dict(values)
    config.dataset.update(dataset)
    settings.check(config)
    return config
