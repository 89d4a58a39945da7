"""Which settings a choice can use, and whether it may continue, or measure again, what a directory holds."""

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.auto.record import Record
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs import same_settings
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import precision

_OF_CHOOSING = ("recipes", "larger_sides", "minutes")  # settings without an effect on a given recipe


def check_settings(config: ConfigDict) -> None:
    """Raises InputError for settings that a choice cannot use."""
    settings.check(config)
    for key, only in (("experiment", settings.AUTO), ("seeds", ""), ("fold_repeats", 1), ("fold", 0)):
        if config[key] != only:
            raise InputError(f"{key}: {config[key]!r}, but to choose a recipe it must be {only!r}")


def with_changes(record: Record, workdir: Workdir, config: ConfigDict) -> ConfigDict:
    """Returns the settings of a finished choice, with what ``config`` changes in them or in those of its final run."""
    choice = settings.from_dict(record.requested)
    stored = choice if config.experiment == settings.AUTO else workdir.read_config()
    if differing := settings.differences(stored, config, measuring=True):
        raise InputError(
            f"--workdir={workdir.path}: holds a run with other settings ({settings.shortened(differing)}); choose "
            "another with --workdir"
        )
    before, requested = settings.flatten(stored), settings.flatten(config)
    changed = {key: value for key, value in requested.items() if before[key] != value and key not in _OF_CHOOSING}
    choice.update_from_flattened_dict(changed)
    return choice


def own_record(record: Record | None, config: ConfigDict, workdir: Workdir, *, measuring: bool = False) -> Record:
    """Returns the record to continue; raises InputError if the directory belongs to something else."""
    requested = settings.config_to_dict(settings.with_absolute_paths(config))
    if record is None:
        if workdir.has_config():
            raise InputError(
                f"--workdir={workdir.path}: holds a run that was trained without --minutes or a choice of the recipe; "
                "choose another with --workdir"
            )
        return Record(requested, precision=precision.resolved(config.precision))
    if not measuring and not workdir.results.exists():
        same_settings.refuse_other_precision(workdir, "the choice was begun", record.precision or None, config)
    stored = settings.from_dict(record.requested)
    if stored.precision == "auto" and config.precision == record.precision:
        requested["precision"] = "auto"  # it is the same
    differing = settings.differences(stored, requested, measuring=measuring)
    for key in _OF_CHOOSING:  # ``differences`` leaves these out
        if key == "minutes" and not (record.rungs or record.final):
            continue
        if stored[key] != requested[key]:
            differing.append(f"{key}: {stored[key]!r} stored, {requested[key]!r} requested")
    if differing:
        raise InputError(
            f"--workdir={workdir.path}: holds a run with other settings ({settings.shortened(differing)}); choose "
            "another with --workdir"
        )
    record.requested = requested
    return record
