import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import TINY
from flax import nnx

from chimeramix_jax import config as settings
from chimeramix_jax.config import defaults
from chimeramix_jax.training.classification_step import sgd
from chimeramix_jax.training.classifier import ClassifierStage
from chimeramix_jax.training.evaluation import TestSet
from chimeramix_jax.training.generator import GeneratorStage, learning_rate_schedule
from chimeramix_jax.training.networks import build_generator
from chimeramix_jax.training.pretraining import PretrainingStage
from chimeramix_jax.training.schedules import Cosine, Drops, WarmCosine
from chimeramix_jax.training.stage_data import load_stage_data


def test_the_generators_learning_rate_drops_to_a_fifth_after_30_60_and_80_percent_of_the_epochs():
    schedule = learning_rate_schedule(defaults.get_config().generator, steps_per_epoch=79)
    rates = [float(schedule(epoch * 79 + step)) for epoch in (0, 59, 60, 119, 120, 159, 160, 199) for step in (0, 78)]
    expected = np.repeat([2e-4, 2e-4, 4e-5, 4e-5, 8e-6, 8e-6, 1.6e-6, 1.6e-6], 2)
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("epochs", "drops_until"),
    [
        (1, [0]),  # at the end of the only epoch, so without effect
        (2, [0, 2]),  # 0.3 and 0.6 round to the end of the first epoch, 0.8 to that of the last
        (3, [0, 1, 3]),
        (10, [0, 0, 0, 1, 1, 1, 2, 2, 3, 3]),
    ],
)
def test_drops_at_the_end_of_the_same_epoch_are_multiplied(epochs, drops_until):
    generator = defaults.get_config().generator
    generator.epochs = epochs
    schedule = learning_rate_schedule(generator, steps_per_epoch=7)
    rates = [float(schedule(epoch * 7 + step)) for epoch in range(epochs) for step in (0, 6)]
    np.testing.assert_allclose(rates, np.repeat(2e-4 * 0.2 ** np.array(drops_until), 2), rtol=1e-5)


@pytest.mark.parametrize(("epochs", "rising"), [(200, 42), (10, 2), (1, 1)])
def test_a_cosine_of_the_generator_rises_first_and_ends_at_zero(epochs, rising):
    generator = defaults.get_config().generator
    generator.epochs, generator.learning_rate_schedule = epochs, "cosine"
    schedule, steps = learning_rate_schedule(generator, steps_per_epoch=7), epochs * 7
    rates = np.array([float(schedule(step)) for step in range(steps + 1)])
    assert rates[0] > 0 and np.argmax(rates) == rising
    np.testing.assert_allclose(np.diff(rates[: rising + 1]), rates[0], rtol=1e-4)
    progress = np.arange(steps - rising + 1) / (steps - rising)
    np.testing.assert_allclose(rates[rising:], 1e-4 * (1 + np.cos(np.pi * progress)), atol=1e-10)


def test_the_classifiers_weight_decay_is_added_to_the_gradient_of_every_parameter():
    optimizer = sgd(Cosine.over(0.1, 10), momentum=0.0, weight_decay=0.5)
    parameters = {"kernel": jnp.array([2.0]), "bias": jnp.array([-4.0])}
    gradients = {"kernel": jnp.array([1.0]), "bias": jnp.array([0.0])}
    updates, _ = optimizer.update(gradients, optimizer.init(parameters), parameters)
    updated = optax.apply_updates(parameters, updates)
    assert updated["kernel"][0] == pytest.approx(2.0 - 0.1 * (1.0 + 0.5 * 2.0))
    assert updated["bias"][0] == pytest.approx(-4.0 - 0.1 * (0.5 * -4.0))


def test_the_classifiers_learning_rate_follows_one_cosine_over_the_steps_of_all_epochs():
    rates = np.array([float(Cosine.over(0.1, 3 * 7)(step)) for step in range(22)])
    np.testing.assert_allclose(rates, 0.05 * (1 + np.cos(np.pi * np.arange(22) / 21)), atol=1e-8)
    assert np.all(np.diff(rates) < 0)  # at every step, not only at the end of an epoch


def test_the_classifiers_learning_rate_ends_at_zero():
    optimizer = sgd(Cosine.over(0.1, 3), momentum=0.9, weight_decay=0.0)
    parameters, state = jnp.array([1.0]), None
    state = optimizer.init(parameters)
    for _ in range(3):
        updates, state = optimizer.update(jnp.array([1.0]), state, parameters)
    updates, _ = optimizer.update(jnp.array([1.0]), state, parameters)
    assert updates[0] == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("total", [1, 7, 320, 8064])
@pytest.mark.parametrize("rate", [4.6e-3, 0.03])
def test_schedules_equal_those_of_optax_compiled_from_constants_bit_for_bit(rate, total):
    rising, drops = max(round(0.05 * total), 1), [max(total // 3, 1), max(total // 2, 1) + 1]
    pairs = [
        (Cosine.over(rate, total), optax.cosine_decay_schedule(rate, total)),
        (
            WarmCosine.over(rate, total, 0.05),
            optax.warmup_cosine_decay_schedule(rate / (rising + 1), rate, rising, max(total, rising + 1)),
        ),
        (Drops.at(rate, drops, 0.2), optax.piecewise_constant_schedule(rate, dict.fromkeys(drops, 0.2))),
    ]
    steps = jnp.unique(jnp.linspace(0, total, 60).astype(jnp.int32))
    for ours, theirs in pairs:
        # Both as in a training step, where only ours gets its numbers as arguments.
        got = jax.jit(lambda schedule, steps: jax.lax.map(schedule, steps))(ours, steps)
        np.testing.assert_array_equal(got, jax.jit(lambda steps, theirs=theirs: jax.lax.map(theirs, steps))(steps))


def programs(changes):
    """Yields the training step of every stage as text, with tiny networks and changed settings."""
    config = settings.load("digits")
    config.update_from_flattened_dict(TINY | changes)
    pixels, labels = np.zeros((4, 8, 8, 3), np.uint8), np.arange(4) % 2
    data = {stage: load_stage_data(config, stage, pixels, labels, 2) for stage in ("generator", "classifier")}
    generator = nnx.eval_shape(lambda: build_generator(config, nnx.Rngs(0)))
    stages = [
        GeneratorStage(config, data["generator"]),
        PretrainingStage(config, data["classifier"], 2),
        ClassifierStage(config, data["classifier"], 2, TestSet(pixels, labels, 4), True, generator),
    ]
    key = jax.random.key(0)
    for stage in stages:
        state = jax.eval_shape(stage.initial_state, key)
        yield str(jax.make_jaxpr(stage.train_step)(state, stage.inputs, jnp.arange(4), None, key, key))


def test_other_lengths_rates_and_weight_decays_need_no_other_program():
    changed = {f"{stage}.epochs": 7 for stage in ("generator", "pretraining", "classifier")}
    changed |= {f"{stage}.learning_rate": 0.0123 for stage in ("generator", "pretraining", "classifier")}
    changed |= {"classifier.weight_decay": 0.0, "generator.learning_rate_drop_factor": 0.5}
    before, after = [*programs({})], [*programs(changed)]
    assert before == after
    assert all("0.8999" in program for program in before[2:])  # the momentum, which is a part of the program
