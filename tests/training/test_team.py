"""Members of a team, with steps of a few numbers: who is run with whom, and what becomes of those that fail."""

import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimeramix_jax.training.team import Team


def steps(state, sums, fault, inputs, key, first, end):
    """Some steps that depend on everything that they are given."""

    def step(number, carry):
        state, sums = carry
        noise = jax.random.normal(jax.random.fold_in(key, number), state.shape)
        state = jnp.tanh(state @ inputs + noise)
        return state, sums + jnp.sum(state)

    return *jax.lax.fori_loop(first, end, step, (state, sums)), fault


def training(seed, epochs=3, first_epoch=0, program="steps", width=4, watch=None):
    """A run of a seed: a call of two steps for each epoch, and its final state."""

    def run(member):
        compiled = member.compiled(steps, program=program)
        inputs = jax.random.normal(jax.random.key(100 + seed), (width, width))
        state = member.place(jnp.full(width, float(seed)))
        for epoch in range(first_epoch, epochs):
            key = jax.random.key(1000 * seed + epoch)
            (state, sums, _), seconds = compiled(state, jnp.zeros(()), jnp.zeros(()), inputs, key, 0, 2)
            if watch is not None:
                watch(epoch, seconds)
        return np.asarray(state), float(sums)

    return run


def together(*members, seeds_per_call=0):
    team = Team(jax.local_devices()[:1], seeds_per_call)
    outcomes = team.run(members)
    assert threading.active_count() < 20
    return outcomes


def alone(seed, **settings):
    return together(training(seed, **settings))[0].result


def test_seeds_in_turn_are_bit_for_bit_what_they_are_alone():
    for seed, outcome in enumerate(together(*map(training, range(3)))):
        np.testing.assert_array_equal(outcome.result[0], alone(seed)[0])
        assert outcome.result[1] == alone(seed)[1]


@pytest.mark.parametrize("seeds_per_call", [2, 3, 5])
def test_vectorised_seeds_are_what_they_are_alone_but_for_rounding(seeds_per_call):
    outcomes = together(*map(training, range(5)), seeds_per_call=seeds_per_call)
    for seed, outcome in enumerate(outcomes):
        np.testing.assert_allclose(outcome.result[0], alone(seed)[0], rtol=1e-5, atol=1e-6)


def test_seeds_at_different_epochs_train_together_until_the_last_is_done():
    further = training(1, first_epoch=2, epochs=4)
    outcomes = together(training(0, epochs=4), further, seeds_per_call=2)
    np.testing.assert_allclose(outcomes[0].result[0], alone(0, epochs=4)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outcomes[1].result[0], alone(1, first_epoch=2, epochs=4)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("other", [{"program": "other"}, {"width": 6}])
def test_seeds_in_another_stage_or_of_other_shapes_are_run_apart(other):
    outcomes = together(training(0), training(1, **other), training(2), seeds_per_call=3)
    np.testing.assert_allclose(outcomes[1].result[0], alone(1, **other)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outcomes[2].result[0], alone(2)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seeds_per_call", [1, 2])
def test_all_seeds_are_told_the_same_seconds_so_that_they_stay_in_step(seeds_per_call):
    told = {seed: [] for seed in range(3)}

    def watching(seed):
        return training(seed, watch=lambda _, seconds: told[seed].append(seconds))

    together(*map(watching, told), seeds_per_call=seeds_per_call)
    assert told[0] == told[1] == told[2]
    assert len(set(told[0])) == 3 and min(told[0]) > 0


def test_a_seed_that_fails_leaves_the_others_at_work():
    def fails(epoch, _):
        if epoch == 1:
            raise ValueError("numbers gone bad")

    outcomes = together(training(0), training(1, watch=fails), training(2), seeds_per_call=3)
    assert isinstance(outcomes[1].error, ValueError) and outcomes[1].result is None
    for seed in (0, 2):
        assert outcomes[seed].error is None
        np.testing.assert_allclose(outcomes[seed].result[0], alone(seed)[0], rtol=1e-5, atol=1e-6)


def test_steps_that_cannot_be_run_fail_for_those_who_wait_for_them_only():
    def wrong(member):
        return member.compiled(steps, program="wrong")(jnp.zeros(3), jnp.zeros(()), None, jnp.zeros((2, 2)), None, 0, 1)

    outcomes = together(training(0), wrong)
    assert isinstance(outcomes[1].error, TypeError)
    np.testing.assert_array_equal(outcomes[0].result[0], alone(0)[0])


def test_an_interruption_ends_all_seeds_at_their_next_step():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell runs in the background
    epochs = []

    def interrupts(epoch, _):
        epochs.append(epoch)
        if len(epochs) == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        together(*(training(seed, epochs=100_000, watch=interrupts) for seed in range(2)))
    assert len(epochs) < 10_000


@pytest.mark.parametrize("error", [RuntimeError("can't start new thread"), KeyboardInterrupt()])
def test_a_seed_that_cannot_start_ends_those_that_did(monkeypatch, error):
    started, start = [], threading.Thread.start

    def refuses_the_third(thread):
        if len(started) == 2:
            raise error
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuses_the_third)
    with pytest.raises(type(error)):
        together(*(training(seed, epochs=100_000) for seed in range(4)))
    assert not any(thread.is_alive() for thread in started)
