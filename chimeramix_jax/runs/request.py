"""A request to carry out a run, or some stages of it, and what is wrong with it before anything is read."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import determinism, jax_settings
from chimeramix_jax.training import own_functions
from chimeramix_jax.training.execution import available_devices
from chimeramix_jax.training.pace import TimeLimit


@dataclass(frozen=True)
class Request:
    """A request to carry out a run, or some stages of it."""

    config: ConfigDict  # the settings, as in ``configs/``
    workdir: Workdir
    # "generator" and "classifier" train one stage, "evaluate" evaluates trained classifiers, "report" only
    # prepares for drawing the report again, "all" does everything.
    stage: str = "all"
    retrain: bool = False  # whether to train the stage again even if it is finished, or to go on with that
    # The directory of the run whose generator to use; None: not specified.
    generator_workdir: str | os.PathLike[str] | None = None
    details: bool = True  # whether to look at the data, draw pictures of mixing, and describe every held-out image
    # The time that "generator" and "classifier" may take; any other stage takes as long as its epochs need.
    limits: Mapping[str, TimeLimit] = field(default_factory=dict)

    @property
    def trains_generator(self) -> bool:
        """Whether to train the generator, unless it is finished or another run's is used."""
        return self.stage in ("all", "generator")

    @property
    def trains_classifier(self) -> bool:
        """Whether to train the classifier, unless it is finished."""
        return self.stage in ("all", "classifier")

    def check(self) -> None:
        """Raises InputError for invalid or contradictory settings and options, before anything is read."""
        settings.check(self.config, stored=self.stage in settings.MEASURING_STAGES)
        available_devices(self.config.devices)
        if self.stage not in settings.STAGES:
            raise not_one_of("--stage", self.stage, settings.STAGES)
        determinism.check(self.config)
        jax_settings.check()
        named = self.generator_workdir
        if not settings.needs_generator(self.config) and (self.stage == "generator" or named is not None):
            option = "stage: 'generator'" if self.stage == "generator" else f"--generator_workdir={named}"
            raise InputError(f"{option}, but experiment {self.config.experiment!r} uses no generator")
        if self.stage not in settings.MEASURING_STAGES:
            own_functions.check(self.config)

    def replaced(self) -> tuple[Path, ...]:
        """Returns the files to be made again and those that depend on them; none unless ``retrain``."""
        directory = self.workdir
        reports = (directory.report, directory.model_card, directory.update_record)
        measured = (directory.results, directory.held_out, *reports)
        later = (directory.pretraining, directory.classifier, directory.baseline, *measured)
        drawn = (directory.picture, directory.masks_picture)
        if not self.retrain or not (self.trains_generator or self.trains_classifier):
            return ()
        if self.stage == "classifier":
            return later if directory.generator.exists() else (*drawn, *later)
        return (directory.generator, *drawn, *later)
