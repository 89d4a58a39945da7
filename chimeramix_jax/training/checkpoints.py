"""Checkpoints of a stage: written in the background with Orbax, a few newest kept, readable without the run's config.

A checkpoint holds one Orbax item per entry of the training state (``generator``, ``discriminator``, ...; so that a part
can be restored alone) and one called ``about``: a JSON object with the position in training and all that is needed to
use the networks later (settings, class names, split).
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from jaxtyping import PyTree

State = dict[str, PyTree]

ABOUT = "about"


class StageCheckpoints:
    """The checkpoints under one directory, numbered by the training steps done. Use it in a ``with`` statement."""

    def __init__(self, directory: Path, keep: int | None = None, *, read_only: bool = False):
        """Opens the directory, creating it unless ``read_only``; the ``keep`` newest checkpoints stay (None: all)."""
        if not read_only:
            directory.mkdir(parents=True, exist_ok=True)
        # Of several processes each keeps the checkpoints of its own runs, and waits for no other.
        own = ocp.options.MultiprocessingOptions(jax.process_index(), {jax.process_index()}, str(jax.process_index()))
        options = ocp.CheckpointManagerOptions(
            max_to_keep=keep,
            enable_async_checkpointing=True,
            read_only=read_only,
            create=False,  # which Orbax refuses to do for some processes only
            multiprocessing_options=own,
        )
        self._manager = ocp.CheckpointManager(directory.absolute(), options=options)

    def save(self, step: int, state: State, about: dict[str, Any]) -> None:
        """Starts writing a checkpoint; it becomes visible when it is complete.

        The state is copied first, so the caller may donate its buffers at once.
        """
        # Of several processes, each with a state of its own, Orbax takes no device's arrays.
        copied = jax.tree.map(jnp.copy, state) if jax.process_count() == 1 else jax.device_get(state)
        items = {name: ocp.args.StandardSave(part) for name, part in copied.items()}
        self._manager.save(step, args=ocp.args.Composite(**items, **{ABOUT: ocp.args.JsonSave(about)}))

    def latest_step(self) -> int | None:
        """The number of the newest complete checkpoint; None where there is none."""
        return self._manager.latest_step()

    def restore(self, step: int, abstract_state: State) -> tuple[State, dict[str, Any]]:
        """Reads a checkpoint, onto the default device.

        Args:
            step: its number.
            abstract_state: shapes and types of the entries wanted (``jax.eval_shape``); others are not read.
        """
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        targets = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract_state
        )
        items = {name: ocp.args.StandardRestore(target) for name, target in targets.items()}
        restored = self._manager.restore(step, args=ocp.args.Composite(**items, **{ABOUT: ocp.args.JsonRestore()}))
        return {name: restored[name] for name in items}, restored[ABOUT]

    def about(self, step: int) -> dict[str, Any]:
        """Reads only what a checkpoint says of itself."""
        return self.restore(step, {})[1]

    def __enter__(self) -> "StageCheckpoints":
        """Returns these checkpoints."""
        return self

    def __exit__(self, *_: object) -> None:
        """Waits until what is being written is complete."""
        self._manager.wait_until_finished()
        self._manager.close()
