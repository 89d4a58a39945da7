"""The moving average of the classifier's parameters: its weights, and what uses it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY

from chimeramix_jax import config as settings
from chimeramix_jax.augment.geometry import normalize
from chimeramix_jax.augment.pipeline import Augmentation
from chimeramix_jax.data.sampling import EpochPlan, to_device
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.restore import TrainedClassifier
from chimeramix_jax.training import loop
from chimeramix_jax.training.averaging import aged_average, decay, initial_average, updated_average
from chimeramix_jax.training.calls import drive
from chimeramix_jax.training.classification_step import evaluated
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.stage_data import StageData

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
LABELS = np.arange(4) % 2


def averages(values, decay):
    """The average after each of the values, which are the parameter and, negated, the statistic."""
    average, seen = initial_average(jnp.full(3, 9.0), jnp.full(2, 9.0)), []
    for value in values:
        average = updated_average(average, jnp.full(3, value), jnp.full(2, -value), decay)
        np.testing.assert_array_equal(average["parameters"][0], -average["batch_statistics"][0])
        seen.append(float(average["parameters"][0]))
    return seen


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_the_weights_fall_by_the_decay_per_step_and_add_up_to_one(decay):
    values = np.random.default_rng(0).normal(size=6).astype(np.float32)
    expected = []
    for steps in range(1, 7):
        weights = decay ** np.arange(steps)[::-1]
        expected.append(weights @ values[:steps] / weights.sum())
    np.testing.assert_allclose(averages(values, decay), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("decay", [0.9, 0.99])
def test_steps_that_are_left_out_age_the_average(decay):
    """One block of values, then steps left out, then another block: the weights are those of their distance in time."""
    first, left_out, second = 40, 25, 30
    average = initial_average(jnp.zeros(1), jnp.zeros(1))
    for value, steps in ((1.0, first), (2.0, second)):
        for _ in range(steps):
            average = updated_average(average, jnp.full(1, value), jnp.full(1, value), decay)
        if value == 1.0:
            average = aged_average(average, decay, left_out)
            assert average["parameters"] == 1 and average["steps"].dtype == jnp.int32
    weights = decay ** np.arange(first + left_out + second)[::-1]
    old, new = weights[:first].sum(), weights[first + left_out :].sum()
    np.testing.assert_allclose(average["parameters"], (old + 2 * new) / (old + new), rtol=5e-3)


def test_after_very_many_steps_that_are_left_out_only_the_next_one_counts():
    average = aged_average(
        updated_average(initial_average(jnp.zeros(1), jnp.zeros(1)), jnp.ones(1), jnp.ones(1), 0.5), 0.5, 99
    )
    assert updated_average(average, jnp.full(1, 3.0), jnp.full(1, 3.0), 0.5)["parameters"] == 3


def test_after_the_first_step_the_average_is_that_steps_parameters():
    assert averages([0.125, 0.5], 0.999)[0] == 0.125


def config_of(**changes):
    config = settings.load("digits:baseline")
    config.update_from_flattened_dict(TINY | {"classifier.epochs": 3, "checkpoint.every_seconds": 0.0} | changes)
    return config


def stage_of(config):
    """The classifier's stage on four noise images of two classes, a step in each of three epochs."""
    data = StageData(to_device(PIXELS, LABELS, 2), Augmentation.for_classifier(config.augment, 8), EpochPlan(4, 1, 4))
    return ClassifierStage(config, data, 2, TestSet(PIXELS, LABELS, 4), mixes=False)


# The average of three steps reaches back over two: the decay is 0.5, too.
@pytest.mark.parametrize("setting", [{"classifier.averaged_weights": 0.5}, {"classifier.averaged_share": 2 / 3}])
def test_the_average_is_trained_stored_evaluated_and_restored(tmp_path, setting):
    config = config_of(**setting)
    about = {"config": settings.config_to_dict(config), "class_names": ["no", "yes"]}
    stage, states = stage_of(config), []

    def draw(state):
        states.append(jax.tree.map(np.array, state))
        return {}

    config.evaluation.every_epochs = 1
    trained = drive(loop.train(stage, tmp_path, config, about, title="classifier", draw=draw))
    states.append(jax.tree.map(np.array, trained.state))
    assert len(states) == 3

    weights = np.array([1, 2, 4]) / 7
    for entry in ("parameters", "batch_statistics"):
        expected = jax.tree.map(lambda *steps: np.tensordot(weights, np.stack(steps), 1), *(s[entry] for s in states))
        jax.tree.map(
            lambda ours, mean: np.testing.assert_allclose(ours, mean, rtol=1e-4, atol=1e-6),
            trained.state["average"][entry],
            expected,
        )

    logits = stage.classifier.logits(trained.state)
    network = TrainedClassifier.newest(tmp_path).network
    np.testing.assert_allclose(network(normalize(jnp.asarray(PIXELS))), logits, rtol=1e-4, atol=1e-5)
    last = {name: value for name, value in trained.state.items() if name != "average"}
    assert np.max(np.abs(stage.classifier.logits(last) - logits)) > 1e-3


def test_the_decay_follows_the_length_of_the_training():
    of_share = config_of(**{"classifier.averaged_share": 0.08}).classifier
    assert decay(of_share, 10_000) == pytest.approx(1 - 1 / 800)
    assert decay(of_share, 5) == 0.0  # the newest weights alone
    assert decay(config_of(**{"classifier.averaged_weights": 0.998}).classifier, 5) == 0.998
    assert decay(config_of().classifier, 5) == 0.0


def test_two_lengths_of_the_average_are_refused():
    config = config_of(**{"classifier.averaged_weights": 0.998, "classifier.averaged_share": 0.08})
    with pytest.raises(InputError, match=r"averaged_share: 0\.08, but classifier\.averaged_weights is 0\.998"):
        settings.check(config)


def test_without_it_the_state_has_no_average_and_is_evaluated_itself():
    state = jax.eval_shape(stage_of(config_of()).initial_state, jax.random.key(0))
    assert sorted(state) == ["batch_statistics", "optimizer", "parameters"]
    assert evaluated(state) == (state["parameters"], state["batch_statistics"])
