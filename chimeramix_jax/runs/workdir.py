"""A run's directory: whose run it holds, and where its parts are.

::

    config.json          the settings, written when the run starts
    data.json            what tells its images from others (data/identity.py), written then too
    generator/           checkpoints/ and metrics.jsonl of stage 1, and in pictures/ its mixes on the way
    generator_from.json  instead, where the generator of another run is used: that run's directory, seen from here
    generator_kept/      what this run needs of that one, so that it may be deleted or trained anew
    segments/            label maps of the training images, where masks follow segments
    classifier/          the same of stage 2
    baseline/            the same of the classifier trained without mixing, where one is compared with
    mixing.png           pairs of images, masks and what the generator makes of them
    masks.png            one pair by several masks
    results.json         the test figures, once all is done
    report.html          all of it, to be looked at
    lock.json            whose process works here, while one does
"""

import json
import os
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.data.identity import DataIdentity
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import local_path
from chimeramix_jax.stored_format import marked, unmarked


class Workdir:
    """The directory of one run."""

    def __init__(self, path: str | os.PathLike[str]):
        """Names the directory; nothing is read or written yet."""
        self.path = local_path(path, "--workdir")
        self.config = self.path / "config.json"
        self.data = self.path / "data.json"
        self.generator = self.path / "generator"
        self.generator_from = self.path / "generator_from.json"
        self.generator_kept = self.path / "generator_kept"
        self.segments = self.path / "segments"
        self.classifier = self.path / "classifier"
        self.baseline = self.path / "baseline"
        self.picture = self.path / "mixing.png"
        self.masks_picture = self.path / "masks.png"
        self.results = self.path / "results.json"
        self.report = self.path / "report.html"

    def create(self) -> None:
        """Makes the directory, unless it is there.

        Raises:
            InputError: it cannot be made, or not be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"--workdir={self.path}: cannot be created: {error.strerror}") from None
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise InputError(f"--workdir={self.path}: not writable; choose another with --workdir")

    def check(self, config: ConfigDict) -> None:
        """Makes sure that this run may write here; creates the directory.

        Raises:
            InputError: it cannot be written to, or it holds a run with other settings.
        """
        self.create()
        if self.config.exists():
            self.refuse_other_settings(config)

    def refuse_other_settings(self, config: ConfigDict) -> None:
        """Makes sure that these are the settings of the run that the directory holds.

        Raises:
            InputError: they differ in what has an effect on results, or there is no run.
        """
        differing = settings.differences(self.read_config(), config)
        if differing:
            raise InputError(
                f"--workdir={self.path}: holds a run with other settings ({settings.shortened(differing)}); "
                "choose another with --workdir"
            )

    def read_config(self) -> ConfigDict:
        """The settings of the run that the directory holds.

        Raises:
            InputError: there is none, or it cannot be read.
        """
        try:
            return settings.from_json(self.config.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{self.config}: cannot be read: {error.strerror}") from None
        except ValueError as error:  # not text, or not the JSON that this program writes
            raise InputError(f"{self.config}: cannot be read: {error}") from None

    def read_results(self) -> dict[str, Any]:
        """What ``results.json`` holds.

        Raises:
            InputError: there is none, or it cannot be read.
        """
        try:
            results = json.loads(self.results.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise InputError(f"{self.path}: holds no results.json; write it with --stage=evaluate") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{self.results}: cannot be read: {error}; write it anew with --stage=evaluate") from None
        if not isinstance(results, dict):
            raise InputError(f"{self.results}: holds no JSON object; write it anew with --stage=evaluate")
        return unmarked(results, self.results)

    def claim(self, config: ConfigDict) -> None:
        """Records the settings, which later runs here must share."""
        files.write_bytes(self.config, settings.to_json(config).encode())

    def read_data(self) -> DataIdentity | None:
        """What tells the run's data from others; None where that is not recorded, as in runs of earlier versions.

        Raises:
            InputError: it cannot be read.
        """
        try:
            stored = json.loads(self.data.read_text(encoding="utf-8"))
            if not isinstance(stored, dict):
                raise ValueError(f"a JSON object is wanted, not a {type(stored).__name__}")
            return DataIdentity.from_dict(unmarked(stored, self.data))
        except FileNotFoundError:
            return None
        except InputError:  # of a later version
            raise
        except (OSError, ValueError) as error:
            raise InputError(f"{self.data}: cannot be read: {error}") from None

    def claim_data(self, data: DataIdentity) -> None:
        """Records what tells the run's data from others."""
        files.write_bytes(self.data, (json.dumps(marked(data.to_dict()), separators=(",", ":")) + "\n").encode())

    def use_generator_of(self, other: "Workdir") -> None:
        """Records whose generator the run uses, unless it is its own."""
        if other is not self:
            relative = os.path.relpath(other.path.resolve(), self.path.resolve())
            files.write_json(self.generator_from, {"workdir": relative})

    def generator_home(self) -> "Workdir":
        """The run whose generator this one uses: itself, or the recorded one.

        Raises:
            InputError: the record cannot be read.
        """
        if self.generator.exists() or not self.generator_from.exists():
            return self
        if self.generator_kept.exists():
            return Workdir(self.generator_kept)
        try:
            return Workdir(self.path / json.loads(self.generator_from.read_text(encoding="utf-8"))["workdir"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{self.generator_from}: cannot be read: {error}") from None

    def move_aside(self, *parts: Path) -> None:
        """Renames parts of the run, so that they can be made again and the old ones stay."""
        for part in parts:
            if part.exists():
                number = 1
                while (old := part.with_name(f"{part.stem}.replaced-{number}{part.suffix}")).exists():
                    number += 1
                part.rename(old)

    def written(self) -> list[Path]:
        """What a run leaves behind for its user, as far as it is there."""
        shown = (self.results, self.report, self.picture, self.masks_picture)
        return [part for part in (*shown, self.generator, self.classifier, self.baseline) if part.exists()]
