"""Schedules of the learning rate, as values that compiled steps take as arguments.

If a schedule were part of a compiled step, every other number of epochs and every other learning rate would have to be
compiled anew. Each class holds arrays and is called with a step, counted from 0, as ``optax`` expects of a schedule.
Schedules of several seeds may be stacked, as long as they are not called.

Compiled for a CPU, the rates equal those of the schedules in ``optax`` that the docstrings name, bit for bit, as XLA
computes those from constants. Only drops at the same step may be rounded otherwise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeGuard

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Num

from chimeramix_jax.training.calls import State

_PI = np.float32(np.pi)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Cosine:
    """A learning rate that falls to 0 along half a period of a cosine, like ``optax.cosine_decay_schedule``.

    Attributes:
        learning_rate: at the first step.
        total_steps: the number of steps after which it is 0.
        angle_per_step: pi / ``total_steps``.
    """

    learning_rate: Float[Array, "*seeds"]
    total_steps: Float[Array, "*seeds"]
    angle_per_step: Float[Array, "*seeds"]

    @classmethod
    def over(cls, learning_rate: float, total_steps: int) -> "Cosine":
        """Returns the schedule that ends after this many steps, at least 1."""
        inverse = np.float32(1) / np.float32(total_steps)  # as XLA divides by a constant
        return cls(_value(learning_rate), _value(total_steps), _value(_PI * inverse))

    def __call__(self, step: int | Num[Array, ""]) -> Float[Array, ""]:
        """Returns the learning rate at a step."""
        angle = jnp.minimum(step, self.total_steps) * self.angle_per_step
        return self.learning_rate * (0.5 * (1 + jnp.cos(angle)))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class WarmCosine:
    """A learning rate that rises evenly and then falls to 0, like ``optax.warmup_cosine_decay_schedule``.

    Attributes:
        first_difference: from the highest rate to that of the first step.
        rising_steps: the number of steps in which it rises.
        rise_per_step: 1 / ``rising_steps``.
        cosine: the fall, which begins after the rise.
    """

    first_difference: Float[Array, "*seeds"]
    rising_steps: Float[Array, "*seeds"]
    rise_per_step: Float[Array, "*seeds"]
    cosine: Cosine

    @classmethod
    def over(cls, learning_rate: float, total_steps: int, warm_up: float) -> "WarmCosine":
        """Returns the schedule of a stage.

        Args:
            learning_rate: the highest rate.
            total_steps: of the stage, the rise included.
            warm_up: share of the steps in which the rate rises; at least one step does.
        """
        rising = max(round(warm_up * total_steps), 1)
        inverse = np.float32(1) / np.float32(rising)
        cosine = Cosine.over(learning_rate, max(total_steps - rising, 1))
        difference = learning_rate / (rising + 1) - learning_rate
        return cls(_value(difference), _value(rising), _value(inverse), cosine)

    def __call__(self, step: int | Num[Array, ""]) -> Float[Array, ""]:
        """Returns the learning rate at a step."""
        left = 1 - jnp.minimum(step, self.rising_steps) * self.rise_per_step
        rising = self.first_difference * left + self.cosine.learning_rate
        return jnp.where(step < self.rising_steps, rising, self.cosine(step - self.rising_steps))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Drops:
    """A learning rate that is multiplied by a factor at several steps, like ``optax.piecewise_constant_schedule``.

    Attributes:
        learning_rate: before the first drop.
        steps: the drops' first steps, in rising order; equal ones are as many drops.
        factor: of each drop.
    """

    learning_rate: Float[Array, "*seeds"]
    steps: Int[Array, "*seeds drops"]
    factor: Float[Array, "*seeds"]

    @classmethod
    def at(cls, learning_rate: float, steps: Sequence[int], factor: float) -> "Drops":
        """Returns the schedule that drops at these steps."""
        return cls(_value(learning_rate), jnp.asarray(sorted(steps), jnp.int32), _value(factor))

    def __call__(self, step: int | Num[Array, ""]) -> Float[Array, ""]:
        """Returns the learning rate at a step."""
        rate = self.learning_rate
        for drop in range(len(self.steps)):
            rate = jnp.where(step >= self.steps[drop], self.factor * rate, rate)
        return rate


Schedule = Cosine | WarmCosine | Drops


def advanced(state: State, steps: int) -> State:
    """Returns a state whose learning rates have counted further steps, but whose optimizers have not.

    Adam divides by the number of gradients in its averages: if it counted steps without any, its updates would grow.
    """

    def is_schedule(node: object) -> TypeGuard[optax.ScaleByScheduleState]:
        return isinstance(node, optax.ScaleByScheduleState)

    def count_on(node: object) -> object:
        return optax.ScaleByScheduleState(count=node.count + steps) if is_schedule(node) else node

    counted: State = jax.tree.map(count_on, state, is_leaf=is_schedule)
    return counted


def _value(number: float | np.float32) -> Float[Array, ""]:
    return jnp.asarray(number, jnp.float32)
