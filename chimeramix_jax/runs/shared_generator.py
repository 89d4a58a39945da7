"""Which run's generator a run uses: its own, one that was named, or a finished one of a run beside it.

A generator depends on the data, the subset, the masks' kind and its own settings, but not on what the classifier is
trained with. Experiments that agree in the former train it once. A run keeps its share of another's generator, as links
to the same files where the file system has them, so that the other may be deleted or trained anew.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.data.loading import FewShotDataset
from chimeramix_jax.errors import InputError, one_line
from chimeramix_jax.runs.same_data import trained_otherwise
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training import checkpoint_manifest
from chimeramix_jax.training.checkpoints import StageCheckpoints, is_finished, newest


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
        if is_finished(kept.generator, config.generator.epochs):
            if newest(kept.generator) != newest(home.generator):
                raise InputError(
                    f"--generator_workdir={named}: but {workdir.path} keeps another; choose another --workdir"
                )
            return kept
        return home
    if workdir.generator.exists():
        return workdir
    return next(_candidates(workdir, config), workdir)


def _check(given: Workdir, config: ConfigDict, workdir: Workdir, flag: str) -> None:
    if not given.config.exists() or not is_finished(given.generator, config.generator.epochs):
        raise InputError(f"{flag}: holds no finished generator of {config.generator.epochs} epochs")
    if workdir.generator.exists():
        raise InputError(f"{flag}: but {workdir.path} has a generator of its own; choose another --workdir")
    if differing := _set_otherwise(given, config):
        raise InputError(f"{flag}: its generator was trained with other settings ({settings.shortened(differing)})")


def _set_otherwise(home: Workdir, config: ConfigDict) -> list[str]:
    """How the settings of a run differ from these in what a generator depends on."""
    return settings.differences(home.read_config(), config, among=settings.generator_settings(config))


def _candidates(workdir: Workdir, config: ConfigDict) -> Iterator[Workdir]:
    """Whose finished generator a run without one of its own may use: the one it has used before, then those beside."""
    before = workdir.generator_home()
    if before.path != workdir.path and is_finished(before.generator, config.generator.epochs):
        yield before
    yield from _beside(workdir, config)


def _beside(workdir: Workdir, config: ConfigDict) -> Iterator[Workdir]:
    """The runs in the same folder that have a finished generator of the same settings."""
    try:
        folders = sorted(workdir.path.parent.iterdir())
    except OSError:  # not there, or not to be listed: one does not know what is beside
        return
    for folder in folders:
        if folder != workdir.path and _can_share(folder, config):
            yield Workdir(folder)


def _can_share(folder: Path, config: ConfigDict) -> bool:
    """Whether a folder holds a run with a finished generator of the same settings."""
    try:
        other = Workdir(folder)
        return not _set_otherwise(other, config) and is_finished(other.generator, config.generator.epochs)
    except (InputError, OSError):  # no run, a closed or a damaged one, or of a version that this one cannot read
        return False


def adopt(workdir: Workdir, home: Workdir, config: ConfigDict, dataset: FewShotDataset) -> Workdir:
    """Keeps a run's finished generator in the directory of another one that uses it, and records whose it is.

    The other run need not be at rest: it may train its classifier meanwhile. If it is trained anew or deleted, all that
    has been copied is given up, so that nothing is ever kept of two generators.

    Args:
        workdir: the run that uses the generator.
        home: the run that has trained it.
        config: the settings of the former.
        dataset: its data.

    Returns:
        A directory that holds the generator as a run's own does.

    Raises:
        InputError: the generator is no longer there, or another has taken its place since it was chosen.
        StorageError: there is no room.
    """
    kept = Workdir(workdir.generator_kept)
    if home.path == kept.path:
        return kept
    if kept.path.exists():
        shutil.rmtree(kept.path)  # of a run that ended in between, before its record was written
    try:
        with files.whole_folder(kept.path) as folder, _staying(home.generator):
            _copy(home, folder)
            copied = Workdir(folder)
            if _set_otherwise(copied, config) or _differences(copied, dataset):
                raise _changed(home.generator)
    except (OSError, shutil.Error) as error:
        if files.reason_of_storage(error, files.NO_ROOM) is not None:
            raise files.storage_error(kept.path, 0, error) from error
        raise InputError(f"{home.generator}: cannot be copied: {one_line(error)}") from None
    workdir.use_generator_of(home)
    return kept


def _copy(home: Workdir, folder: Path) -> None:
    """Copies the newest checkpoint of a run's generator, and what tells how it was trained."""
    checkpoints, target = home.generator / "checkpoints", folder / "generator"
    with StageCheckpoints(checkpoints, read_only=True) as stored:
        step = str(stored.latest_step())
    shutil.copytree(checkpoints / step, target / "checkpoints" / step, copy_function=_link)
    shutil.copy2(home.config, folder)
    if (home.generator / "metrics.jsonl").exists():
        shutil.copy2(home.generator / "metrics.jsonl", target)
    if (home.generator / "pictures").exists():
        shutil.copytree(home.generator / "pictures", target / "pictures", copy_function=_link)
    if checkpoint_manifest.damage(target / "checkpoints" / step):
        raise _changed(checkpoints / step)


@contextlib.contextmanager
def _staying(folder: Path) -> Iterator[None]:
    """Makes sure that a folder is the same one at the end of the ``with`` statement as at its beginning.

    Training anew renames the folder of a stage before it makes another. As long as one is open, no other folder can
    look like it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield
        if not os.path.samestat(os.fstat(descriptor), os.stat(folder)):
            raise _changed(folder)
    finally:
        os.close(descriptor)


def _changed(what: Path) -> InputError:
    return InputError(f"{what}: another process has changed it while it was to be used; start again")


def _link(source: str, target: str) -> None:
    """Gives a file, which nobody changes, a second name, or copies it where the file system has no such."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def of_the_same_data(
    workdir: Workdir, config: ConfigDict, dataset: FewShotDataset, named: str | os.PathLike[str] | None
) -> Workdir:
    """Chooses again where another run's generator was to be used, now that the data are known.

    Args:
        workdir: the run's own directory, without a generator.
        config: the run's settings.
        dataset: its data.
        named: as for ``choose``. A named generator has to be of these data; of the runs beside this one, the first
            whose is.

    Raises:
        InputError: the named one is of other data: a folder or an archive has changed since.
    """
    if named is not None:
        home = choose(workdir, config, named)
        refuse_other_data(home, dataset, f"--generator_workdir={named}")
        return home
    return next((other for other in _candidates(workdir, config) if not _differences(other, dataset)), workdir)


def refuse_other_data(home: Workdir, dataset: FewShotDataset, flag: str) -> None:
    """Makes sure that a run's generator was trained on these data; ``flag`` says where it was named.

    Raises:
        InputError: it was not.
    """
    if differing := _differences(home, dataset):
        raise InputError(
            f"{flag}: the generator of {home.path} was trained on other data ({'; '.join(differing)}); train another "
            "for these, by --retrain or in another --workdir, or name one with --generator_workdir"
        )


def _differences(home: Workdir, dataset: FewShotDataset) -> list[str]:
    return trained_otherwise(home.generator, home.read_data(), dataset, home)
