"""Detects on the device the first step at which a loss or a gradient is NaN or infinite."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from chimeramix_jax.training.averaging import AVERAGE

_NONE = -1

GRADIENTS = "gradients"  # stands for the updated state in messages: only gradients can have made it non-finite


class Fault(NamedTuple):
    """The first step of an epoch with a non-finite number, if there was one.

    Attributes:
        step: its number within the epoch, from 0; negative if all steps were finite.
        bad: for every metric, and for ``GRADIENTS``, whether it was non-finite at that step.
    """

    step: Int[Array, ""]
    bad: dict[str, Bool[Array, ""]]

    def found(self) -> bool:
        """Returns whether there was such a step; waits for the device."""
        return int(self.step) != _NONE

    def terms(self) -> list[str]:
        """Returns the names of the metrics that were non-finite, ``GRADIENTS`` included."""
        return [name for name, bad in self.bad.items() if bad]


def no_fault(metrics: PyTree) -> Fault:
    """Returns the value before the first step, for steps that return these ``metrics``."""
    return Fault(jnp.array(_NONE, jnp.int32), {name: jnp.array(False) for name in (*metrics, GRADIENTS)})


def watch(
    fault: Fault, step: Int[Array, ""], metrics: dict[str, Float[Array, "..."]], state: dict[str, PyTree]
) -> Fault:
    """Returns the first fault after one more step, as a pure function.

    The moving average of a classifier's weights is finite as long as they are. It is left out, because looking at so
    many numbers takes a noticeable part of a small step on CPU.

    Args:
        fault: the first fault of the earlier steps.
        step: the step's number within the epoch.
        metrics: the step's metrics.
        state: the state after the step. A gradient that is not finite makes the parameters that it updates non-finite.
    """
    watched = {name: part for name, part in state.items() if name != AVERAGE}
    numbers = [leaf for leaf in jax.tree.leaves(watched) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    bad = {name: ~_all_finite(value) for name, value in metrics.items()}
    bad[GRADIENTS] = ~functools.reduce(jnp.logical_and, map(_all_finite, numbers))
    first = (fault.step == _NONE) & functools.reduce(jnp.logical_or, bad.values())
    return jax.tree.map(functools.partial(jnp.where, first), Fault(jnp.asarray(step, jnp.int32), bad), fault)


def _all_finite(values: Float[Array, "..."]) -> Bool[Array, ""]:
    return jnp.all(jnp.isfinite(values))
