"""Looks at the data of a run without training anything."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.data import findings_text
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.data.image_files import UnreadableFilesError
from chimeramix_jax.data.loading import load_few_shot
from chimeramix_jax.data.preparation import SkippedWarning
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import leaving_no_empty_folders
from chimeramix_jax.runs import data_check, same_data
from chimeramix_jax.runs.lock import locked
from chimeramix_jax.runs.workdir import Workdir


@dataclass(frozen=True)
class Checked:
    """The findings about a run's data."""

    config: ConfigDict
    workdir: Workdir
    findings: dict[str, Any]  # the content of ``check.json``
    problems: list[InputError]  # why the run would be refused; empty if it would not
    recorded: bool  # False: the directory holds a run on other data, whose findings stay

    def text(self) -> str:
        """Returns the findings as text, and where they are recorded, if they are."""
        lines = [findings_text.full_text(self.findings)]
        if self.recorded:
            lines = data_check.with_time_and_place(lines, self.workdir, self.config, self.findings)
        return "\n".join(lines)


def check_data(config: ConfigDict, workdir: str | os.PathLike[str]) -> dict[str, Any]:
    """Examines the data of a run, records the findings in its directory and returns them.

    Nothing is trained or compiled. Writes ``check.json``, which has the same content, and ``images.png``, which shows
    images of every class as the networks see them, unless the directory holds a run on other data.

    Args:
        config: the settings, as in ``configs/``, for one seed.
        workdir: the run's directory.

    Raises:
        InputError: a setting, the data or the directory is unsuitable. Findings for which a run would be refused, such
            as unreadable files, are returned, not raised.
    """
    return checked(config, workdir).findings


def checked(config: ConfigDict, workdir: str | os.PathLike[str]) -> Checked:
    """Does the work of ``check_data``, and also returns why the run would be refused."""
    settings.check(config, stored=True)
    directory = Workdir(workdir)
    with leaving_no_empty_folders(directory.path):
        directory.check(config)
        with locked(directory.path):
            dataset, problems = _loaded(config)
            problems += _refused(lambda: data_check.refuse_copies(config, dataset))
            problems += _refused(lambda: _refuse_too_few(config, dataset))
            if not directory.is_of_existing_run():
                problems += _refused(lambda: settings.refuse_enlarged(config))
            findings, recorded = data_check.examine(config, dataset), True
            try:
                same_data.refuse_other_data(directory, dataset, "all")
                data_check.record(directory, config, dataset, findings)
            except InputError as error:
                problems.append(error)
                recorded = False
    return Checked(config, directory, findings, problems, recorded)


def _refused(check: Callable[[], None]) -> list[InputError]:
    """Returns the error that a check raises, if it does."""
    try:
        check()
    except InputError as error:
        return [error]
    return []


def _refuse_too_few(config: ConfigDict, dataset: FewShotDataset) -> None:
    """Raises InputError if a class has too few training images to mix, or for the folds, as the runs do."""
    labels, mixes = dataset.train.labels, config.experiment != settings.AUTO  # a choice leaves such recipes out
    if mixes:
        data_check.refuse_too_few_to_mix(config, labels[dataset.distinct_training], dataset.class_names, config.fold)
    for repeat in range(config.fold_repeats if dataset.folds else 0):
        folds = dataset.divided_into_folds(repeat)
        for fold in range(dataset.folds if mixes else 0):
            number = repeat * dataset.folds + fold + 1
            data_check.refuse_too_few_to_mix(config, labels[folds != fold], dataset.class_names, number)


def _loaded(config: ConfigDict) -> tuple[FewShotDataset, list[InputError]]:
    """Loads the data, without the files that cannot be read; returns the error that a run would raise for them.

    Raises InputError, with all that is wrong, if what remains without those files cannot be used either.
    """
    is_choice = config.experiment == settings.AUTO
    folds = settings.folds_of_choice(config) if is_choice else config.folds
    arguments = config.max_labels_per_class, config.seed, folds, config.fold

    def load(dataset_config: ConfigDict) -> FewShotDataset:
        dataset = load_few_shot(dataset_config, *arguments)
        usual = is_choice and folds and not config.folds  # so small classes have fewer
        return dataset.with_folds(max(min(folds, dataset.smallest_class), 2)) if usual else dataset

    try:
        return load(config.dataset), []
    except UnreadableFilesError as error:
        readable = ConfigDict(config.dataset)
        readable.skip_unreadable = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SkippedWarning)  # the findings name the files
            try:
                return load(readable), [error]
            except InputError as other:  # such as a class without readable files, which are named by the first error
                raise UnreadableFilesError(f"{error}; without them: {other}") from None
