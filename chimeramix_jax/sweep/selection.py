"""Selects the runs of a sweep: all combinations of data sets, experiments, numbers of images and seeds."""

import fnmatch
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config import shipped
from chimeramix_jax.config.experiments import STUDY, STUDY_NAME
from chimeramix_jax.config.experiments import known as known_experiments
from chimeramix_jax.errors import InputError, not_one_of

ALL = "all"  # as a number of images per class: all images

_OWN_FLAGS = {
    # Settings that the sweep sets for each run, and the flags that list their values.
    "experiment": "--experiments",
    "seed": "--seeds",
    "seeds": "--seeds",
    "max_labels_per_class": "--max_labels_per_class",
    "dataset.name": "--datasets",
}


@dataclass(frozen=True, eq=False)
class SweepRun:
    """One run of the sweep."""

    workdir: Path
    source: str  # its config file and experiment, as in ``--config``
    config: ConfigDict
    overrides: tuple[str, ...]  # the arguments ``--config.key=value`` that all runs share

    @property
    def name(self) -> str:
        """The name of the run's directory."""
        return self.workdir.name

    @property
    def config_file(self) -> str:
        """The name of its config file, without folder and extension; data sets of shipped files are listed by it."""
        return Path(shipped.separated(self.source)[0]).stem

    @property
    def pattern(self) -> Path:
        """The run's directory with ``{seed}`` instead of the number, which is the same for all seeds."""
        begin, _, end = self.name.rpartition(f"seed-{self.config.seed}")
        return self.workdir.with_name(f"{begin}seed-{settings.SEED_PLACE}{end}")


def arguments(runs: Sequence[SweepRun]) -> list[str]:
    """Returns the program's arguments for a run, or for several runs that differ only in the seed."""
    seeds = ",".join(str(run.config.seed) for run in runs)
    return [
        f"--config={runs[0].source}",
        *runs[0].overrides,
        *settings.code_arguments(runs[0].config),
        f"--config.max_labels_per_class={runs[0].config.max_labels_per_class}",
        f"--config.seed={seeds}" if len(runs) == 1 else f"--config.seeds={seeds}",
        f"--workdir={common_workdir(runs)}",
    ]


def common_workdir(runs: Sequence[SweepRun]) -> Path:
    """Returns the directory of a single run, or the pattern of the directories of several seeds."""
    return runs[0].workdir if len(runs) == 1 else runs[0].pattern


def select(
    folder: Path, datasets: str, experiments: str, images: str | None, seeds: str, overrides: Sequence[str] = ()
) -> list[SweepRun]:
    """Returns the runs, ordered by seed, so that a stopped sweep has complete comparisons for the first seeds.

    Args:
        folder: the folder of the sweep, which will hold the runs' directories.
        datasets: comma-separated names of config files, glob patterns for them, and paths of other config files.
        experiments: comma-separated names and glob patterns; "study": those of the published study.
        images: comma-separated numbers of training images per class, or "all"; None: as in each config file.
        seeds: comma-separated numbers and ranges.
        overrides: arguments ``--config.key=value`` for all runs.
    """
    sources = _config_sources(datasets)
    for source in sources:
        settings.register_from(source)  # own experiments, which can be named then
    names = matching("--experiments", experiments, known_experiments(), {STUDY_NAME: list(STUDY)})
    numbers = numbers_of_images(images)
    try:
        seed_numbers = settings.parse_seeds(seeds)
    except InputError as error:
        raise InputError(f"--{error}") from None
    for flag, values in (("--datasets", sources), ("--experiments", names), ("--seeds", seed_numbers)):
        if not values:
            raise InputError(f"{flag}: is empty; it must contain at least one value")
    bases = {source: _loaded(source, overrides) for source in (f"{path}:{name}" for path in sources for name in names)}
    runs = [
        _run(folder, source, base, number, seed, overrides)
        for seed in seed_numbers
        for source, base in bases.items()
        for number in numbers or [base.max_labels_per_class]
    ]
    _refuse_shared_directories(runs)
    return runs


def matching(
    flag: str, text: str, known: Iterable[str], groups: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> list[str]:
    """Returns the known names that match a list of names, of groups and of glob patterns, without duplicates."""
    names = list(known)
    chosen: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        matching = groups.get(part) or [name for name in names if fnmatch.fnmatchcase(name, part)]
        if not matching:
            raise not_one_of(flag, part, [*groups, *names])
        chosen += matching
    return list(dict.fromkeys(chosen))


def _config_sources(text: str) -> list[str]:
    """Returns the paths of the listed config files: shipped files are listed by name, others by path."""
    sources: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        if part.endswith(".py"):
            sources.append(part)
        else:
            names = matching("--datasets", part, shipped.names())
            sources += [shipped.as_path(name) for name in names]
    return list(dict.fromkeys(sources))


def numbers_of_images(text: str | None) -> list[int | None]:
    """Parses numbers of images per class, with None for all images; the list is empty if the config files decide."""
    rule = settings.SETTINGS["max_labels_per_class"]
    numbers: list[int | None] = []
    for part in [] if text is None else text.split(","):
        number = int(part) if part.strip().isdecimal() else None
        if (number is None and part.strip() != ALL) or not rule.holds(number):
            allowed = f"a comma-separated list of positive integers and {ALL!r}"
            raise InputError(f"--max_labels_per_class: {part!r} in {text!r} is not allowed; it must be {allowed}")
        numbers.append(number)
    return list(dict.fromkeys(numbers))


def _loaded(source: str, overrides: Sequence[str]) -> ConfigDict:
    """Loads the settings of a config file and an experiment, with the overrides applied."""
    config = settings.load(source)
    for override in overrides:
        if flag := _OWN_FLAGS.get(override.removeprefix("--config.").partition("=")[0]):
            raise InputError(f"{override}: the sweep sets this for each run; list the values with {flag}")
    settings.override(config, overrides)
    if config.seeds:
        raise InputError(
            f"{source}: seeds: {config.seeds!r}, but a sweep has a run for each seed; it must be empty, and --seeds "
            "must list them"
        )
    return config


def _run(
    folder: Path, source: str, base: ConfigDict, images: int | None, seed: int, overrides: Sequence[str]
) -> SweepRun:
    config = base.copy_and_resolve_references()  # a plain copy would share the values of placeholders
    config.update({"seed": seed, "max_labels_per_class": images})
    try:
        settings.check(config)
    except InputError as error:
        raise InputError(f"{source}: {error}") from None
    name = os.path.basename(settings.default_workdir(config))
    return SweepRun(folder / name, source, config, tuple(overrides))


def _refuse_shared_directories(runs: Iterable[SweepRun]) -> None:
    by_name: dict[str, SweepRun] = {}
    for run in runs:
        other = by_name.setdefault(run.name, run)
        if other is not run:
            raise InputError(
                f"--datasets: {other.source} and {run.source} would share the directory {run.workdir}; use separate "
                "sweeps with different --workdir"
            )
