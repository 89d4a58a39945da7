"""``chimeramix`` itself, which trains, measures and uses one run, or several seeds of it."""

from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.auto.record import Record
from chimeramix_jax.command_line import actions, changed_settings, exits, stages, time_limit
from chimeramix_jax.command_line.flags import Arguments, parse, refuse_unknown
from chimeramix_jax.command_line.main_help import DEFAULT_CONFIG, HELP
from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.paths import local_path
from chimeramix_jax.runs import model_archive, replacement
from chimeramix_jax.runs.model_archive import ModelArchive
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.use import export_formats, generation_formats, outputs, prediction_formats

_OF_OWN_PHOTOS = ("dataset.directory:", "dataset.fit:")  # errors about settings that the default cannot use
_SHORT_FOR_SETTINGS = ("folds", "fold_repeats", "minutes")  # flags that set the setting of the same name


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Returns the flags' values and, as ``config``, the settings with their changes, checked."""
    parsed, rest = parse(arguments, HELP.flags)
    _resolve_paths(parsed)
    overrides = [f"--config.{name}={getattr(parsed, name)}" for name in _SHORT_FOR_SETTINGS if name in parsed.given]
    rest = changed_settings.spelled_out([*overrides, *rest])
    if "seed" in settings.overridden(rest) and _requested_seeds(rest):
        raise InputError("seed: was set, but seeds lists the seeds to train; give only one of the two")
    stages.refuse_model_file(parsed)
    parsed.source, parsed.overrides = parsed.config, rest
    of_run = _settings_of_run(parsed, rest) if parsed.config is None and parsed.workdir is not None else None
    is_default = parsed.config is None and of_run is None
    parsed.config = of_run or settings.load(DEFAULT_CONFIG if parsed.config is None else parsed.config)
    refuse_unknown(settings.override(parsed.config, rest), HELP.flags, settings.SETTINGS)
    stages.refuse_flags_of_other_stages(parsed)
    _apply_time_limit(parsed, rest, of_existing_run=of_run is not None)
    stored = of_run is not None or parsed.stage in stages.OF_A_RUN
    _check_settings(parsed, stored=stored, is_default=is_default and "dataset.name" not in settings.overridden(rest))
    if parsed.config.seeds and parsed.stage in (*stages.USES, stages.UPDATE):
        raise InputError(f"seeds: {parsed.config.seeds!r}, but --stage={parsed.stage} uses one run; name its --workdir")
    _choose_format(parsed)
    return parsed


def _apply_time_limit(parsed: Arguments, overrides: Sequence[str], *, of_existing_run: bool) -> None:
    """Makes a run with ``minutes`` a choice of one recipe; raises InputError where the time cannot be limited."""
    is_timed = "minutes" in settings.overridden(overrides)
    if is_timed and parsed.stage != "all" and parsed.config.experiment != settings.AUTO:
        raise InputError(f"minutes: --stage={parsed.stage} does not take it; it is for all")
    if parsed.config.experiment == settings.AUTO:
        time_limit.refuse_epochs(overrides)
    elif is_timed and of_existing_run:
        raise InputError(f"--minutes: --workdir={parsed.workdir} holds a run that was begun without it; leave it out")
    elif is_timed:
        source = parsed.source or DEFAULT_CONFIG
        parsed.source, parsed.overrides = time_limit.choice_of_one(source, parsed.config, overrides)
    if parsed.source and (is_timed or parsed.config.experiment == settings.AUTO):
        parsed.config = time_limit.settings_of(parsed.source, parsed.overrides)


def _check_settings(parsed: Arguments, *, stored: bool, is_default: bool) -> None:
    """Checks the settings; an error about own photos says that they are those of the default, if they are."""
    try:
        settings.check(parsed.config, environment=parsed.stage not in stages.USES, stored=stored)
    except InputError as error:
        if is_default and str(error).startswith(_OF_OWN_PHOTOS):
            raise InputError(
                f"{error}; without --config, the data set is {DEFAULT_CONFIG}: add --config=image_folder"
            ) from None
        raise


def perform(parsed: Arguments) -> int:
    """Does what the flags say; returns the exit code."""
    exits.quiet_libraries()
    return actions.perform(parsed)


def after_stop(parsed: Arguments) -> str:
    """What the user should know when the program was stopped."""
    if parsed.stage in (stages.CHECK, *stages.USES):
        return "nothing was written"
    return f"the same command continues the {'update' if parsed.stage == stages.UPDATE else 'run'}"


def less_memory(parsed: Arguments) -> str:
    """How the user could make the stage need less memory, with flags that it takes; empty: nothing is known."""
    evaluation = "--config.evaluation.batch_size"
    if parsed.stage in ("predict", *settings.MEASURING_STAGES):
        return f"smaller batches need less memory ({evaluation}, here {parsed.config.evaluation.batch_size})"
    if parsed.stage not in settings.STAGES:
        return ""
    seeds = ", and so do fewer seeds at once (--config.seeds_per_call)" if parsed.config.seeds else ""
    return (
        "smaller batches need less memory (batch_size of --config.generator, --config.classifier and "
        f"--config.evaluation; the first two in a new --workdir){seeds}"
    )


def _settings_of_run(parsed: Arguments, overrides: Sequence[str]) -> ConfigDict | None:
    """Returns the settings of the run in ``--workdir``, which ``--config.KEY=VALUE`` changes; None if it holds none.

    A model file takes the place of the run for the stages that need only its classifier. Of a choice of a recipe, these
    are the settings that it was begun with, for the stages that continue it.

    For several seeds, these are the settings of the first; the others differ only in their seed.
    """
    if model_archive.is_file(parsed.workdir):
        return ModelArchive(parsed.workdir).config
    run = Workdir(parsed.workdir)
    if parsed.stage == stages.UPDATE:
        return replacement.stored_settings(run)
    seeds = _requested_seeds(overrides) if parsed.stage not in stages.USES else ()
    if seeds:
        run = Workdir(settings.seed_in(parsed.workdir, seeds[0]))
    if parsed.stage in stages.TRAINING and (record := Record.read(run)) is not None:
        return settings.from_dict(record.requested)
    if parsed.stage in (*stages.USES, *settings.MEASURING_STAGES) or run.has_config():
        return run.read_config()
    if parsed.stage == stages.CHECK:
        raise InputError(
            f"--workdir={parsed.workdir}: holds no run, so --stage={parsed.stage} also needs --config, such as "
            f"--config={DEFAULT_CONFIG}"
        )
    return None


def _requested_seeds(overrides: Sequence[str]) -> Sequence[int]:
    """The seeds of ``--config.seeds``, which is read before the settings that it belongs to are known."""
    parsed = flags.FlagValues()
    parsed.set_gnu_getopt(True)
    flags.DEFINE_string("config.seeds", "", "", flag_values=parsed)
    parsed(["", *overrides], known_only=True)
    return settings.parse_seeds(parsed["config.seeds"].value or "")


def _choose_format(parsed: Arguments) -> None:
    """Completes ``--format`` for the stages that take it; raises InputError if it is none of theirs."""
    if parsed.stage == "export":
        parsed.format = parsed.format or export_formats.format_of(parsed.output)
        export_formats.check(parsed.format, half=parsed.half)
    elif parsed.stage in stages.USES:
        predicts = parsed.stage == "predict"
        known = tuple(prediction_formats.FORMATS) if predicts else generation_formats.FORMATS
        if parsed.format is None:
            parsed.format = prediction_formats.format_of(parsed.output) if predicts else generation_formats.PNG
        if parsed.format not in known:
            raise not_one_of("--format", parsed.format, known)


def _resolve_paths(parsed: Arguments) -> None:
    """Replaces ``~`` in paths by the home folder, and refuses paths that cannot hold files."""
    for name in ("workdir", "generator_workdir", "output", "explain"):
        value = getattr(parsed, name)
        if name == "output" and value == outputs.STANDARD_OUTPUT and parsed.stage == "predict":
            parsed.output = value = None
        if value is None:
            continue
        if name in ("output", "explain"):
            outputs.target(value, f"--{name}")
        path = local_path(value, f"--{name}")
        writes_a_file = parsed.stage == "predict" or (
            parsed.stage == "export"
            and export_formats.SAVEDMODEL not in (parsed.format, export_formats.format_of(value))
        )
        if name == "output" and writes_a_file and (path.is_dir() or value.endswith("/")):
            raise InputError(f"--output={value}: is a folder; --stage={parsed.stage} writes a file")
        if name == "output" and writes_a_file:
            files.refuse_unwritable(path, "--output")
        setattr(parsed, name, str(path))
