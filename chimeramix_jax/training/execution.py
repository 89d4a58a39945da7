"""Where a stage's compiled steps run: on one device, or with every batch spread over several."""

import sys
import time
from collections.abc import Callable
from typing import Any, Protocol, Self, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from chimeramix_jax.errors import InputError
from chimeramix_jax.reporting.progress import StageProgress

Outcome = TypeVar("Outcome")

# Steps in one call: (state, sums, fault, inputs, order, epoch key, *which steps) -> (state, sums, fault). The last
# arguments are whole numbers. The memory of the first three may be used for their new values.
Steps = Callable[..., tuple[PyTree, PyTree, PyTree]]
CARRIED = 3  # arguments that come back with new values

# Compiled steps: called with the same arguments, they give the new values, and the seconds that it took to have them.
TimedSteps = Callable[..., tuple[tuple[PyTree, PyTree, PyTree], float]]


class Progress(Protocol):
    """What the training loop uses of a ``StageProgress``."""

    def update(self, step: int, **metrics: Any) -> None:
        """Shows that ``step`` steps of the stage are done, and the newest metrics."""

    def __enter__(self) -> Self:
        """Returns this display."""

    def __exit__(self, *_: Any) -> None:
        """Ends the display."""


class Execution(Protocol):
    """How the training loop has its steps run, and shows how far they are."""

    def place(self, tree: PyTree) -> PyTree:
        """Arrays where the steps want them."""

    def compiled(self, steps: Steps, *, program: Any) -> TimedSteps:
        """The same, compiled and timed; ``program`` is equal where two stages' steps differ in arguments alone."""

    def progress(self, title: str, total_steps: int, first_step: int) -> Progress:
        """The display of a stage's progress."""


def timed(call: Callable[..., Outcome]) -> Callable[..., tuple[Outcome, float]]:
    """The same call, which waits until its arrays are there and tells how many seconds that took."""

    def call_and_wait(*arguments: Any) -> tuple[Outcome, float]:
        started_at = time.monotonic()
        outcome = jax.block_until_ready(call(*arguments))
        return outcome, time.monotonic() - started_at

    return call_and_wait


def available_devices(asked: int) -> list[jax.Device]:
    """The devices of this process that ``config.devices`` asks for (0: all).

    Raises:
        InputError: there are fewer.
    """
    devices = jax.local_devices()
    if asked > len(devices):
        raise InputError(
            f"devices: {asked} asked, but JAX finds {len(devices)} here; it must be 0 (all) or at most that"
        )
    return devices[: asked or len(devices)]


class OneDevice:
    """Everything on JAX's default device."""

    def place(self, tree: PyTree) -> PyTree:
        """The arrays, bound to the device that they are on anyway, as restored ones are.

        For JAX these are two kinds, and it would compile for each.
        """
        return jax.device_put(tree, jax.local_devices()[0])

    def compiled(self, steps: Steps, *, program: Any = None) -> TimedSteps:
        """The steps under ``jax.jit``."""
        del program
        return timed(jax.jit(steps, donate_argnums=range(CARRIED)))

    def progress(self, title: str, total_steps: int, first_step: int) -> Progress:
        """A display of its own."""
        return StageProgress(title, total_steps, first_step)


class SplitBatch(OneDevice):
    """Every batch spread over several devices, the state on each of them.

    Only the order of the images is told to be spread; XLA carries that on to all that is computed from it, and adds up
    over the devices where a mean is taken. So batch norm and the losses see the whole batch, and the result is that of
    one device but for the rounding of sums taken in another order.
    """

    def __init__(self, devices: list[jax.Device]):
        """Spreads over these devices; the batch must be a multiple of their number."""
        mesh = Mesh(np.array(devices), ("batch",))
        self._everywhere = NamedSharding(mesh, PartitionSpec())
        self._spread = NamedSharding(mesh, PartitionSpec(None, "batch"))

    def place(self, tree: PyTree) -> PyTree:
        """A copy of every array on every device."""
        return jax.device_put(tree, self._everywhere)

    def compiled(self, steps: Steps, *, program: Any = None) -> TimedSteps:
        """The steps under ``jax.jit``, for all devices together."""
        del program

        def spread(state, sums, fault, inputs, order, *others):
            order = jax.lax.with_sharding_constraint(order, self._spread)
            return steps(state, sums, fault, inputs, order, *others)

        return timed(jax.jit(spread, donate_argnums=range(CARRIED), out_shardings=self._everywhere))


def for_one_run(batch_size: int, devices: int, title: str) -> Execution:
    """How the steps of a single run are executed: the batch spread over the devices, if it can be cut into equal parts.

    Args:
        batch_size: images of a step.
        devices: ``config.devices``.
        title: what the stage is called.
    """
    chosen = available_devices(devices)
    if len(chosen) == 1:
        return OneDevice()
    if batch_size % len(chosen):
        print(f"{title}: on one of {len(chosen)} devices, as its batch of {batch_size} is no multiple", file=sys.stderr)
        return OneDevice()
    print(f"{title}: its batch of {batch_size} is spread over {len(chosen)} devices", file=sys.stderr)
    return SplitBatch(chosen)
