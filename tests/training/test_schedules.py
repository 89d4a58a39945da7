import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chimeramix_jax.config import defaults
from chimeramix_jax.training import classification_step
from chimeramix_jax.training.classification_step import sgd
from chimeramix_jax.training.generator import learning_rate_schedule


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
    settings = defaults.get_config().generator
    settings.epochs = epochs
    schedule = learning_rate_schedule(settings, steps_per_epoch=7)
    rates = [float(schedule(epoch * 7 + step)) for epoch in range(epochs) for step in (0, 6)]
    np.testing.assert_allclose(rates, np.repeat(2e-4 * 0.2 ** np.array(drops_until), 2), rtol=1e-5)


@pytest.mark.parametrize(("epochs", "rising"), [(200, 42), (10, 2), (1, 1)])
def test_a_cosine_of_the_generator_rises_first_and_ends_at_zero(epochs, rising):
    settings = defaults.get_config().generator
    settings.epochs, settings.learning_rate_schedule = epochs, "cosine"
    schedule, steps = learning_rate_schedule(settings, steps_per_epoch=7), epochs * 7
    rates = np.array([float(schedule(step)) for step in range(steps + 1)])
    assert rates[0] > 0 and np.argmax(rates) == rising
    np.testing.assert_allclose(np.diff(rates[: rising + 1]), rates[0], rtol=1e-4)
    progress = np.arange(steps - rising + 1) / (steps - rising)
    np.testing.assert_allclose(rates[rising:], 1e-4 * (1 + np.cos(np.pi * progress)), atol=1e-10)


def test_the_classifiers_weight_decay_is_added_to_the_gradient_of_every_parameter():
    optimizer = sgd(0.1, momentum=0.0, weight_decay=0.5, total_steps=10)
    parameters = {"kernel": jnp.array([2.0]), "bias": jnp.array([-4.0])}
    gradients = {"kernel": jnp.array([1.0]), "bias": jnp.array([0.0])}
    updates, _ = optimizer.update(gradients, optimizer.init(parameters), parameters)
    updated = optax.apply_updates(parameters, updates)
    assert updated["kernel"][0] == pytest.approx(2.0 - 0.1 * (1.0 + 0.5 * 2.0))
    assert updated["bias"][0] == pytest.approx(-4.0 - 0.1 * (0.5 * -4.0))


def test_the_classifiers_learning_rate_follows_one_cosine_over_the_steps_of_all_epochs():
    rates = np.array([float(classification_step.learning_rate_schedule(0.1, 3 * 7)(step)) for step in range(22)])
    np.testing.assert_allclose(rates, 0.05 * (1 + np.cos(np.pi * np.arange(22) / 21)), atol=1e-8)
    assert np.all(np.diff(rates) < 0)  # at every step, not only at the end of an epoch


def test_the_classifiers_learning_rate_ends_at_zero():
    optimizer = sgd(0.1, momentum=0.9, weight_decay=0.0, total_steps=3)
    parameters, state = jnp.array([1.0]), None
    state = optimizer.init(parameters)
    for _ in range(3):
        updates, state = optimizer.update(jnp.array([1.0]), state, parameters)
    updates, _ = optimizer.update(jnp.array([1.0]), state, parameters)
    assert updates[0] == pytest.approx(0.0, abs=1e-8)
