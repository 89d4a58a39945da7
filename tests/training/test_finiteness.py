"""The first step with a number that is not finite, in arrays of any size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chimeramix_jax.training import finiteness

SHAPES = [(), (3,), (3, 3, 64, 64), (3, 3, 16, 64), (1, 1, 100, 64), (7, 1000), (8191,)]


def bad_after_a_step(state):
    """Whether a step that ends with this state is a fault, in a compiled program as in training."""
    fault = jax.jit(lambda state: finiteness.watch(finiteness.no_fault({}), jnp.int32(5), {}, state))(state)
    assert fault.found() == bool(fault.bad[finiteness.GRADIENTS]) and int(fault.step) == (5 if fault.found() else -1)
    return fault.found()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_single_number_that_is_not_finite_is_found_anywhere(shape):
    random = np.random.default_rng(0)
    values = random.standard_normal(shape, np.float32)
    assert not bad_after_a_step({"fine": jnp.ones(9000), "array": jnp.asarray(values)})
    for number in (np.nan, np.inf, -np.inf):
        changed = values.copy()
        changed.flat[random.integers(changed.size)] = number
        assert bad_after_a_step({"fine": jnp.ones(9000), "array": jnp.asarray(changed)})


def test_infinities_of_both_signs_do_not_cancel_and_large_numbers_are_no_fault():
    values = np.full((64, 1024), 1e34, np.float32)
    assert not bad_after_a_step({"array": jnp.asarray(values)})
    values[3, :2] = np.inf, -np.inf
    assert bad_after_a_step({"array": jnp.asarray(values)})


def test_whole_numbers_and_keys_are_no_fault():
    assert not bad_after_a_step({"count": jnp.int32(3), "array": jnp.zeros(4)})


def test_a_moving_average_is_not_looked_at_as_it_follows_what_is():
    assert not bad_after_a_step({"parameters": jnp.zeros(4), "average": jnp.full(4, jnp.inf)})
