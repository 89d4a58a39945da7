"""A run's directory: which run it holds, and where its parts are.

::

    config.json          the settings, written when the run starts
    extensions/          copies of the own files that the settings use, if any (docs/own_ideas.md)
    data.json            the identity of its data (data/identity.py), written at the same time
    check.json           what a look at the data found (data/findings.py), written at the same time
    images.png           training images of every class, as the networks see them before augmentation
    generator/           stage 1: checkpoints/, metrics.jsonl, and pictures/ of mixes during training
    generator_from.json  if another run's generator is used instead: that run's directory, relative to this one
    generator_kept/      this run's copy of that generator, so that the other run may be deleted or retrained
    pretraining/         training of the network without labels, if there is one: checkpoints/ and metrics.jsonl
    segments/            label maps of the training images, if masks follow segments
    classifier/          stage 2: checkpoints/ and metrics.jsonl; of an ensemble, those of the first member, and folders
                         member-2/, member-3/, ... with the same for the others
    baseline/            the same for the classifier trained without mixing, if there is one to compare with
    folds/               the runs that leave out a fold each, if there are folds: directories like this one
    auto.json            what was tried to choose the recipe, if the program chose it
    auto/                the runs that were tried: directories like this one
    mixing.png           pairs of images, their masks and mixes
    masks.png            a pair mixed by several masks
    results.json         the test metrics, once the run is finished
    held_out.csv         every held-out image with its prediction and its nearest training images, highest loss first;
                         without any, every training image, predicted by the model trained without its fold
    report.html          a page about all of it
    model_card.md        the same in short, to be published with the classifier
    update.json          how the photos had changed when the model was updated, and a comparison with the old model
    before-2026-11-28/   the run that an update replaced on that day: a directory like this one
    update.unfinished/   the new run while an update is not finished (runs/replacement.py)
    retraining.json      while the run is trained again (runs/retraining.py)
    lock.json            the process that is working here, if any
"""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files, stored_format
from chimeramix_jax.data.identity import DataIdentity
from chimeramix_jax.errors import InputError
from chimeramix_jax.extensions import lookup
from chimeramix_jax.paths import local_path, make_folder, refuse_other_encodings
from chimeramix_jax.runs import lock
from chimeramix_jax.stored_format import marked

CONFIG, RESULTS, AUTO_RECORD = "config.json", "results.json", "auto.json"

_OLD_RUN = re.compile(r"before-\d{4}-\d\d-\d\d(-\d+)?")


class Workdir:
    """The directory of one run."""

    def __init__(self, path: str | os.PathLike[str]):
        self.path = local_path(path, "--workdir")
        self.config = self.path / CONFIG
        self.extensions = self.path / "extensions"
        self.data = self.path / "data.json"
        self.check_findings = self.path / "check.json"
        self.images_picture = self.path / "images.png"
        self.generator = self.path / "generator"
        self.generator_from = self.path / "generator_from.json"
        self.generator_kept = self.path / "generator_kept"
        self.pretraining = self.path / "pretraining"
        self.segments = self.path / "segments"
        self.classifier = self.path / "classifier"
        self.baseline = self.path / "baseline"
        self.folds = self.path / "folds"
        self.auto_record = self.path / AUTO_RECORD
        self.auto = self.path / "auto"
        self.picture = self.path / "mixing.png"
        self.masks_picture = self.path / "masks.png"
        self.results = self.path / RESULTS
        self.held_out = self.path / "held_out.csv"
        self.report = self.path / "report.html"
        self.model_card = self.path / "model_card.md"
        self.retraining = self.path / "retraining.json"
        self.update_record = self.path / "update.json"
        self.update = self.path / "update.unfinished"
        self.replacing = self.update / "replacing.json"  # while the files of an old and a new model change places

    @classmethod
    def around(cls, path: Path) -> "Workdir | None":
        """Returns the nearest run of which a path is a part, or would be if it existed; None if there is none."""
        place = Path(os.path.realpath(path))
        for folder in place.parents:
            if _is_run(folder) and cls(folder).has_part(place.relative_to(folder).parts[0]):
                return cls(folder)
        return None

    @property
    def trained_by(self) -> Path:
        """The directory of the run whose command trains this one: itself, or the run that this one is a fold of."""
        folder = self.path.absolute().parent
        return folder.parent if folder.name == self.folds.name and _is_run(folder.parent) else self.path

    def has_part(self, name: str) -> bool:
        """Whether the program itself writes a file or folder of this name directly into the directory of a run.

        What ``generate`` and ``export`` write there unless they are told otherwise is no part of the run.
        """
        name = self.original_name(name).casefold()
        return name in self.part_names() | {lock.NAME} or _OLD_RUN.fullmatch(name) is not None

    def part_names(self) -> set[str]:
        """Returns the names of all files and folders that a run may have, and that are listed above."""
        return {part.name for part in vars(self).values() if part.parent == self.path}

    @staticmethod
    def original_name(name: str) -> str:
        """Returns the name that a part had before ``move_aside`` renamed it, or else the name itself."""
        return re.sub(r"\.replaced-\d+(?=\.|$)", "", name)

    def remove_unfinished(self) -> None:
        """Deletes what a killed process was writing as a part of the run; the directory must be locked."""
        for path in list(self.path.iterdir()):
            if files.is_unfinished(path.name) and files.finished_name(path.name) in self.part_names():
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def create(self) -> None:
        """Creates the directory, unless it exists; raises InputError if that fails or nothing can be stored in it."""
        refuse_other_encodings(self.path, "--workdir")
        try:
            make_folder(self.path)
        except OSError as error:
            raise InputError(f"--workdir={self.path}: cannot be created: {error.strerror}") from None
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise InputError(f"--workdir={self.path}: not writable; choose another with --workdir")

    def check(self, config: ConfigDict, *, measuring: bool = False) -> None:
        """Creates the directory; raises InputError if it holds a run with other settings, or lies among the photos.

        ``measuring`` allows settings that only change how a trained classifier is measured to differ.
        """
        self._refuse_half_replaced()
        self.refuse_among_photos(config)
        self.create()
        if self.config.exists():
            self.refuse_other_settings(config, measuring=measuring)

    def refuse_among_photos(self, config: ConfigDict) -> None:
        """Raises InputError if the directory is, or would be, in the folder of photos that the run learns from."""
        from chimeramix_jax.data.builders.image_folder import refuse_among_photos

        refuse_among_photos(self.path, "--workdir", config.dataset)

    def refuse_other_settings(self, config: ConfigDict, *, measuring: bool = False) -> None:
        """Raises InputError unless the directory holds a run with the same settings, as far as they affect results."""
        stored = self.read_config()
        differing = settings.differences(stored, config, measuring=measuring)
        if differing:
            copies = settings.differences(stored, config, among=settings.CODES) and self.extensions.is_dir()
            instead = f", or put back the file as it was, of which {self.extensions} has a copy" if copies else ""
            raise InputError(
                f"--workdir={self.path}: holds a run with other settings ({settings.shortened(differing)}); "
                f"choose another with --workdir{instead}"
            )

    def settings_like(self, config: ConfigDict | None) -> ConfigDict:
        """Returns these settings (None: the run's own), checked; raises InputError if their results would differ."""
        if config is None:
            config = self.read_config()
        self.refuse_other_settings(config, measuring=True)
        settings.check(config, environment=False, stored=True)
        return config

    def has_config(self) -> bool:
        """Whether the directory holds the settings of a run; raises InputError if that cannot be found out."""
        try:
            return self.config.exists()
        except OSError as error:
            raise InputError(f"{self.config}: cannot be read: {error.strerror}") from None

    def is_of_existing_run(self) -> bool:
        """Whether its settings are given: it holds a run, or belongs to the update of one."""
        return self.has_config() or self.update.name in self.path.parts

    def read_config(self, *, half_replaced: bool = False) -> ConfigDict:
        """Returns the settings of the run; raises InputError if there are none, or they cannot be read.

        Also raises InputError if an update was killed while it replaced the run, unless ``half_replaced``.
        """
        if not half_replaced:
            self._refuse_half_replaced()
        try:
            config = settings.from_json(self.config.read_text(encoding="utf-8"), self.config)
            lookup.remember_copies(self.extensions)
            return config
        except FileNotFoundError:
            raise self.no_run() from None
        except OSError as error:
            raise InputError(f"{self.config}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise InputError(f"{self.config}: cannot be read: {error}") from None

    def no_run(self, named_by: str = "--workdir", instead: str = "") -> InputError:
        """Returns an error that says that there is no run here, and where one probably meant is.

        Args:
            named_by: the flag or argument that names the directory.
            instead: how the sentence goes on if no run lies near.
        """
        runs = sorted(path.parent for path in self.path.glob("*/config.json") if _is_run(path.parent))
        if self.auto_record.exists():
            hint = "; the choice of a recipe is not finished; finish it with the command that began it"
        elif len(runs) > 1:
            hint = f"; did you mean one of the {len(runs)} runs in it, such as {runs[0]}?"
        elif runs:
            hint = f"; did you mean {runs[0]}?"
        elif kept := [part.name for part in (self.results, self.classifier, self.generator) if part.exists()]:
            hint = f": {CONFIG} is missing beside {kept[0]}; copy it from where the run was made"
        elif self.check_findings.exists():
            hint = ", only what --stage=check found; train it first"
        else:
            hint = instead
        return InputError(f"{named_by}={self.path}: holds no run{hint}")

    def _refuse_half_replaced(self) -> None:
        """Raises InputError if an update was killed while its files were taking the place of the old ones.

        Also raises InputError if the directory may not be entered, so that nobody can know.
        """
        try:
            half_replaced = self.replacing.exists()
        except OSError as error:
            raise InputError(f"--workdir={self.path}: cannot be read: {error.strerror}") from None
        if half_replaced:
            raise InputError(
                f"--workdir={self.path}: an update was interrupted while it replaced the old model; finish it with "
                "--stage=update, which only moves the remaining files"
            )

    def read_results(self) -> dict[str, Any]:
        """Returns the content of ``results.json``; raises InputError if there is none, or it cannot be read."""
        results = stored_format.read(self.results, "; write it again with --stage=evaluate")
        if results is None:
            raise InputError(
                f"{self.path}: holds no results.json; write it with --stage=evaluate --workdir={self.trained_by}"
            )
        return results

    def claim(self, config: ConfigDict) -> None:
        """Records the settings; later runs in this directory must have the same."""
        lookup.keep_copies(self.extensions, settings.codes(config))
        files.write_bytes(self.config, settings.to_json(settings.with_absolute_paths(config)).encode())

    def read_data(self) -> DataIdentity | None:
        """Returns the identity of the run's data, or None if it is not recorded, as in runs of earlier versions."""
        stored = stored_format.read(self.data)
        try:
            return None if stored is None else DataIdentity.from_dict(stored)
        except ValueError as error:
            raise InputError(f"{self.data}: cannot be read: {error}") from None

    def claim_data(self, data: DataIdentity) -> None:
        """Records the identity of the run's data."""
        files.write_bytes(self.data, (json.dumps(marked(data.to_dict()), separators=(",", ":")) + "\n").encode())

    def use_generator_of(self, other: "Workdir") -> None:
        """Records the run whose generator this run uses, unless it is its own."""
        if other is not self:
            relative = os.path.relpath(other.path.resolve(), self.path.resolve())
            files.write_json(self.generator_from, {"workdir": relative})

    def generator_home(self) -> "Workdir":
        """Returns the directory of the generator that this run uses: its own, its copy, or the recorded run's."""
        if self.generator.exists() or not self.generator_from.exists():
            return self
        if self.generator_kept.exists():
            return Workdir(self.generator_kept)
        try:
            return Workdir(self.path / json.loads(self.generator_from.read_text(encoding="utf-8"))["workdir"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.generator_from}: cannot be read: {error}") from None

    def move_aside(self, *parts: Path) -> None:
        """Renames parts of the run, so that new ones can be written and the old ones are kept."""
        for part in parts:
            if part.exists():
                number = 1
                while (old := part.with_name(f"{part.stem}.replaced-{number}{part.suffix}")).exists():
                    number += 1
                part.rename(old)

    def written(self) -> list[Path]:
        """Returns the files and folders of interest to a user that exist."""
        shown = (
            self.results,
            self.report,
            self.model_card,
            self.held_out,
            self.picture,
            self.masks_picture,
            self.update_record,
        )
        stages = (self.generator, self.pretraining, self.classifier, self.baseline)
        return [part for part in (*shown, *stages) if part.exists()]


def _is_run(folder: Path) -> bool:
    """Whether a folder has the settings of a run; other programs have files called ``config.json``, too."""
    try:
        stored = stored_format.read(folder / CONFIG)
    except InputError:
        return False
    return stored is not None and {"experiment", "dataset", "classifier"} <= stored.keys()
