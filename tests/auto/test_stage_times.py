import jax
import jax.numpy as jnp
import pytest

from chimeramix_jax.auto.trials import StageTimes
from chimeramix_jax.training import finiteness
from chimeramix_jax.training.calls import Carry, EpochDraws, Span, StepCall


def call_of(program, first, end):
    """A call of steps that are never run."""
    draws = EpochDraws(jnp.zeros((10, 4), jnp.int32), None, jax.random.key(0))
    carry = Carry({}, {}, finiteness.no_fault({}))
    return StepCall(program, lambda *_: carry, lambda *_: carry, carry, {}, draws, Span(0, first, end))


def test_what_compiling_took_at_every_side_does_not_count_as_the_time_of_steps():
    times, now = StageTimes(), 100.0
    # Two sides, the larger of which takes four times as long; the first call at each also compiles for 20 s.
    for program, first, end, seconds in (
        ("16 px", 0, 1, 20.5), ("16 px", 1, 3, 1.0), ("16 px", 3, 6, 1.5),
        ("32 px", 6, 7, 22.0), ("32 px", 7, 9, 4.0), ("32 px", 9, 10, 2.0),
    ):  # fmt: skip
        now += seconds
        times.add(call_of(program, first, end), seconds, now)
    assert times.seconds == pytest.approx(6 * 0.5 + 4 * 2.0)
    assert times.seconds_per_epoch == pytest.approx(11.0)


def test_what_starting_the_programs_took_is_told_apart_from_what_is_kept_for_other_runs():
    times = StageTimes()
    times.add(call_of("16 px", 0, 1), 20.5, 20.5, kept=12.0)
    times.add(call_of("16 px", 1, 3), 1.0, 21.5)
    times.add(call_of("32 px", 3, 4), 5.0, 26.5, kept=5.5)  # a single call: nobody knows what its step took
    assert times.starting_seconds == pytest.approx(20.5 - 12.0 - 0.5)


def test_what_is_between_the_calls_counts():
    times = StageTimes()
    times.add(call_of("a", 0, 1), 5.0, 10.0)
    times.add(call_of("a", 1, 5), 2.0, 18.0)  # 6 s for something else, such as writing a checkpoint
    assert times.seconds == pytest.approx(5 * 2.0)
    assert (StageTimes().seconds, StageTimes().seconds_per_epoch) == (0, 0)
