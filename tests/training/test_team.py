"""Teams with steps of a few numbers: which members run together, and what happens when one fails."""

import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimeramix_jax.errors import NonFiniteError, StorageError
from chimeramix_jax.runtime.stopping import Stopped
from chimeramix_jax.training import team
from chimeramix_jax.training.calls import Carry, EpochDraws, Span, StepCall
from chimeramix_jax.training.team import MemberOutcome, Stacked, Team, raise_first_error


def steps(carry, inputs, draws, span):
    """Some steps that depend on all of their arguments."""

    def step(number, carry):
        noise = jax.random.normal(jax.random.fold_in(draws.key, number), carry.state.shape)
        state = jnp.tanh(carry.state @ inputs + noise)
        return carry._replace(state=state, sums=carry.sums + jnp.sum(state))

    return jax.lax.fori_loop(span.first, span.end, step, carry)


def training(seed, epochs=3, first_epoch=0, program="steps", width=4, watch=None):
    """A seed's run: a call of two steps per epoch; its result is the final state and the sum."""

    def run(member):
        compiled = member.shared(program, lambda: member.compiled(steps))
        inputs = jax.random.normal(jax.random.key(100 + seed), (width, width))
        state = member.place(jnp.full(width, float(seed)))
        for epoch in range(first_epoch, epochs):
            draws = EpochDraws(jnp.zeros((2, 1), jnp.int32), None, jax.random.key(1000 * seed + epoch))
            carry = Carry(state, jnp.zeros(()), jnp.zeros(()))
            (state, sums, _), seconds = yield StepCall(program, steps, compiled, carry, inputs, draws, Span(0, 0, 2))
            if watch is not None:
                watch(epoch, seconds)
        return np.asarray(state), float(sums)

    return run


def together(*members, seeds_per_call=0):
    return Team(jax.local_devices()[:1], seeds_per_call).run(members)


def alone(seed, **settings):
    return together(training(seed, **settings))[0].result


def test_seeds_that_take_turns_are_bit_for_bit_the_same_as_alone():
    for seed, outcome in enumerate(together(*map(training, range(3)))):
        np.testing.assert_array_equal(outcome.result[0], alone(seed)[0])
        assert outcome.result[1] == alone(seed)[1]


@pytest.mark.parametrize("seeds_per_call", [2, 3, 5])
def test_vectorised_seeds_are_the_same_as_alone_up_to_rounding(seeds_per_call):
    outcomes = together(*map(training, range(5)), seeds_per_call=seeds_per_call)
    for seed, outcome in enumerate(outcomes):
        np.testing.assert_allclose(outcome.result[0], alone(seed)[0], rtol=1e-5, atol=1e-6)


def test_seeds_at_different_epochs_train_together_until_the_last_is_finished():
    further = training(1, first_epoch=2, epochs=4)
    outcomes = together(training(0, epochs=4), further, seeds_per_call=2)
    np.testing.assert_allclose(outcomes[0].result[0], alone(0, epochs=4)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outcomes[1].result[0], alone(1, first_epoch=2, epochs=4)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("other", [{"program": "other"}, {"width": 6}])
def test_seeds_of_another_stage_or_with_other_shapes_run_separately(other):
    outcomes = together(training(0), training(1, **other), training(2), seeds_per_call=3)
    np.testing.assert_allclose(outcomes[1].result[0], alone(1, **other)[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(outcomes[2].result[0], alone(2)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("seeds_per_call", [1, 2])
def test_all_seeds_get_the_same_seconds_so_that_they_stay_in_step(seeds_per_call):
    durations = {seed: [] for seed in range(3)}

    def watching(seed):
        return training(seed, watch=lambda _, seconds: durations[seed].append(seconds))

    together(*map(watching, durations), seeds_per_call=seeds_per_call)
    assert durations[0] == durations[1] == durations[2]
    assert len(set(durations[0])) == 3 and min(durations[0]) > 0


def test_the_others_continue_when_a_seed_fails():
    def fails(epoch, _):
        if epoch == 1:
            raise ValueError("numbers gone bad")

    outcomes = together(training(0), training(1, watch=fails), training(2), seeds_per_call=3)
    assert isinstance(outcomes[1].error, ValueError) and outcomes[1].result is None
    for seed in (0, 2):
        assert outcomes[seed].error is None
        np.testing.assert_allclose(outcomes[seed].result[0], alone(seed)[0], rtol=1e-5, atol=1e-6)


def test_every_seed_that_failed_is_named_and_the_first_error_is_raised(capsys):
    errors = [None, NonFiniteError("classifier", 3, 21, ["loss"]), StorageError("x: cannot be written")]
    outcomes = [MemberOutcome(error=error) for error in (*errors, Stopped(signal.SIGTERM))]
    with pytest.raises(NonFiniteError):
        raise_first_error(outcomes, [f"seed {number}" for number in range(4)])
    assert capsys.readouterr().err.splitlines() == [
        "seed 1 failed: classifier: not finite in epoch 3, step 21: loss",
        "seed 2 failed: x: cannot be written",
    ]


def test_steps_that_cannot_be_executed_fail_only_the_runs_that_need_them():
    closed = []

    def wrong(member):
        carry, draws = Carry(jnp.zeros(3), jnp.zeros(()), None), EpochDraws(jnp.zeros((2, 1)), None, None)
        try:
            yield StepCall("wrong", steps, member.compiled(steps), carry, jnp.zeros((2, 2)), draws, Span(0, 0, 1))
        finally:
            closed.append(True)

    outcomes = together(training(0), wrong)
    assert isinstance(outcomes[1].error, TypeError) and closed
    np.testing.assert_array_equal(outcomes[0].result[0], alone(0)[0])


def test_inputs_are_placed_once_for_all_calls_of_a_stage():
    placed = []

    class Counting(Stacked):
        def _placed(self, trees):
            placed.append(trees)
            return super()._placed(trees)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(team, "Stacked", Counting)
        together(*map(training, range(3)), seeds_per_call=3)
    of_inputs = [trees for trees in placed if getattr(trees[0], "shape", None) == (4, 4)]
    assert len(of_inputs) == 1 and len(placed) == 1 + 2 * 3  # carries and draws of three epochs


def test_an_interrupt_ends_all_seeds_at_their_next_step():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background processes with SIGINT ignored
    epochs = []

    def interrupts(epoch, _):
        epochs.append(epoch)
        if len(epochs) == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        together(*(training(seed, epochs=100_000, watch=interrupts) for seed in range(2)))
    assert len(epochs) < 10_000


@pytest.mark.parametrize("error", [RuntimeError("no room"), KeyboardInterrupt()])
def test_a_run_that_cannot_start_fails_alone_but_an_interrupt_ends_all(error):
    closed = []

    def fails(member):
        raise error
        yield

    def watched(member):
        try:
            return (yield from training(0)(member))
        finally:
            closed.append(True)

    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            together(watched, fails)
    else:
        outcomes = together(watched, fails)
        assert outcomes[1].error is error
        np.testing.assert_array_equal(outcomes[0].result[0], alone(0)[0])
    assert closed == [True]
