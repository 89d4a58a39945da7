"""The settings of the published study, copied independently from its description."""

from operator import attrgetter

import pytest

from chimeramix_jax import config as settings
from chimeramix_jax.config.experiments import EXPERIMENTS
from chimeramix_jax.config.rules import MASKS, POLICIES

CIFAR = {
    "max_labels_per_class": 5,
    "augment.crop_padding_fraction": 1 / 8,
    "augment.horizontal_flip": True,
    "augment.autoaugment_policy": "cifar10",
    "mixing.probability": 0.5,
    "mixing.mix_size": 4,
    "mixing.segmentation_scale": 60,
    "mixing.segmentation_min_size": 60,
    "mixing.segmentation_sigma": 0.8,
    "mixing.discriminator_candidates": 1,
    "mixing.images": 2,
    "mixing.shares": "published",
    "generator.image_side": 64,
    "generator.channels": 64,
    "generator.discriminator_channels": 64,
    "generator.residual_blocks": 2,
    "generator.decoder_residual_blocks": 0,
    "generator.images": 2,
    "generator.batch_size": 64,
    "generator.num_dataset_repeats_base": 500,
    "generator.epochs": 200,
    "generator.learning_rate": 2e-4,
    "generator.adam_b1": 0.5,
    "generator.adam_b2": 0.999,
    "generator.learning_rate_drops": (0.3, 0.6, 0.8),
    "generator.learning_rate_drop_factor": 0.2,
    "generator.reconstruction_weight": 1000,
    "generator.adversarial_weight": 1,
    "generator.perceptual_weight": 1,
    "classifier.model": "wrn-16-8",
    "classifier.image_side": 32,
    "classifier.dropout_rate": 0.3,
    "classifier.batch_size": 10,
    "classifier.num_dataset_repeats_base": 500,
    "classifier.epochs": 200,
    "classifier.learning_rate": 4.6e-3,
    "classifier.momentum": 0.9,
    "classifier.weight_decay": 5.3e-3,
    "repeat_unlimited": False,
}

STL10 = CIFAR | {
    "augment.autoaugment_policy": "imagenet",
    "mixing.segmentation_scale": 400,
    "mixing.segmentation_min_size": 400,
    "generator.image_side": 96,
    "generator.batch_size": 8,
    "generator.num_dataset_repeats_base": 30,
    "classifier.model": "resnet-50",
    "classifier.image_side": 96,
    "classifier.batch_size": 16,
    "classifier.num_dataset_repeats_base": 120,
    "classifier.learning_rate": 7.4e-3,
    "classifier.weight_decay": 4.1e-4,
}

PUBLISHED = {"cifair10": CIFAR, "cifair100": CIFAR, "cifar10": CIFAR, "cifar100": CIFAR, "stl10": STL10}
CUTOUT_SIDES = {"cifair10": 16, "cifair100": 8, "cifar10": 16, "cifar100": 8, "stl10": 24}


def config_of(name, experiment="chimeramix_grid"):
    return settings.load(f"{name}:{experiment}")


@pytest.mark.parametrize("name", PUBLISHED)
def test_data_sets_have_the_published_settings(name):
    expected = PUBLISHED[name] | {"augment.cutout_side": CUTOUT_SIDES[name]}
    config = config_of(name)
    assert {key: attrgetter(key)(config) for key in expected} == expected


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_enable_exactly_what_their_names_say(experiment):
    config, words = config_of("cifair10", experiment), set(experiment.split("_"))
    assert config.mixing.mask == next((name for name in MASKS if name in words), "none")
    assert config.mixing.of == ("pixels" if "direct" in words else "features")
    assert config.augment.policy == next((name for name in POLICIES if name in words), "none")
    assert config.augment.random_erasing_probability == (0.5 if "erasing" in words else 0)
    assert config.augment.cutout == ("cutout" in words)
    assert config.augment.mixup == ("mixup" in words)
    assert config.augment.cutmix_probability == (0.5 if "cutmix" in words else 0)
    assert config.classifier.loss == ("cosine" if "cosine" in words else "cross_entropy")
    assert config.classifier.head == ("tvmf" if "tvmf" in words else "linear")
    assert config.classifier.convolutions == ("harmonic" if "harmonic" in words else "standard")
    several = "hydramix" in words
    assert (config.mixing.images > 2, config.generator.images > 2) == (several, several)
    assert (config.mixing.shares == "published") == (not several)
