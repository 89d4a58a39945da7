"""Noticing the first step at which a loss or a gradient is NaN or infinite, on the device, while training goes on."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

_NONE = -1

GRADIENTS = "gradients"  # what the updated state is called in messages: only they can have made it so


class Fault(NamedTuple):
    """The first step of an epoch after which some number was not finite, if there was one.

    Attributes:
        step: its number within the epoch, from 0; negative where there was none.
        bad: the losses and other metrics, and ``GRADIENTS``, of which each was finite or not at that step.
    """

    step: Int[Array, ""]
    bad: dict[str, Bool[Array, ""]]

    def found(self) -> bool:
        """Whether there was one; waits for the device."""
        return int(self.step) != _NONE

    def terms(self) -> list[str]:
        """The names of what was not finite."""
        return [name for name, bad in self.bad.items() if bad]


def no_fault(metrics: PyTree) -> Fault:
    """The state of things before the first step, for steps that measure ``metrics``."""
    return Fault(jnp.array(_NONE, jnp.int32), {name: jnp.array(False) for name in (*metrics, GRADIENTS)})


def watch(fault: Fault, step: Int[Array, ""], metrics: dict[str, Float[Array, "..."]], state: PyTree) -> Fault:
    """The first fault after one more step; as a pure function.

    Args:
        fault: what was found before.
        step: the step's number within the epoch.
        metrics: what it measured.
        state: what it made of the state: where a gradient is not finite, what it updates is not either.
    """
    numbers = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    bad = {name: ~_all_finite(value) for name, value in metrics.items()}
    bad[GRADIENTS] = ~functools.reduce(jnp.logical_and, map(_all_finite, numbers))
    first = (fault.step == _NONE) & functools.reduce(jnp.logical_or, bad.values())
    return jax.tree.map(functools.partial(jnp.where, first), Fault(jnp.asarray(step, jnp.int32), bad), fault)


def _all_finite(values: Float[Array, "..."]) -> Bool[Array, ""]:
    return jnp.all(jnp.isfinite(values))
