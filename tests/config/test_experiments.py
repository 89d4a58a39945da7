"""Every experiment of the study, with tiny networks on real digits: how it changes the images, and that it trains."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY
from flax import nnx
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.augment import geometry
from chimeramix_jax.augment.mixup import draw_mixup
from chimeramix_jax.config import shipped
from chimeramix_jax.config.experiments import EXPERIMENTS, STUDY
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.resizing import resize
from chimeramix_jax.data.sampling import EpochPlan, to_device
from chimeramix_jax.errors import InputError
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.networks import build_discriminator, build_generator
from chimeramix_jax.training.stage_data import load_stage_data

SIDE = 16
SMALLEST_OF_GENERATOR = 32  # so mixes of features are resized
MIXING = ("chimeramix_grid", "chimeramix_segmentation")

# Makes the loss of a tiny network fall in a few steps. The learning rate would be 0 at the end of the last epoch.
EASY = {"classifier.dropout_rate": 0.0, "classifier.learning_rate": 0.1, "classifier.epochs": 100}


@pytest.fixture(scope="module")
def training(dataset, data_dir):
    """An untrained classifier's state and its update on given images, compiled once for all experiments."""
    stage = make_stage(load("baseline", data_dir, **EASY), dataset)
    return jax.jit(stage.initial_state)(jax.random.key(0, impl="rbg")), jax.jit(stage._step.update)


@pytest.fixture(scope="module")
def dataset(data_dir):
    config = load("baseline", data_dir)
    return load_few_shot(config.dataset, config.max_labels_per_class, config.seed)


def load(experiment: str, data_dir, **changes) -> ConfigDict:
    config = settings.load(f"configs/digits.py:{experiment}")
    plain = {  # without a crop pixels can be compared
        "augment.crop_padding_fraction": 0.0,
        "classifier.image_side": SIDE,
        "generator.image_side": SIDE,
        "mixing.segmentation_min_size": 20,
    }
    config.update_from_flattened_dict(TINY | plain | {"dataset.data_dir": str(data_dir)} | changes)
    if settings.needs_generator(config):
        config.generator.image_side = SMALLEST_OF_GENERATOR
    settings.check(config)
    return config


@pytest.fixture(scope="module")
def stage_of(dataset, data_dir):
    """Returns the classifier stage of an experiment with untrained networks for mixing, the same at every call."""
    return functools.cache(lambda experiment: make_stage(load(experiment, data_dir), dataset))


def make_stage(config: ConfigDict, dataset) -> ClassifierStage:
    """Builds the classifier stage with untrained networks for mixing."""
    networks = (None, None)
    if settings.needs_generator(config):
        networks = build_generator(config, nnx.Rngs(0)), build_discriminator(config, nnx.Rngs(1))
    data = load_stage_data(config, "classifier", dataset.train.images, dataset.train.labels, 10)
    data = dataclasses.replace(data, plan=EpochPlan(len(dataset.train.labels), 2, len(dataset.train.labels)))
    test_set = TestSet(resize(dataset.held_out.images[:10], SIDE), dataset.held_out.labels[:10], 10)
    return ClassifierStage(config, data, 10, test_set, config.mixing.mask != "none", *networks)


def shown(stage: ClassifierStage, seed: int = 0, mixed: bool = True):
    """Returns the classifier's input for every training image, in a batch that is mixed if the experiment mixes."""
    indices = jnp.arange(len(stage.inputs.data.labels))
    return np.asarray(
        compiled_images(stage)(jax.random.key(seed), stage.inputs.data, stage.inputs.networks, indices, mixed)
    )


@functools.cache
def compiled_images(stage: ClassifierStage):
    return jax.jit(stage.batches.images)


def test_the_study_has_fourteen_experiments():
    assert len(STUDY) == 14 and EXPERIMENTS.keys() > STUDY.keys()


@pytest.mark.parametrize("file", shipped.names())
def test_the_strongest_recipe_has_harmonic_convolutions_and_nothing_else_in_its_other_form(file):
    plain, harmonic = (settings.load(f"{file}:mixup_trivialaugment{kind}") for kind in ("", "_harmonic"))
    harmonic.experiment, harmonic.classifier.convolutions = plain.experiment, "standard"
    assert harmonic == plain


# A policy before mixing takes seconds to compile, and other experiments of the default suite test both parts.
MADE_OF_OTHERS = [f"{mixing}_{policy}" for mixing in MIXING for policy in ("autoaugment", "trivialaugment")]


# These show the images of another experiment to another classifier, or with another loss.
WITH_THE_SAME_IMAGES = [
    *(
        f"{name}_{kind}"
        for name in ("baseline", "chimeramix_grid")
        for kind in ("cosine", "tvmf", "harmonic", "simclr")
    ),
    "mixup_trivialaugment_harmonic",
    "mixup_trivialaugment_simclr",
]


@pytest.mark.parametrize(
    "experiment",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in MADE_OF_OTHERS))
        for name in EXPERIMENTS
        if name not in WITH_THE_SAME_IMAGES
    ],
)
def test_every_experiment_trains_and_its_loss_falls(experiment, dataset, data_dir, stage_of, training):
    fewer = {"mixing.images": 2, "generator.images": 2}  # only two images a class
    stage = stage_of(experiment) if experiment in STUDY else make_stage(load(experiment, data_dir, **fewer), dataset)
    (state, update), losses, config = training, [], stage.config
    indices, labels = jnp.arange(len(dataset.train.labels)), jnp.asarray(dataset.train.labels)
    images = compiled_images(stage)
    for number in range(30):
        image_key, mixup_key = jax.random.split(jax.random.key(number))
        mixup = draw_mixup(mixup_key, len(labels)) if config.augment.mixup else None
        shown = images(image_key, stage.inputs.data, stage.inputs.networks, indices, number % 2 == 0)
        state, metrics = update(state, shown, labels, None, None, mixup)
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-8:]) < np.mean(losses[:8]) - 0.05


def test_the_baseline_sees_the_images_themselves(stage_of):
    stage = stage_of("baseline")
    np.testing.assert_array_equal(shown(stage), stage.inputs.data.images / np.float32(127.5) - 1)


@pytest.mark.parametrize("experiment", ["baseline_autoaugment", "baseline_trivialaugment"])
def test_a_policy_changes_most_images_and_keeps_integer_grey_levels(experiment, stage_of):
    stage = stage_of(experiment)
    plain = stage_of("baseline")
    changed = np.any(shown(stage) != shown(plain), axis=(1, 2, 3))
    assert np.mean(changed) > 0.5
    levels = (shown(stage) + 1) * 127.5
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)


def test_cutout_blanks_a_square_and_random_erasing_fills_a_rectangle_with_noise(stage_of):
    plain = shown(stage_of("baseline"))
    cut = shown(stage_of("cutout"))
    assert np.all((cut == plain) | (cut == 0))
    assert np.all(np.sum(np.any(cut != plain, axis=-1), axis=(1, 2)) <= 8 * 8)
    erased = np.any(shown(stage_of("random_erasing")) != plain, axis=(1, 2, 3))
    assert 0 < np.mean(erased) < 1


@pytest.mark.parametrize("experiment", ["chimeramix_grid_direct", "chimeramix_segmentation_direct"])
def test_direct_mixing_takes_every_pixel_from_an_image_of_the_class(experiment, dataset, stage_of):
    stage = stage_of(experiment)
    mixes, images = shown(stage), stage.inputs.data.images / np.float32(127.5) - 1
    labels = dataset.train.labels
    for mix, label in zip(mixes, labels, strict=True):
        candidates = images[labels == label]
        assert np.all(np.any(np.all(mix == candidates, axis=-1), axis=0))
    assert np.any(np.any(mixes != images, axis=(1, 2, 3)))


def test_direct_mixing_happens_at_the_generators_side_and_is_resized_back(dataset, data_dir):
    config = load("chimeramix_grid_direct", data_dir, **{"generator.image_side": 2 * SIDE})
    stage = make_stage(config, dataset)
    indices, data = jnp.arange(len(dataset.train.labels)), stage.inputs.data
    mixes = jax.jit(stage.batches.mixer.mix)(jax.random.key(0), data, indices, {})
    assert mixes.partition.shape[2:4] == (2 * SIDE, 2 * SIDE)
    # Without crop and mirroring the sources are the images, so the mix can be recomputed from them.
    sources = geometry.normalize(data.images[mixes.sources])
    large = jnp.stack([geometry.resize_align_corners(views, 2 * SIDE) for views in sources])
    expected = geometry.resize_align_corners(jnp.sum(mixes.partition * large, axis=0), SIDE)
    np.testing.assert_allclose(mixes.images, expected, atol=1e-5)


def test_mixing_several_images_uses_pixels_of_more_than_two(dataset, data_dir):
    config = load("chimeramix_grid_direct", data_dir, **{"mixing.images": 4, "max_labels_per_class": 8})
    more = load_few_shot(config.dataset, 8, config.seed)
    stage = make_stage(config, more)
    mixes, images = shown(stage), stage.inputs.data.images / np.float32(127.5) - 1
    sources = []
    for mix, label in zip(mixes, more.train.labels, strict=True):
        same = np.all(mix == images[more.train.labels == label], axis=-1)
        unique = same & (same.sum(axis=0) == 1)  # pixels that can only come from a single image
        sources.append(np.sum(np.any(unique, axis=(1, 2))))
    assert max(sources) > 2


def test_an_unmixed_batch_shows_the_images_themselves(stage_of):
    stage = stage_of("chimeramix_grid")
    images = stage.inputs.data.images / np.float32(127.5) - 1
    np.testing.assert_array_equal(shown(stage, mixed=False), images)
    assert not np.any(np.all(shown(stage, mixed=True) == images, axis=(1, 2, 3)))


def test_feature_mixing_shows_decoded_images_and_no_original_pixels(stage_of):
    stage = stage_of("chimeramix_segmentation")
    images = stage.inputs.data.images / np.float32(127.5) - 1
    mixes = shown(stage)
    assert mixes.shape == images.shape and np.all(np.abs(mixes) <= 1)
    assert np.mean(mixes == images) < 0.01


def test_the_mix_with_the_highest_discriminator_score_is_used(dataset, data_dir):
    unresized = {"classifier.image_side": SMALLEST_OF_GENERATOR}  # as the discriminator has seen them
    config = load("chimeramix_grid", data_dir, **unresized, **{"mixing.discriminator_candidates": 4})
    stage, discriminator = make_stage(config, dataset), build_discriminator(config, nnx.Rngs(1))
    without_choice = make_stage(load("chimeramix_grid", data_dir, **unresized), dataset)

    judge = nnx.jit(lambda judge, batch: judge(batch))

    def mean_score(images):
        return np.mean([np.mean(judge(discriminator, batch)) for batch in images])

    chosen, plain = ([shown(each, seed) for seed in range(3)] for each in (stage, without_choice))
    assert mean_score(chosen) > mean_score(plain)


def test_segments_follow_the_images_through_a_policy(dataset, data_dir):
    # A label map that equals the image must still equal it after a policy, a crop and mirroring have moved the pixels.
    config = load("chimeramix_segmentation_trivialaugment", data_dir, **{"augment.crop_padding_fraction": 0.125})
    stage = make_stage(config, dataset)
    data = stage.inputs.data
    marked = to_device(np.asarray(data.images), dataset.train.labels, 10, np.asarray(data.images[..., 0]))
    augmented = jax.jit(stage.batches.augmentation)(jax.random.key(0), marked, jnp.arange(len(dataset.train.labels)))
    levels = np.round((np.asarray(augmented.images)[..., 0] + 1) * 127.5)
    same = np.where(augmented.segments == marked.segment_labels - 1, 0, augmented.segments) == levels
    moved = np.mean(same, axis=(1, 2))
    assert np.mean(moved == 1) > 0.3  # images with a geometric operation; colour operations change levels, not segments


def test_mixing_more_images_than_a_class_has_is_refused(data_dir):
    config = load("chimeramix_grid", data_dir)
    config.mixing.images = 3
    with pytest.raises(InputError, match=r"mixing.images: 3 .* max_labels_per_class is 2"):
        settings.check(config)


def test_mixup_of_unmixed_batches_is_refused_if_every_batch_is_mixed(data_dir):
    config = load("chimeramix_grid", data_dir, **{"augment.mixup": True})
    config.mixing.probability = 1.0
    with pytest.raises(InputError, match=r"augment.mixup: True.* mixing.probability 1 leaves none"):
        settings.check(config)
    config.augment.mixup_of = "all"
    settings.check(config)


def test_choosing_by_discriminator_is_refused_if_there_is_none(data_dir):
    config = load("chimeramix_grid_direct", data_dir)
    config.mixing.discriminator_candidates = 2
    with pytest.raises(InputError, match=r"mixing.discriminator_candidates: 2"):
        settings.check(config)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mixing.segmentation_scale", 0.0),
        ("mixing.segmentation_min_size", -1),
        ("mixing.segmentation_sigma", -0.1),
        ("mixing.images", 1),
        ("mixing.probability", 0.0),
        ("mixing.probability", 1.1),
        ("augment.policy", "augmix"),
        ("augment.random_erasing_probability", 1.5),
        ("augment.cutout_side", 1),
    ],
)
def test_experiment_settings_out_of_range_are_refused_by_name(key, value, data_dir):
    config = load("chimeramix_segmentation", data_dir)
    config.update_from_flattened_dict({key: value})
    with pytest.raises(InputError, match=key):
        settings.check(config)
