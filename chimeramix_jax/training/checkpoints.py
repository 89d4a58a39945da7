"""Checkpoints of a stage: written in the background with Orbax, a few newest kept, readable without the run's config.

A checkpoint holds one Orbax item per entry of the training state (``generator``, ``discriminator``, ...; so that a part
can be restored alone), one called ``about``: a JSON object with the position in training and all that is needed to
use the networks later (settings, class names, split), and a list of its files' digests. It is written under another
name and takes its own, the number of training steps done, when it is complete.
"""

import contextlib
import os
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from chimeramix_jax import files
from chimeramix_jax.errors import InputError, StorageError
from chimeramix_jax.stored_format import marked, unmarked
from chimeramix_jax.training import checkpoint_manifest
from chimeramix_jax.training.calls import State

ABOUT = "about"
_UNFINISHED = ".part"  # in the names of what is being written, or being deleted; Orbax adds an ending of its own
_DAMAGED = ".damaged"
_REPLACED = ".replaced"  # an older checkpoint of the same step, while it is not sure that the new one has its name
_ODD = frozenset("[]*?\\")

_orbax = threading.Lock()  # Orbax is not made for several threads, and every open stage has one that writes


class DamagedCheckpointWarning(UserWarning):
    """A checkpoint is not as it was written, and an older one is used."""


class StageCheckpoints:
    """The checkpoints under one directory, numbered by the training steps done. Use it in a ``with`` statement."""

    def __init__(self, directory: Path, keep: int | None = None, *, read_only: bool = False):
        """Opens the directory, creating it unless ``read_only``; the ``keep`` newest checkpoints stay (None: all).

        A directory that is not opened ``read_only`` must be this process's alone.
        """
        self._directory, self._keep = directory.absolute(), keep
        self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler())
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        if not read_only:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._clear_away()
            with _plainly_named(self._directory):  # before there is something to lose
                pass

    def save(self, step: int, state: State, about: dict[str, Any]) -> None:
        """Starts writing a checkpoint; it becomes visible when it is complete.

        The state is copied first, so the caller may donate its buffers at once.

        Raises:
            StorageError: the checkpoint before could not be written.
        """
        self.wait()
        self._writing = self._writer.submit(self._write, step, jax.tree.map(jnp.copy, state), marked(about))

    def wait(self) -> None:
        """Waits until what is being written is complete.

        Raises:
            StorageError: it cannot be written; the checkpoints before are as they were.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def latest_step(self) -> int | None:
        """The number of the newest intact checkpoint; None where none was ever complete.

        Warns:
            DamagedCheckpointWarning: newer ones are damaged.

        Raises:
            InputError: all are.
        """
        damages: dict[int, str] = {}
        for step in sorted(self._steps(), reverse=True):
            damage = checkpoint_manifest.damage(self._existing(step))
            if damage is None:
                for worse, reason in damages.items():
                    message = f"{self._path(worse)}: {reason}; going back to {self._path(step)}"
                    warnings.warn(message, DamagedCheckpointWarning, stacklevel=2)
                return step
            damages[step] = damage
        if damages:
            found = "; ".join(f"{step}: {reason}" for step, reason in damages.items())
            raise InputError(
                f"{self._directory}: holds no intact checkpoint ({found}); bring an intact one back, or move this "
                "folder away to begin anew"
            )
        return None

    def set_aside_after(self, step: int) -> None:
        """Renames the damaged checkpoints after the intact one at ``step``, which training now takes its way from."""
        for newer in filter(lambda other: other > step, self._steps()):
            target = self._directory / f"{newer}{_DAMAGED}"
            shutil.rmtree(target, ignore_errors=True)
            self._path(newer).rename(target)

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
        wanted = ocp.args.Composite(**items, **{ABOUT: ocp.args.JsonRestore()})
        with _orbax, _plainly_named(self._directory) as directory:
            restored = self._checkpointer.restore(directory / self._existing(step).name, args=wanted)
        return {name: restored[name] for name in items}, unmarked(restored[ABOUT], self._path(step))

    def about(self, step: int) -> dict[str, Any]:
        """Reads only what a checkpoint says of itself."""
        return self.restore(step, {})[1]

    def __enter__(self) -> "StageCheckpoints":
        """Returns these checkpoints."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Waits until what is being written is complete."""
        self._writer.shutdown()
        if kind is None or not issubclass(kind, StorageError):  # one full disk, one error
            self.wait()
        with _orbax:
            self._checkpointer.close()

    def _write(self, step: int, state: State, about: dict[str, Any]) -> None:
        """Writes a checkpoint, and deletes those that are no longer kept."""
        unfinished = self._directory / f"{step}{_UNFINISHED}"
        items = {name: ocp.args.StandardSave(part) for name, part in state.items()}
        try:
            wanted = ocp.args.Composite(**items, **{ABOUT: ocp.args.JsonSave(about)})
            with _orbax, _plainly_named(self._directory) as directory:
                self._checkpointer.save(directory / unfinished.name, args=wanted)
            checkpoint_manifest.seal(unfinished)
            if self._path(step).exists():  # of the same step, but before its epoch's evaluation
                os.rename(self._path(step), self._path(step, _REPLACED))
            os.rename(unfinished, self._path(step))
            shutil.rmtree(self._path(step, _REPLACED), ignore_errors=True)
        except Exception as error:  # a full disk has many faces here: those of Orbax, TensorStore and Python
            self._clear_away()
            if files.reason_of_storage(error) is None:
                raise
            needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
            raise files.storage_error(self._path(step), needed, error) from error
        for old in sorted(self._steps())[: -self._keep] if self._keep else []:
            self._delete(old)

    def _clear_away(self) -> None:
        """Removes what was not written, or not deleted, to its end, as far as nothing writes there any more.

        A checkpoint whose successor did not get its name has it again.
        """
        for replaced in self._directory.glob(f"*{_REPLACED}"):
            if self._directory.joinpath(replaced.stem).exists():
                shutil.rmtree(replaced, ignore_errors=True)
            else:
                replaced.rename(replaced.with_suffix(""))
        for unfinished in self._directory.glob(f"*{_UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)

    def _delete(self, step: int) -> None:
        """Takes a checkpoint its name at once, so that no half of it is left under that, and then deletes it."""
        going = self._directory / f"{step}.old{_UNFINISHED}"
        os.rename(self._path(step), going)
        shutil.rmtree(going)

    def _steps(self) -> list[int]:
        names = {path.name.removesuffix(_REPLACED) for path in self._directory.iterdir()}
        return [int(name) for name in names if name.isdigit()]

    def _path(self, step: int, ending: str = "") -> Path:
        return self._directory / f"{step}{ending}"

    def _existing(self, step: int) -> Path:
        """Where a checkpoint is, for readers too, who may come while one is replaced, or after that was cut off."""
        replaced = self._path(step, _REPLACED)
        return replaced if replaced.exists() and not self._path(step).exists() else self._path(step)


def is_finished(directory: Path, epochs: int) -> bool:
    """Whether the stage in this directory has been trained to its last epoch."""
    about = newest(directory)
    return about is not None and about["epoch"] >= epochs


def require_finished(directory: Path, stage: str, epochs: int) -> None:
    """Requires that a stage, "generator" or "classifier", has been trained to its last epoch.

    Raises:
        InputError: it has not.
    """
    if not is_finished(directory, epochs):
        raise InputError(f"{directory}: holds no finished {stage}; train it first with --stage={stage}")


def newest(directory: Path) -> dict[str, Any] | None:
    """Returns the ``about`` of a stage's newest intact checkpoint; None if there is none."""
    if not (directory / "checkpoints").is_dir():
        return None
    with StageCheckpoints(directory / "checkpoints", read_only=True) as checkpoints:
        step = checkpoints.latest_step()
        return None if step is None else checkpoints.about(step)


@contextlib.contextmanager
def _plainly_named(directory: Path) -> Iterator[Path]:
    """The directory by a path that means the same to everyone, inside the ``with`` statement.

    Orbax takes brackets, stars and question marks for patterns, and TensorStore backslashes for slashes: what is
    written under such a path could not be read. A link elsewhere leads around that.

    Raises:
        InputError: there is no other place for the link.
    """
    if not _ODD.intersection(str(directory)):
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="chimeramix-") as folder:
        if _ODD.intersection(folder):
            raise InputError(f"TMPDIR: {folder!r}, but it must not have one of {' '.join(sorted(_ODD))} in it")
        link = Path(folder) / "checkpoints"
        link.symlink_to(directory, target_is_directory=True)
        yield link
