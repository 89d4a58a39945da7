"""Batch norm statistics of images that are augmented but not mixed."""

import itertools
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY
from flax import nnx
from networks import logits_of

from chimeramix_jax import config as settings
from chimeramix_jax.augment.geometry import normalize
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data.sampling import EpochPlan, to_device
from chimeramix_jax.runs.restore import TrainedClassifier
from chimeramix_jax.runtime import stopping
from chimeramix_jax.training import checkpoints, loop
from chimeramix_jax.training.calls import drive
from chimeramix_jax.training.classification_step import evaluated
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.stage_data import StageData

# Three bright images of class 0, one dark one of class 1.
PIXELS = np.random.default_rng(0).integers(0, 100, (4, 8, 8, 3), np.uint8)
PIXELS[:3] += 150
LABELS = np.array([0, 0, 0, 1])


def stage_of(**changes):
    """The classifier's stage on the four images: mixup with all batches, and dropout."""
    config = settings.load("digits:mixup")
    changes = {"classifier.epochs": 2, "classifier.dropout_rate": 0.5, "checkpoint.every_seconds": 0.0} | changes
    config.update_from_flattened_dict(TINY | changes)
    settings.check(config)
    data = StageData(to_device(PIXELS, LABELS, 2), Augmentation.for_classifier(config.augment, 8), EpochPlan(4, 8, 4))
    return ClassifierStage(config, data, 2, TestSet(PIXELS, LABELS, 4), mixes=False)


def trained(stage, directory):
    about = {"config": settings.config_to_dict(stage.config), "class_names": ["bright", "dark"]}
    return drive(loop.train(stage, directory, stage.config, about, title="classifier")).state


def first_norm(stage, state):
    """The statistics of the first norm of the network."""
    network = nnx.merge(stage.classifier.network, *evaluated(state))
    norm = next(module for path, module in nnx.iter_modules(network) if hasattr(module, "use_running_average"))
    return network, np.asarray(norm.mean[...]), np.asarray(norm.variance[...])


@pytest.mark.parametrize("balance", ["none", "sampling"])
def test_they_are_the_means_and_variances_over_the_unmixed_images_as_often_as_they_are_drawn(balance):
    changes = {"classifier.class_balance": balance, "classifier.batch_size": 64}
    stage = stage_of(**{"classifier.batch_statistics": "unmixed"} | changes)
    state = stage.initial_state(jax.random.key(0))
    network, mean, variance = first_norm(stage, stage.finished(state, jax.random.key(1)))
    features = np.asarray(network.stem(normalize(jnp.asarray(PIXELS))))
    weights = {"none": np.full(4, 1 / 4), "sampling": np.array([1, 1, 1, 3]) / 6}[balance]
    expected = np.tensordot(weights, features.mean((1, 2)), 1)
    deviation = np.sqrt(np.tensordot(weights, np.square(features).mean((1, 2)), 1) - expected**2)
    assert mean == pytest.approx(expected, abs=0.02 * deviation.max())
    assert np.sqrt(variance) == pytest.approx(deviation, rel=0.05)


def test_training_is_the_same_and_the_stored_network_has_the_new_statistics(tmp_path):
    stages = {kind: stage_of(**{"classifier.batch_statistics": kind}) for kind in ("running", "unmixed")}
    states = {kind: trained(stage, tmp_path / kind) for kind, stage in stages.items()}
    for ours, theirs in zip(*(jax.tree.leaves(state["parameters"]) for state in states.values()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    logits = {kind: stages[kind].classifier.logits(state) for kind, state in states.items()}
    assert np.max(np.abs(logits["running"] - logits["unmixed"])) > 1e-3
    for kind in stages:
        restored = TrainedClassifier.newest(tmp_path / kind).network
        np.testing.assert_allclose(logits_of(restored, PIXELS), logits[kind], rtol=1e-4, atol=1e-5)


def test_a_run_that_is_stopped_while_they_are_computed_ends_bit_for_bit_as_an_uninterrupted_one(tmp_path, monkeypatch):
    changes = {"classifier.batch_statistics": "unmixed", "checkpoint.every_seconds": 1000.0}
    expected = trained(stage_of(**changes), tmp_path / "straight")
    steps, calls = 16, itertools.count()

    def stop_in_the_middle():
        if next(calls) == steps + 7:  # also called after every step
            raise stopping.Stopped(signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(stopping, "raise_if_asked", stop_in_the_middle)
        with pytest.raises(stopping.Stopped):
            trained(stage_of(**changes), tmp_path / "stopped")
    assert checkpoints.newest(tmp_path / "stopped")["steps_in_epoch"] == steps / 2
    continued = trained(stage_of(**changes), tmp_path / "stopped")
    assert checkpoints.is_finished(tmp_path / "stopped", 2)
    for ours, theirs in zip(jax.tree.leaves(continued), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    networks = [TrainedClassifier.newest(tmp_path / name).network for name in ("straight", "stopped")]
    np.testing.assert_array_equal(*(logits_of(network, PIXELS) for network in networks))


def test_those_of_averaged_weights_are_replaced_and_those_of_the_last_ones_are_not():
    stage = stage_of(**{"classifier.batch_statistics": "unmixed", "classifier.averaged_weights": 0.5})
    state = stage.initial_state(jax.random.key(0))
    state["average"]["parameters"] = state["parameters"]  # before the first step they are zeros
    finished = stage.finished(state, jax.random.key(1))
    assert finished["batch_statistics"] is state["batch_statistics"]
    assert np.any(first_norm(stage, finished)[1])


def test_other_random_numbers_hardly_change_them_and_the_same_ones_do_not():
    stage = stage_of(**{"classifier.batch_statistics": "unmixed"})
    state = stage.initial_state(jax.random.key(0))
    first, again, other = (first_norm(stage, stage.finished(state, jax.random.key(seed)))[1:] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.any(first[0] != other[0])
    np.testing.assert_allclose(first[1], other[1], rtol=0.1)
