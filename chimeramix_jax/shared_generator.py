"""Which run's generator a run uses: its own, one that was named, or a finished one of a run beside it.

A generator depends on the data, the subset, the masks' kind and its own settings, but not on what the classifier is
trained with. Experiments that agree in the former train it once. A run keeps its share of another's generator, as links
to the same files where the file system has them, so that the other may be deleted or trained anew.
"""

import os
import shutil
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.reporting import files
from chimeramix_jax.training import checkpoint_manifest, loop
from chimeramix_jax.training.checkpoints import StageCheckpoints
from chimeramix_jax.workdir import Workdir


def choose(workdir: Workdir, config: ConfigDict, named: str | os.PathLike[str] | None) -> Workdir:
    """The run whose generator is to be used; ``workdir`` itself where one has to be trained.

    Args:
        workdir: the run's own directory. A generator in it, even an unfinished one, comes first.
        config: the run's settings.
        named: the directory of another run, whose finished generator is to be used; None: look around.

    Raises:
        InputError: the named run has no finished generator, or one that was trained otherwise.
    """
    if named is not None:
        home = Workdir(named).generator_home()  # the named run may itself use another's
        if home.path.resolve() == workdir.path.resolve():
            return workdir
        _check(home, config, workdir, flag=f"--generator_workdir={named}")
        kept = Workdir(workdir.generator_kept)
        if loop.is_finished(kept.generator, config.generator.epochs):
            if loop.newest(kept.generator) != loop.newest(home.generator):
                raise InputError(
                    f"--generator_workdir={named}: but {workdir.path} keeps another; choose another --workdir"
                )
            return kept
        return home
    if workdir.generator.exists():
        return workdir
    if loop.is_finished(workdir.generator_home().generator, config.generator.epochs):
        return workdir.generator_home()
    return _beside(workdir, config) or workdir


def _check(given: Workdir, config: ConfigDict, workdir: Workdir, flag: str) -> None:
    if not given.config.exists() or not loop.is_finished(given.generator, config.generator.epochs):
        raise InputError(f"{flag}: holds no finished generator of {config.generator.epochs} epochs")
    if workdir.generator.exists():
        raise InputError(f"{flag}: but {workdir.path} has a generator of its own; choose another --workdir")
    differing = settings.differences(given.read_config(), config, among=settings.generator_settings(config))
    if differing:
        raise InputError(f"{flag}: its generator was trained with other settings ({'; '.join(differing)})")


def _beside(workdir: Workdir, config: ConfigDict) -> Workdir | None:
    """The first run in the same folder that has a finished generator of the same settings."""
    try:
        folders = sorted(workdir.path.parent.iterdir())
    except OSError:  # not there, or not to be listed: one does not know what is beside
        return None
    for folder in folders:
        other = Workdir(folder)
        if folder != workdir.path and _can_share(other, config):
            return other
    return None


def _can_share(other: Workdir, config: ConfigDict) -> bool:
    """Whether a folder holds a run with a finished generator of the same settings."""
    try:
        differing = settings.differences(other.read_config(), config, among=settings.generator_settings(config))
        return not differing and loop.is_finished(other.generator, config.generator.epochs)
    except (
        InputError,
        OSError,
    ):  # no run, a closed one, a damaged one, or not one that this version can read: none to share with
        return False


def adopt(workdir: Workdir, home: Workdir) -> Workdir:
    """Keeps a run's finished generator in the directory of another one that uses it, and records whose it is.

    Returns:
        A directory that holds the generator as a run's own does.

    Raises:
        InputError: the generator is no longer there, or is changed while it is copied.
        StorageError: there is no room.
    """
    kept = Workdir(workdir.generator_kept)
    if home.path == kept.path:
        return kept
    if kept.path.exists():
        shutil.rmtree(kept.path)  # of a run that ended in between, before its record was written
    checkpoints = home.generator / "checkpoints"
    try:
        with files.whole_folder(kept.path) as folder:
            with StageCheckpoints(checkpoints, read_only=True) as stored:
                step = str(stored.latest_step())
            copied = folder / "generator" / "checkpoints" / step
            shutil.copytree(checkpoints / step, copied, copy_function=_link)
            shutil.copy2(home.config, folder)
            if (home.generator / "metrics.jsonl").exists():
                shutil.copy2(home.generator / "metrics.jsonl", folder / "generator")
            if (home.generator / "pictures").exists():
                shutil.copytree(home.generator / "pictures", folder / "generator" / "pictures", copy_function=_link)
            if damage := checkpoint_manifest.damage(copied):
                raise InputError(f"{checkpoints / step}: {damage}, as another process has changed it; start again")
    except (OSError, shutil.Error) as error:
        if files.reason_of_storage(error, files.NO_ROOM) is not None:
            raise files.storage_error(kept.path, 0, error) from error
        raise InputError(f"{checkpoints}: cannot be copied: {one_line(error)}") from None
    workdir.use_generator_of(home)
    return kept


def _link(source: str, target: str) -> None:
    """Gives a file, which nobody changes, a second name, or copies it where the file system has no such."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def check_split(home: Workdir, about: Mapping[str, Any]) -> None:
    """Refuses a generator that was trained on other images than the run's, though its settings are the same.

    Args:
        home: the run that has the generator.
        about: what this run's checkpoints will say of it.

    Raises:
        InputError: classes or images differ: a folder or an archive has changed since.
    """
    stored = loop.newest(home.generator) or {}
    for key, what in (("class_names", "classes"), ("train_indices", "images")):
        if stored.get(key) != about[key]:
            raise InputError(
                f"{home.generator}: was trained on other {what} than this run's, though with the same settings; "
                "move it away, or name another with --generator_workdir"
            )
