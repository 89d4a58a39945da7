"""Checkpoints of a stage: written in the background with Orbax; only the newest are kept.

A checkpoint holds one Orbax item per entry of the training state (``generator``, ``discriminator``, ...), so that each
can be restored alone. Another item, ``about``, is a JSON object with the position in training and everything needed to
use the networks without the run's config: settings, class names, few-shot subset. A manifest lists the digests of all
files. A checkpoint is written under a temporary name; once complete, it is renamed to its number of training steps.
"""

import contextlib
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
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
from chimeramix_jax.paths import printable
from chimeramix_jax.reporting.stage_files import CHECKPOINTS
from chimeramix_jax.stored_format import marked, unmarked
from chimeramix_jax.training import checkpoint_manifest
from chimeramix_jax.training.calls import State

ABOUT = "about"
_UNFINISHED = ".part"  # marks what is being written or deleted; Orbax appends a suffix of its own
_DAMAGED = ".damaged"
_REPLACED = ".replaced"  # an older checkpoint of the same step, until the new one has its name
_STEP = re.compile("0|[1-9][0-9]*")  # the name of a checkpoint; there are digits of other scripts, and "007"
_SPECIAL = frozenset("[]*?\\")
_WAIT_FOR_OTHERS = 60.0  # seconds

# Otherwise the threads that write the parts would wait for ten minutes for a folder that could not be made, and the
# program with them.
_FOLDERS_FIRST = ocp.CompositeOptions(async_options=ocp.AsyncOptions(create_directories_asynchronously=False))

_orbax = threading.Lock()  # Orbax is not thread-safe, and every open stage has a writing thread


class DamagedCheckpointWarning(UserWarning):
    """Warns that a checkpoint is damaged and that an older one is used instead."""


class StageCheckpoints:
    """The checkpoints under one directory, numbered by the training steps done. Use it in a ``with`` statement."""

    def __init__(self, directory: Path, keep: int | None = None, *, read_only: bool = False):
        """Opens the directory, creating it unless ``read_only``.

        Only the ``keep`` newest checkpoints are kept; None keeps all. Unless opened ``read_only``, the directory must
        not be used by any other process.
        """
        self._directory, self._keep = directory.absolute(), keep
        self._checkpointer = ocp.Checkpointer(ocp.CompositeCheckpointHandler(composite_options=_FOLDERS_FIRST))
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None
        if not read_only:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._clean_up()
            with _plain_path(self._directory):  # fails now rather than after the first epoch
                pass

    def save(self, step: int, state: State, about: dict[str, Any]) -> None:
        """Starts writing a checkpoint, which becomes visible once it is complete.

        The state is copied first, so the caller may donate its buffers right away.

        Raises:
            StorageError: the previous checkpoint could not be written.
        """
        self.wait()
        self._writing = self._writer.submit(self._write, step, jax.tree.map(jnp.copy, state), marked(about))

    def wait(self) -> None:
        """Waits until the checkpoint being written, if any, is complete.

        Raises:
            StorageError: it cannot be written; earlier checkpoints are unchanged.
        """
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def latest_step(self) -> int | None:
        """Returns the number of the newest intact checkpoint, or None if none was ever completed.

        Warns:
            DamagedCheckpointWarning: newer checkpoints are damaged.

        Raises:
            InputError: all checkpoints are damaged.
        """
        damages: dict[int, str] = {}
        for step in sorted(self._steps(), reverse=True):
            damage = checkpoint_manifest.damage(self._existing(step))
            if damage is None:
                for damaged_step, reason in damages.items():
                    message = f"{self._path(damaged_step)}: {reason}; going back to {self._path(step)}"
                    warnings.warn(message, DamagedCheckpointWarning, stacklevel=2)
                return step
            damages[step] = damage
        if damages:
            reasons = "; ".join(f"{step}: {reason}" for step, reason in damages.items())
            raise InputError(
                f"{self._directory}: holds no intact checkpoint ({reasons}); restore one from a backup, or move this "
                "folder away to start over"
            )
        return None

    def set_aside_after(self, step: int) -> None:
        """Renames the damaged checkpoints after the intact one at ``step``, from which training resumes."""
        for newer in filter(lambda other: other > step, self._steps()):
            target = self._directory / f"{newer}{_DAMAGED}"
            shutil.rmtree(target, ignore_errors=True)
            self._path(newer).rename(target)

    def restore(self, step: int, abstract_state: State) -> tuple[State, dict[str, Any]]:
        """Reads a checkpoint to the default device.

        Args:
            step: the checkpoint's number.
            abstract_state: shapes and types of the entries to read (``jax.eval_shape``); others are skipped.

        Returns:
            The entries, and the checkpoint's ``about``.
        """
        sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        targets = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), abstract_state
        )
        items = {name: ocp.args.StandardRestore(target) for name, target in targets.items()}
        arguments = ocp.args.Composite(**items, **{ABOUT: ocp.args.JsonRestore()})
        with _orbax, _plain_path(self._directory) as directory:
            restored = self._checkpointer.restore(directory / self._existing(step).name, args=arguments)
        return {name: restored[name] for name in items}, unmarked(restored[ABOUT], self._path(step))

    def about(self, step: int) -> dict[str, Any]:
        """Reads only the ``about`` of a checkpoint."""
        return self.restore(step, {})[1]

    def __enter__(self) -> "StageCheckpoints":
        """Returns these checkpoints."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Waits until the checkpoint being written, if any, is complete."""
        self._writer.shutdown()
        if kind is None or not issubclass(kind, StorageError):  # a full disk is reported only once
            self.wait()
        with _orbax:
            self._checkpointer.close()

    def _write(self, step: int, state: State, about: dict[str, Any]) -> None:
        """Writes a checkpoint and deletes the oldest beyond ``keep``."""
        unfinished = self._directory / f"{step}{_UNFINISHED}"
        items = {name: ocp.args.StandardSave(part) for name, part in state.items()}
        try:
            arguments = ocp.args.Composite(**items, **{ABOUT: ocp.args.JsonSave(about)})
            with _orbax, _plain_path(self._directory) as directory, _all_of_it_ended():
                self._checkpointer.save(directory / unfinished.name, args=arguments)
            checkpoint_manifest.seal(unfinished)
            if self._path(step).exists():  # written at the same step, before the epoch's evaluation
                os.rename(self._path(step), self._path(step, _REPLACED))
            os.rename(unfinished, self._path(step))
            files.sync_folder(self._directory)  # before anything older is deleted
            shutil.rmtree(self._path(step, _REPLACED), ignore_errors=True)
        except Exception as error:  # Orbax, TensorStore and Python each report a full disk differently
            self._clean_up()
            if files.reason_of_storage(error) is None:
                raise
            needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
            raise files.storage_error(self._path(step), needed, error) from error
        for old in sorted(self._steps())[: -self._keep] if self._keep else []:
            self._delete(old)

    def _clean_up(self) -> None:
        """Removes checkpoints that were not completely written or deleted; nothing may be writing meanwhile.

        A replaced checkpoint gets its name back if its successor was never completed.
        """
        for replaced in self._directory.glob(f"*{_REPLACED}"):
            if self._directory.joinpath(replaced.stem).exists():
                shutil.rmtree(replaced, ignore_errors=True)
            else:
                replaced.rename(replaced.with_suffix(""))
        for unfinished in self._directory.glob(f"*{_UNFINISHED}*"):
            shutil.rmtree(unfinished, ignore_errors=True)

    def _delete(self, step: int) -> None:
        """Renames a checkpoint before deleting it, so that a half-deleted one never has a checkpoint's name.

        What cannot be deleted, as it is open on another machine, is left for the next time.
        """
        doomed = self._directory / f"{step}.{secrets.token_hex(4)}.old{_UNFINISHED}"
        with contextlib.suppress(OSError):
            os.rename(self._path(step), doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def _steps(self) -> list[int]:
        names = {path.name.removesuffix(_REPLACED) for path in self._directory.iterdir()}
        return [int(name) for name in names if _STEP.fullmatch(name)]

    def _path(self, step: int, ending: str = "") -> Path:
        return self._directory / f"{step}{ending}"

    def _existing(self, step: int) -> Path:
        """Returns where a checkpoint is, even while it is being replaced, or if its replacement was interrupted."""
        replaced = self._path(step, _REPLACED)
        return replaced if replaced.exists() and not self._path(step).exists() else self._path(step)


def is_finished(directory: Path, epochs: int) -> bool:
    """Returns whether the stage in this directory has been trained to its last epoch."""
    about = newest(directory)
    return about is not None and about["epoch"] >= epochs


def require_finished(directory: Path, stage: str, epochs: int, trained_by: Path) -> None:
    """Requires that a stage, "generator" or "classifier", has been trained to its last epoch.

    Raises InputError if it has not; ``trained_by`` is the directory of the run that trains it.
    """
    if not is_finished(directory, epochs):
        raise unfinished(directory, stage, trained_by)


def unfinished(directory: Path, stage: str, trained_by: Path) -> InputError:
    """Returns an error that says how to finish a stage, "generator" or "classifier", and in which run's directory."""
    advice = f"finish it with the command that began it, or with --workdir={trained_by} alone"
    if stage == "generator":
        advice = "train it first with --stage=generator"
    return InputError(f"{directory}: holds no finished {stage}; {advice}")


def newest(directory: Path) -> dict[str, Any] | None:
    """Returns the ``about`` of a stage's newest intact checkpoint; None if there is none."""
    if not (directory / CHECKPOINTS).is_dir():
        return None
    with StageCheckpoints(directory / CHECKPOINTS, read_only=True) as checkpoints:
        step = checkpoints.latest_step()
        return None if step is None else checkpoints.about(step)


@contextlib.contextmanager
def _all_of_it_ended() -> Iterator[None]:
    """Waits, if something in the block fails, until Orbax has stopped writing everything else.

    Orbax writes the parts of a checkpoint in threads of its own. The first part that fails ends ``save``, while others
    still write. They would complain about a folder that is gone, and would leave files behind. ``_orbax`` must be held,
    so that all of Orbax's threads belong to the block. After a minute it waits no longer, in case they wait for the
    part that failed.
    """
    try:
        yield
    except BaseException:
        end = time.monotonic() + _WAIT_FOR_OTHERS
        for thread in threading.enumerate():
            if type(thread).__module__.startswith("orbax.") and not thread.daemon:
                threading.Thread.join(thread, max(0.0, end - time.monotonic()))  # Orbax's own would raise their errors
        raise


@contextlib.contextmanager
def _plain_path(directory: Path) -> Iterator[Path]:
    """Yields a path to the directory that has no special characters and is UTF-8.

    Orbax reads brackets, stars and question marks as patterns, and TensorStore reads backslashes as slashes, so
    checkpoints written under such a path could not be read. TensorStore also opens no path that is not UTF-8, which a
    finished run may have been moved to. A symbolic link in a temporary folder avoids all that.

    Raises:
        InputError: the path of the temporary folder has special characters or is not UTF-8, too.
    """
    if _is_plain(str(directory)):
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="chimeramix-") as folder:
        if not _is_plain(folder):
            raise InputError(
                f"TMPDIR: {folder!r}; it must be UTF-8 and not contain any of {' '.join(sorted(_SPECIAL))}"
            )
        link = Path(folder) / "checkpoints"
        link.symlink_to(directory, target_is_directory=True)
        yield link


def _is_plain(path: str) -> bool:
    """Whether Orbax and TensorStore take a path for what it is."""
    return not _SPECIAL.intersection(path) and printable(path) == path
