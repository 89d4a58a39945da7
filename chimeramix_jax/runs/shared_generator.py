"""Finds the generator that a run uses, and keeps a copy of it if another run trained it.

A generator depends on the data, the few-shot subset, the kind of masks and its own settings, but not on how the
classifier is trained. Experiments that agree in these train it once. A run keeps its own copy of another run's
generator, so that the other may be deleted or retrained; where the file system allows it, the copy is hard links.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.reporting.stage_files import CHECKPOINTS, METRICS, PICTURES
from chimeramix_jax.runs.same_data import trained_otherwise
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training import checkpoint_manifest
from chimeramix_jax.training.checkpoints import StageCheckpoints, is_finished, newest


def choose(
    workdir: Workdir,
    config: ConfigDict,
    named: str | os.PathLike[str] | None = None,
    dataset: FewShotDataset | None = None,
) -> Workdir:
    """Returns the directory of the run whose generator to use; it is ``workdir`` if that run is to train one.

    Args:
        workdir: the run's own directory.
        config: the run's settings.
        named: the directory of the run whose finished generator to use; None: not specified.
        dataset: the run's data; None: not loaded yet, so that generators of other data are not excluded.

    Raises:
        InputError: the named run has no finished generator, its generator was trained with other settings or on other
            data, or the run in ``workdir`` already has another generator.
    """
    # The order of choices:
    # 1. The generator of the named run. If it cannot be used, that is an error, and no other is tried.
    if named is not None:
        return _named(workdir, config, named, dataset)
    # 2. The run's own generator, even an unfinished one.
    if workdir.generator.exists():
        return workdir
    # 3. The one that the run has used before: its copy or, before it is copied, the other run's.
    # 4. The first suitable one of the runs in the same folder, in the order of their names.
    for other in _used_before_and_beside(workdir, config):
        if dataset is None or not _data_changes(other, dataset):
            return other
    # 5. A new one, which the run trains.
    return workdir


def _named(
    workdir: Workdir, config: ConfigDict, named: str | os.PathLike[str], dataset: FewShotDataset | None
) -> Workdir:
    """Returns the directory of the generator of a named run, which may itself use another run's."""
    flag = f"--generator_workdir={named}"
    home = Workdir(named).generator_home()
    if home.path.resolve() == workdir.path.resolve():
        return workdir
    if not home.config.exists() or not is_finished(home.generator, config.generator.epochs):
        raise InputError(f"{flag}: holds no finished generator of {config.generator.epochs} epochs")
    if workdir.generator.exists():
        raise InputError(f"{flag}: but {workdir.path} has a generator of its own; choose another --workdir")
    if differing := _changed_settings(home, config):
        raise InputError(f"{flag}: its generator was trained with other settings ({settings.shortened(differing)})")
    kept = Workdir(workdir.generator_kept)
    if is_finished(kept.generator, config.generator.epochs):
        if newest(kept.generator) != newest(home.generator):
            raise InputError(f"{flag}: but {workdir.path} keeps a copy of another; choose another --workdir")
        home = kept
    if dataset is not None:
        refuse_other_data(home, dataset, flag)
    return home


def _used_before_and_beside(workdir: Workdir, config: ConfigDict) -> Iterator[Workdir]:
    """Yields the directories of finished generators that the run may use: first the one it used before."""
    before = workdir.generator_home()
    if before.path != workdir.path and is_finished(before.generator, config.generator.epochs):
        yield before
    try:
        folders = sorted(workdir.path.parent.iterdir())
    except OSError:  # the folder does not exist or may not be listed
        return
    for folder in folders:
        if folder != workdir.path and _can_share(folder, config):
            yield Workdir(folder)


def _can_share(folder: Path, config: ConfigDict) -> bool:
    """Whether a folder holds a run with a finished generator of the same settings, which left out no epochs."""
    try:
        other = Workdir(folder)
        if _changed_settings(other, config) or not is_finished(other.generator, config.generator.epochs):
            return False
        return not (newest(other.generator) or {}).get("epochs_left_out")
    except (InputError, OSError):  # not a run, damaged, not readable, or written by a later version
        return False


def _changed_settings(home: Workdir, config: ConfigDict) -> list[str]:
    """Returns how a run's settings differ from these in what a generator depends on."""
    return settings.differences(home.read_config(), config, among=settings.generator_settings(config))


def _data_changes(home: Workdir, dataset: FewShotDataset) -> list[str]:
    """Returns how the data of a run's generator differ from these."""
    return trained_otherwise(home.generator, home.read_data(), dataset, home)


def refuse_other_data(home: Workdir, dataset: FewShotDataset, flag: str) -> None:
    """Requires that a run's generator was trained on these data; ``flag`` begins the message.

    Raises:
        InputError: it was trained on other data.
    """
    if differing := _data_changes(home, dataset):
        again = "" if home.auto_record.exists() else "by --retrain or "  # which a run whose recipe was chosen refuses
        raise InputError(
            f"{flag}: the generator of {home.path} was trained on other data ({'; '.join(differing)}); train another "
            f"for these, {again}in another --workdir, or name one with --generator_workdir"
        )


def adopt(workdir: Workdir, home: Workdir, config: ConfigDict, dataset: FewShotDataset) -> Workdir:
    """Copies another run's finished generator into a run's directory, and records where it came from.

    The other run may be training its classifier meanwhile. If its generator is replaced or deleted during the copying,
    the copy is deleted, so that it never mixes files of two generators.

    Args:
        workdir: the run that uses the generator.
        home: the run that trained it.
        config: the settings of the run that uses it.
        dataset: the data of that run.

    Returns:
        The directory of the copy, laid out like a run's.

    Raises:
        InputError: the generator no longer exists, or was replaced by another since it was chosen.
        StorageError: the disk is full.
    """
    kept = Workdir(workdir.generator_kept)
    if home.path == kept.path:
        return kept
    if kept.path.exists():
        shutil.rmtree(kept.path)  # left by a process that ended before it recorded the copy
    try:
        with files.whole_folder(kept.path) as folder, _unreplaced(home.generator):
            _copy(home, folder)
            copied = Workdir(folder)
            if _changed_settings(copied, config) or _data_changes(copied, dataset):
                raise _replaced(home.generator)
    except (OSError, shutil.Error) as error:
        if files.reason_of_storage(error, files.NO_ROOM) is not None:
            raise files.storage_error(kept.path, 0, error) from error
        raise InputError(f"{home.generator}: cannot be copied: {one_line(error)}") from None
    workdir.use_generator_of(home)
    return kept


def _copy(home: Workdir, folder: Path) -> None:
    """Copies the newest checkpoint of a run's generator, and the records of its training."""
    checkpoints, target = home.generator / CHECKPOINTS, Workdir(folder).generator
    with StageCheckpoints(checkpoints, read_only=True) as stored:
        step = str(stored.latest_step())
    shutil.copytree(checkpoints / step, target / CHECKPOINTS / step, copy_function=_link)
    shutil.copy2(home.config, folder)
    if (home.generator / METRICS).exists():
        shutil.copy2(home.generator / METRICS, target)
    if (home.generator / PICTURES).exists():
        shutil.copytree(home.generator / PICTURES, target / PICTURES, copy_function=_link)
    if checkpoint_manifest.damage(target / CHECKPOINTS / step):
        raise _replaced(checkpoints / step)


@contextlib.contextmanager
def _unreplaced(folder: Path) -> Iterator[None]:
    """Requires that a folder is not replaced by another during the ``with`` statement.

    Retraining renames a stage's folder before it creates a new one. While the folder is open, a new one cannot get its
    inode number.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield
        if not os.path.samestat(os.fstat(descriptor), os.stat(folder)):
            raise _replaced(folder)
    finally:
        os.close(descriptor)


def _replaced(path: Path) -> InputError:
    return InputError(f"{path}: another process changed it in the meantime; start again")


def _link(source: str, target: str) -> None:
    """Creates a hard link to a file, which nobody changes; copies it if the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
