"""Where a run's compiled steps are executed: on one device, or with every batch spread over several."""

import sys
from collections.abc import Hashable
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.progress import StageProgress
from chimeramix_jax.training.calls import Carry, EpochDraws, Span, Steps


@runtime_checkable
class ProgressDisplay(Protocol):
    """The part of a ``StageProgress`` that the training loop uses."""

    def update(self, step: int, **metrics: Any) -> None:
        """Shows that ``step`` steps of the stage are completed, and the newest metrics."""

    def __enter__(self) -> "ProgressDisplay":
        """Returns this display."""

    def __exit__(self, *_: Any) -> None:
        """Ends the display."""


@runtime_checkable
class Execution(Protocol):
    """Where a run keeps its arrays, how its steps are compiled, and how its progress is shown."""

    def place(self, tree: PyTree) -> PyTree:
        """Returns the arrays where the steps need them."""

    def compiled(self, steps: Steps, program: Hashable) -> Steps:
        """Returns the steps, compiled; ``program`` is equal where two stages' steps differ in their arguments only."""

    def progress(self, title: str, total_steps: int, first_step: int) -> ProgressDisplay:
        """Returns a display of a stage's progress."""


def available_devices(requested: int) -> list[jax.Device]:
    """Returns the devices of this process that ``config.devices`` asks for (0: all).

    Raises:
        InputError: there are fewer.
    """
    devices = jax.local_devices()
    if requested > len(devices):
        raise InputError(
            f"devices: {requested} requested, but JAX finds {len(devices)} here; it must be 0 (all) or at most that"
        )
    return devices[: requested or len(devices)]


class OneDevice:
    """Everything on JAX's default device."""

    def place(self, tree: PyTree) -> PyTree:
        """Binds the arrays to the device that they are on anyway, as restored ones are.

        JAX distinguishes bound from unbound arrays, and would compile the steps for each kind.
        """
        return jax.device_put(tree, jax.local_devices()[0])

    def compiled(self, steps: Steps, program: Hashable = None) -> Steps:
        """Returns the steps under ``jax.jit``; the carry's memory is used for the new one."""
        del program
        return jax.jit(steps, donate_argnums=0)

    def progress(self, title: str, total_steps: int, first_step: int) -> ProgressDisplay:
        """Returns a display of the stage's own."""
        return StageProgress(title, total_steps, first_step)


class SplitBatch(OneDevice):
    """Every batch spread over several devices, with a copy of the state on each.

    Only the order of the images is declared to be spread; XLA propagates that to everything computed from it, and adds
    up over the devices where a mean is taken. So batch norm and the losses see the whole batch, and the result is that
    of one device except for the rounding of sums taken in another order.
    """

    def __init__(self, devices: list[jax.Device]):
        """Spreads over these devices; the batch size must be a multiple of their number."""
        mesh = Mesh(np.array(devices), ("batch",))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._spread = NamedSharding(mesh, PartitionSpec(None, "batch"))

    def place(self, tree: PyTree) -> PyTree:
        """Copies every array to every device."""
        return jax.device_put(tree, self._everywhere)

    def compiled(self, steps: Steps, program: Hashable = None) -> Steps:
        """Returns the steps under ``jax.jit``, for all devices together."""
        del program

        def spread(carry: Carry, inputs: PyTree, draws: EpochDraws, span: Span) -> Carry:
            order = jax.lax.with_sharding_constraint(draws.order, self._spread)
            return steps(carry, inputs, draws._replace(order=order), span)

        return jax.jit(spread, donate_argnums=0, out_shardings=self._everywhere)


def for_one_run(batch_size: int, devices: int, title: str) -> Execution:
    """Chooses how a single run's steps are executed: its batch spread over the devices, if it divides evenly.

    Args:
        batch_size: images of a step.
        devices: ``config.devices``.
        title: the stage, for messages.
    """
    chosen = available_devices(devices)
    if len(chosen) == 1:
        return OneDevice()
    if batch_size % len(chosen):
        print(
            f"{title}: uses one of {len(chosen)} devices, because they do not divide its batch of {batch_size}",
            file=sys.stderr,
        )
        return OneDevice()
    print(f"{title}: its batch of {batch_size} is spread over {len(chosen)} devices", file=sys.stderr)
    return SplitBatch(chosen)
