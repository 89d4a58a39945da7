"""The classifier's updates."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY
from flax import nnx
from training.recorder import Recorder

from chimeramix_jax import config as settings
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data.sampling import EpochPlan, to_device
from chimeramix_jax.models.wide_resnet import WideResNet
from chimeramix_jax.training.classification_step import ClassificationStep, sgd
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.epochs import EpochRunner
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.prediction import predict
from chimeramix_jax.training.schedules import Cosine
from chimeramix_jax.training.stage_data import StageData


def test_a_padded_batch_trains_as_the_shorter_one_would():
    classifier = WideResNet(10, 1, 3, rngs=nnx.Rngs(0))
    step = ClassificationStep(nnx.graphdef(classifier), sgd(Cosine.over(0.1, 10), momentum=0.9, weight_decay=5e-3))
    state = step.initial_state(classifier)
    draw = np.random.default_rng(0).uniform
    images, padding = draw(-1, 1, (3, 8, 8, 3)).astype(np.float32), draw(-9, 9, (2, 8, 8, 3)).astype(np.float32)
    labels, update = jnp.array([0, 2, 1]), jax.jit(step.update)
    shorter, expected = update(state, images, labels)
    mask = jnp.array([True, True, True, False, False])
    padded, metrics = update(state, np.concatenate([images, padding]), jnp.pad(labels, (0, 2)), None, mask)
    for ours, wanted in zip(jax.tree.leaves((padded, metrics)), jax.tree.leaves((shorter, expected)), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-5)
    moved = jax.tree.map(lambda new, old: np.max(np.abs(new - old)), shorter["parameters"], state["parameters"])
    assert min(jax.tree.leaves(moved)) > 1e-4


def test_the_learning_rate_falls_to_zero_over_the_steps_of_all_epochs_including_incomplete_batches():
    config = settings.load("digits:baseline")
    config.update_from_flattened_dict(TINY | {"classifier.epochs": 4, "classifier.learning_rate": 0.1})
    images, labels = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) % 2
    plan = EpochPlan(examples=4, repeats=5, batch_size=8)  # two whole batches and half of one
    augmentation = Augmentation.for_classifier(config.augment, 8)
    data = StageData(to_device(images, labels, 2), augmentation, plan)
    stage = ClassifierStage(config, data, 2, TestSet(images, labels, 4), mixes=False)
    rates = [stage.learning_rate(step) for step in range(13)]
    np.testing.assert_allclose(rates, 0.05 * (1 + np.cos(np.pi * np.arange(13) / 12)), atol=1e-8)


def stage_of(labels=(0, 1, 0, 1), repeats=1, **changes):
    """The classifier's stage on four noise images of two classes, with as many steps in an epoch as repeats."""
    config = settings.load("digits:baseline")
    config.update_from_flattened_dict(TINY | {"augment.horizontal_flip": True} | changes)
    settings.check(config)
    images, labels = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8), np.array(labels)
    augmentation = Augmentation.for_classifier(config.augment, 8)
    data = StageData(to_device(images, labels, 2), augmentation, EpochPlan(4, repeats, 4))
    return ClassifierStage(config, data, 2, TestSet(images, labels, 3), mixes=False)


def test_the_probabilities_of_an_image_and_its_mirror_image_are_averaged_if_set():
    plain, mirrored = stage_of(), stage_of(**{"evaluation.mirror": True})
    state = jax.jit(plain.initial_state)(jax.random.key(0, impl="rbg"))
    images = jnp.asarray(np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8))  # those of the stage
    classifier = plain.classifier.network
    one, other = (
        np.asarray(jax.nn.softmax(predict(classifier, state["parameters"], state["batch_statistics"], view)))
        for view in (images, images[:, :, ::-1])
    )
    assert np.max(np.abs(one - other)) > 1e-3
    np.testing.assert_allclose(jax.nn.softmax(plain.classifier.logits(state)), one, rtol=1e-5)
    np.testing.assert_allclose(np.exp(mirrored.classifier.logits(state)), (one + other) / 2, rtol=1e-5)
    loss = -np.log((one + other)[np.arange(4), np.arange(4) % 2] / 2).mean()
    np.testing.assert_allclose(mirrored.evaluate(state)["test_loss"], loss, rtol=1e-5)


def test_the_probabilities_of_shifted_crops_and_their_mirror_images_are_averaged_if_set():
    changes = {"augment.crop_padding_fraction": 0.25, "evaluation.crops": 5, "evaluation.mirror": True}
    plain, cropped = stage_of(), stage_of(**changes)
    state = jax.jit(plain.initial_state)(jax.random.key(0, impl="rbg"))
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)  # those of the stage
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    crops = [padded[:, row : row + 8, column : column + 8] for row, column in ((1, 1), (0, 0), (0, 2), (2, 0), (2, 2))]
    views = [view for crop in crops for view in (crop, crop[:, :, ::-1])]
    probabilities = [np.asarray(jax.nn.softmax(plain.classifier.logits_of(state, view))) for view in views]
    np.testing.assert_allclose(np.exp(cropped.classifier.logits(state)), np.mean(probabilities, axis=0), rtol=1e-5)
    features = plain.classifier.features(state, images)
    np.testing.assert_allclose(cropped.classifier.logits_and_features(state)[1], features, rtol=1e-5)


def test_several_steps_per_call_train_as_single_steps_do():
    stage, runs = stage_of(repeats=4), {}
    for steps_per_call in (1, 4):
        runner, calls = EpochRunner(stage, steps_per_call), 0
        state = jax.jit(stage.initial_state)(jax.random.key(0, impl="rbg"))
        progress = runner.begin(state, 0, jax.random.key(0))
        while not runner.is_over(progress):
            call, calls = runner.call(progress), calls + 1
            progress = runner.after(call, call.run())
        assert calls == 4 / steps_per_call
        runs[steps_per_call] = progress.carry.sums, progress.carry.state["parameters"]
    assert not np.allclose(runs[1][1]["head"]["bias"], 0)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), runs[4], runs[1])


def updates_of(stage, indices):
    """The arguments of ``update`` in 200 steps on the images at ``indices``."""
    stage._step = Recorder()
    stage.batches.images = lambda key, data, networks, indices, mixed: indices
    stage.batches.blend = lambda *_: None
    for number in range(200):
        key = jax.random.key(number)
        stage.train_step({}, stage.inputs, indices, None, key, key)
    return stage._step.calls


def test_classes_of_unequal_size_are_balanced_by_draws_or_weights_if_set():
    labels, indices = (0, 0, 0, 1), jnp.arange(4)
    _, images, own, _, _, _, weights = updates_of(stage_of(labels), indices)[0]
    assert (images.tolist(), own.tolist(), weights) == ([0, 1, 2, 3], [0, 0, 0, 1], None)

    _, images, own, _, _, _, weights = updates_of(stage_of(labels, **{"classifier.class_balance": "loss"}), indices)[0]
    assert (images.tolist(), own.tolist()) == ([0, 1, 2, 3], [0, 0, 0, 1])
    np.testing.assert_allclose(weights, [2 / 3, 2], rtol=1e-6)

    drawn = updates_of(stage_of(labels, **{"classifier.class_balance": "sampling"}), indices)
    images = np.stack([update[1] for update in drawn])
    np.testing.assert_array_equal([update[2] for update in drawn], np.array(labels)[images])
    assert abs(np.mean(images == 3) - 0.5) < 0.08  # four standard deviations of 800 draws are 0.07
    assert all(update[6] is None for update in drawn)


def test_label_smoothing_and_class_weights_reach_the_loss():
    stage = stage_of((0, 0, 0, 1), **{"classifier.label_smoothing": 0.2, "classifier.class_balance": "loss"})
    plain = stage_of((0, 0, 0, 1))
    state, images = jax.jit(plain.initial_state)(jax.random.key(0, impl="rbg")), jnp.ones((4, 8, 8, 3))
    labels, weights = jnp.array([0, 0, 0, 1]), jnp.array([2 / 3, 2.0])
    arguments = (images, labels, jax.random.key(0), None, None)
    _, metrics = jax.jit(stage._step.update)(state, *arguments, weights)
    network = nnx.merge(plain._step.classifier, state["parameters"], state["batch_statistics"], copy=True)
    logits = np.asarray(network(images, dropout_key=jax.random.key(0)), np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = 0.8 * np.eye(2)[[0, 0, 0, 1]] + 0.1
    expected = np.mean(-np.sum(targets * log_probabilities, axis=1) * [2 / 3, 2 / 3, 2 / 3, 2])
    np.testing.assert_allclose(metrics["loss"], expected, rtol=1e-4)


@pytest.mark.parametrize(
    "changes", [{"classifier.loss": "cosine"}, {"classifier.head": "tvmf"}, {"classifier.convolutions": "harmonic"}]
)
def test_every_loss_head_and_kind_of_convolution_trains_from_settings(changes):
    easy = {"classifier.learning_rate": 0.1, "classifier.dropout_rate": 0.0, "classifier.epochs": 50}
    stage = stage_of(**easy, **changes)
    state, losses = jax.jit(stage.initial_state)(jax.random.key(0, impl="rbg")), []
    before, step = stage.classifier.measure(state), jax.jit(stage.train_step)
    for number in range(15):
        key = jax.random.fold_in(jax.random.key(1), number)
        state, metrics = step(state, stage.inputs, jnp.arange(4), None, key, key)
        losses.append(float(metrics["loss"]))
    assert np.mean(losses[-3:]) < 0.6 * np.mean(losses[:3])
    after = stage.classifier.measure(state)
    assert after.top1 >= 0.75 and after.loss < before.loss
