"""Which run's generator a run uses: its own, one that was named, or a finished one of a run beside it.

A generator depends on the data, the subset, the masks' kind and its own settings, but not on what the classifier is
trained with. Experiments that agree in the former train it once.
"""

import os
from collections.abc import Iterator

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.data.loading import FewShotDataset
from chimeramix_jax.errors import InputError
from chimeramix_jax.same_data import trained_otherwise
from chimeramix_jax.training import loop
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
        return home
    if workdir.generator.exists():
        return workdir
    return next(_beside(workdir, config), workdir)


def _check(given: Workdir, config: ConfigDict, workdir: Workdir, flag: str) -> None:
    if not given.config.exists() or not loop.is_finished(given.generator, config.generator.epochs):
        raise InputError(f"{flag}: holds no finished generator of {config.generator.epochs} epochs")
    if workdir.generator.exists():
        raise InputError(f"{flag}: but {workdir.path} has a generator of its own; choose another --workdir")
    differing = settings.differences(given.read_config(), config, among=settings.generator_settings(config))
    if differing:
        raise InputError(f"{flag}: its generator was trained with other settings ({settings.shortened(differing)})")


def _beside(workdir: Workdir, config: ConfigDict) -> Iterator[Workdir]:
    """The runs in the same folder that have a finished generator of the same settings."""
    try:
        folders = sorted(workdir.path.parent.iterdir())
    except OSError:  # not there, or not to be listed: one does not know what is beside
        return
    for folder in folders:
        other = Workdir(folder)
        if folder != workdir.path and _can_share(other, config):
            yield other


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
        home = Workdir(named).generator_home()
        refuse_other_data(home, dataset, f"--generator_workdir={named}")
        return home
    return next((other for other in _beside(workdir, config) if not _differences(other, dataset)), workdir)


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
