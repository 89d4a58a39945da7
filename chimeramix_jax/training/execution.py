"""Decides where a run's compiled steps are executed: on one device, or with every batch spread over several."""

import sys
from collections.abc import Callable, Hashable
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.progress import StageProgress
from chimeramix_jax.training.calls import Carry, EpochDraws, Span, Steps

Made = TypeVar("Made")


@runtime_checkable
class ProgressDisplay(Protocol):
    """The part of ``StageProgress`` that the training loop uses."""

    def update(self, step: int, **metrics: Any) -> None:
        """Shows that ``step`` steps of the stage are completed, along with the newest metrics."""

    def __enter__(self) -> "ProgressDisplay":
        """Returns this display."""

    def __exit__(self, *_: Any) -> None:
        """Ends the display."""


@runtime_checkable
class Execution(Protocol):
    """Where a run keeps its arrays, how its steps are compiled, and how its progress is shown."""

    def place(self, tree: PyTree) -> PyTree:
        """Returns the arrays where the steps need them."""

    def shared(self, program: Hashable, make: Callable[[], Made]) -> Made:
        """Returns what was made for the first stage with this program, or makes it.

        ``program`` is equal for stages whose steps differ only in their arguments.
        """

    def compiled(self, steps: Steps) -> Steps:
        """Returns the steps, compiled."""

    def progress(self, title: str, total_steps: int, first_step: int, work: Callable[[int], float]) -> ProgressDisplay:
        """Returns a display of a stage's progress; ``work`` returns how much work a number of steps is."""


def available_devices(requested: int) -> list[jax.Device]:
    """Returns as many of this process's devices as ``config.devices`` requests (0: all).

    Raises:
        InputError: there are fewer devices.
    """
    devices = jax.local_devices()
    if requested > len(devices):
        raise InputError(
            f"devices: {requested} requested, but JAX finds {len(devices)} here; it must be 0 (all) or at most that"
        )
    return devices[: requested or len(devices)]


class OneDevice:
    """Executes everything on JAX's default device."""

    def __init__(self, programs: dict[Hashable, Any] | None = None):
        """Keeps what stages share by their program, in this dictionary if one is given, for others to share, too."""
        self._programs = {} if programs is None else programs

    def place(self, tree: PyTree) -> PyTree:
        """Commits the arrays to the device that they are on anyway.

        Restored arrays are committed. JAX would compile the steps twice, for committed and for uncommitted arrays.
        """
        return jax.device_put(tree, jax.local_devices()[0])

    def shared(self, program: Hashable, make: Callable[[], Made]) -> Made:
        """Returns what was made for the first stage with this program, or makes it."""
        if program not in self._programs:
            self._programs[program] = make()
        return self._programs[program]

    def compiled(self, steps: Steps) -> Steps:
        """Returns the steps under ``jax.jit``; the carry is donated."""
        return jax.jit(steps, donate_argnums=0)

    def progress(self, title: str, total_steps: int, first_step: int, work: Callable[[int], float]) -> ProgressDisplay:
        """Returns a progress bar for the stage alone."""
        return StageProgress(title, total_steps, first_step, work=work, beforehand="compiling")


class SplitBatch(OneDevice):
    """Spreads every batch over several devices, with a copy of the state on each.

    Only the order of the images is declared to be sharded. XLA propagates that to everything computed from it and
    reduces means over all devices. So batch norm and the losses see the whole batch, and the result is that of one
    device except for rounding, since sums are taken in another order.
    """

    def __init__(self, devices: list[jax.Device]):
        """Spreads batches over these devices; the batch size must be a multiple of their number."""
        super().__init__()
        mesh = Mesh(np.array(devices), ("batch",))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._spread = NamedSharding(mesh, PartitionSpec(None, "batch"))

    def place(self, tree: PyTree) -> PyTree:
        """Copies every array to every device."""
        return jax.device_put(tree, self._everywhere)

    def compiled(self, steps: Steps) -> Steps:
        """Returns the steps under ``jax.jit``, sharded over all devices; the carry is donated."""

        def spread(carry: Carry, inputs: PyTree, draws: EpochDraws, span: Span) -> Carry:
            order = jax.lax.with_sharding_constraint(draws.order, self._spread)
            return steps(carry, inputs, draws._replace(order=order), span)

        return jax.jit(spread, donate_argnums=0, out_shardings=self._everywhere)


def for_one_run(batch_size: int, devices: int, title: str) -> Execution:
    """Chooses how a single run's steps are executed: spread over the devices, if they divide the batch evenly.

    Args:
        batch_size: images per step.
        devices: ``config.devices``.
        title: the stage, for messages.
    """
    chosen = available_devices(devices)
    if len(chosen) == 1:
        return OneDevice()
    if batch_size % len(chosen):
        print(
            f"{title}: uses one of {len(chosen)} devices, because a batch of {batch_size} does not divide evenly",
            file=sys.stderr,
        )
        return OneDevice()
    print(f"{title}: each batch of {batch_size} is spread over {len(chosen)} devices", file=sys.stderr)
    return SplitBatch(chosen)
