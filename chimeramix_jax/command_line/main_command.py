"""The flags of ``chimeramix`` itself, which trains, measures and uses one run, or several seeds of it."""

from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.auto.record import Record
from chimeramix_jax.command_line import actions, changed_settings, exits, time_limit
from chimeramix_jax.command_line.flags import Arguments, Flag, parse, refuse_unknown
from chimeramix_jax.command_line.help_text import Entry, Help
from chimeramix_jax.command_line.subcommands import SUBCOMMANDS, usage
from chimeramix_jax.errors import InputError, not_one_of
from chimeramix_jax.paths import local_path
from chimeramix_jax.runs import model_archive, replacement
from chimeramix_jax.runs.model_archive import ModelArchive
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.use import export_formats, generation_formats, outputs, prediction_formats

DEFAULT_CONFIG = "digits"
CHECK = "check"  # the stage that only looks at the data
UPDATE = "update"  # the stage that trains again if the photos have changed
USES = ("predict", "generate", "export")  # stages that use what a run has trained, and change nothing in it

_OF_A_RUN = (*USES, CHECK, UPDATE, *settings.MEASURING_STAGES)  # stages that use a run, and begin none
_TRAINING = tuple(stage for stage in settings.STAGES if stage not in settings.MEASURING_STAGES)
_TAKEN_BY = {  # the flags that only some stages take
    "retrain": _TRAINING,
    "generator_workdir": settings.STAGES,
    "folds": (*settings.STAGES, CHECK),
    "fold_repeats": (*settings.STAGES, CHECK),
    "minutes": ("all",),
    "images": ("predict",),
    "explain": ("predict",),
    "reject_below": ("predict",),
    "count": ("generate",),
    "generate_seed": ("generate",),
    "format": USES,
    "half": ("export",),
    "output": USES,
}
_TAKE_MODEL_FILES = ("predict", "report", "export")  # stages that need no more of a run than its classifier
_OF_OWN_PHOTOS = ("dataset.directory:", "dataset.fit:")  # errors about settings that the default cannot use
_SHORT_FOR_SETTINGS = ("folds", "fold_repeats", "minutes")  # flags that set the setting of the same name
_NEEDED_BY = (
    ("images", ("predict",), "photos"),
    ("count", ("generate",), "1000"),
    ("workdir", (*USES, UPDATE), "runs/mine"),
)

HELP = Help(
    usage=(
        "[FLAGS]",
        *map(usage, SUBCOMMANDS),
    ),
    summary="Trains an image classifier on very few labelled images with ChimeraMix, and measures its accuracy.",
    examples=(
        (
            "--config=image_folder --config.dataset.directory=photos",
            "Train on your own photos, which are in one folder per class.",
        ),
        (
            "--stage=predict --workdir=runs/mine --images=new-photos",
            "Classify other photos with the classifier that was trained in runs/mine.",
        ),
        (
            "--stage=update --workdir=runs/mine",
            "Train again after photos were added, and compare the new classifier with the old one.",
        ),
        (
            "--stage=export --workdir=runs/mine --output=photos.onnx",
            "Write this classifier as a file for ONNX Runtime, which needs neither Python nor JAX.",
        ),
        ("", "Train on handwritten digits, with and without mixing. Nothing is downloaded."),
        (
            "--config=cifair10:chimeramix_grid --config.max_labels_per_class=10",
            "Run a published experiment: ciFAIR-10 with ten images per class.",
        ),
    ),
    groups={
        "Subcommands (each has its own --help)": tuple(
            Entry(name, subcommand.summary) for name, subcommand in SUBCOMMANDS.items()
        ),
        "Settings": (
            Flag(
                "config=FILE[:EXPERIMENT]",
                "The settings: a Python file, or the name of one in configs/. docs/experiments.md lists the "
                "experiments, and docs/own_ideas.md says how a file adds experiments, networks and more of your own. "
                f"Default: those of the run in --workdir, or else {DEFAULT_CONFIG}. On a GPU, the "
                "name image_folder stands for image_folder_gpu.",
            ),
            Entry(
                "--config.KEY=VALUE",
                "Change one setting, such as --config.seed=1, --config.generator.epochs=50 or "
                "--config.generator.learning_rate_drops='(0.5, 0.8)'. chimeramix_jax/config/defaults.py documents all "
                "settings.",
            ),
            Entry(
                "--config.seeds=0,1,2",
                "Train several seeds together (0:3 means the same). Each has its own folder and gets the same results "
                "as when trained alone. A table with mean and 95 % interval is printed at the end.",
            ),
        ),
        "Where the run is stored": (
            Flag(
                "workdir=FOLDER",
                "The run's folder. A run that was interrupted continues from there, with its own settings if --config "
                "is left out. Default: a folder in runs/, named after data set, experiment and seed. For several "
                "seeds: the folder that contains theirs, or a pattern such as runs/mine-{seed}.",
            ),
        ),
        "What to train or measure": (
            Flag(
                "stage=" + "|".join((*settings.STAGES, CHECK, UPDATE, *USES)),
                "all (default): train, measure and report. Finished stages are not repeated.\n"
                "generator, classifier: train only this network.\n"
                "evaluate: measure the accuracy again.\n"
                "report: write report.html and model_card.md again.\n"
                "check: only look at the data: classes, image sizes, copies, unreadable files.\n"
                "update: if photos of the run in --workdir were added, removed or moved, train it again with the same "
                "settings, compare the new model with the old one, and keep the old one in a folder of the run.\n"
                "predict, generate, export: use the trained networks; see below.",
                default="all",
            ),
            Flag(
                "retrain",
                "Train the stage again even if it is finished. The old files are kept. If that is interrupted, the "
                "same command continues it.",
                default=False,
            ),
            Flag(
                "generator_workdir=FOLDER",
                "Use the generator of the run in this folder instead of training one. Default: that of a run beside "
                "this one, if it was trained with the same settings on the same images.",
            ),
        ),
        "Cross-validation: an accuracy from few images": (
            Flag(
                "folds=N",
                "Divide the training images into N folds and train a model without each, so that every image is "
                "predicted once by a model that has not seen it; then train the final model on all of them. The "
                "accuracy of these predictions is what to expect of the final model. Images in test/ are only used by "
                "the final model. The same as --config.folds=N.",
                lowest=2,
                highest=1000,
            ),
            Flag(
                "fold_repeats=N",
                "Repeat the division N times, with different folds. The same as --config.fold_repeats=N.",
                highest=1000,
            ),
        ),
        "A limit on the time": (
            Flag(
                "minutes=MINUTES",
                "Train for so many minutes altogether: the number of epochs depends on the machine's speed, and with "
                "image_folder the size of the images does, too. With --config=FILE:auto (30 minutes by default), "
                "recipes are compared for most of the time, and the best is trained; --config.recipes=NAMES chooses "
                "which are compared.",
                highest=100_000,
            ),
        ),
        "Using a trained run (--stage=predict, generate or export, with --workdir)": (
            Flag(
                "images=PATH[,PATH...]",
                "predict: the images to classify: files, folders, and patterns in quotes, such as 'more/*.jpg'.",
                repeatable=True,
            ),
            Flag(
                "explain=FOLDER",
                "predict: also write a picture of each image into this new folder, which shows what speaks for its "
                "class and what for another. docs/explanations.md says how to read it.",
            ),
            Flag(
                "reject_below=PROBABILITY",
                "predict: answer 'none of these' for images whose most probable class has a lower probability, from 0 "
                "to 1. The run's report shows what that costs, and docs/calibration.md what it cannot do.",
            ),
            Flag("count=N", "generate: how many mixed images to write, equally many per class."),
            Flag(
                "generate_seed=N",
                "generate: the random seed. The same seed gives the same images. Default: 0.",
                default=0,
                lowest=0,
                highest=settings.LARGEST_SEED,
            ),
            Flag(
                "format=NAME",
                "predict: table, csv or json. Default: by the ending of --output (.csv, .json), else table.\n"
                "generate: png (default) or array_record, a data set for TFDS.\n"
                "export: onnx, stablehlo, savedmodel, or model: one file that predict, report and export take as "
                "--workdir. Default: by the ending of --output: .onnx, .stablehlo, .savedmodel or .zip. "
                "docs/export.md describes them.",
            ),
            Flag("half", "export: store the weights in 16 bits, which halves the file.", default=False),
            Flag(
                "output=PATH",
                "predict: the file for the classes. Default, and -: standard output.\n"
                "generate: a new folder for the images. Default: generated, in the run's folder.\n"
                "export: the file, or a new folder for a SavedModel. Default: model.onnx and so on, in the run's "
                "folder.",
            ),
        ),
        "Other flags": (
            Entry("--help", "Print this text."),
            Entry("--version", "Print the version."),
        ),
    },
    exit_codes={
        0: "Everything is done.",
        1: "A disk or memory is full, or some of --images could not be read.",
        2: "A flag, setting or file cannot be used.",
        3: "A loss or a gradient was not finite.",
        130: "Stopped by Ctrl-C. The same command continues the run.",
        143: "Stopped by SIGTERM or SIGUSR1, or its terminal was closed. The same command continues the run.",
    },
)


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Returns the flags' values and, as ``config``, the settings with their changes, checked."""
    parsed, rest = parse(arguments, HELP.flags)
    _resolve_paths(parsed)
    overrides = [f"--config.{name}={getattr(parsed, name)}" for name in _SHORT_FOR_SETTINGS if name in parsed.given]
    rest = changed_settings.spelled_out([*overrides, *rest])
    if "seed" in settings.overridden(rest) and _requested_seeds(rest):
        raise InputError("seed: was set, but seeds lists the seeds to train; give only one of the two")
    _refuse_model_file(parsed)
    parsed.source, parsed.overrides = parsed.config, rest
    of_run = _settings_of_run(parsed, rest) if parsed.config is None and parsed.workdir is not None else None
    is_default = parsed.config is None and of_run is None
    parsed.config = of_run or settings.load(DEFAULT_CONFIG if parsed.config is None else parsed.config)
    refuse_unknown(settings.override(parsed.config, rest), HELP.flags, settings.SETTINGS)
    _refuse_flags_of_other_stages(parsed)
    is_timed = "minutes" in settings.overridden(rest)
    if is_timed and parsed.stage != "all" and parsed.config.experiment != settings.AUTO:
        raise InputError(f"minutes: --stage={parsed.stage} does not take it; it is for all")
    if parsed.config.experiment == settings.AUTO:
        time_limit.refuse_epochs(rest)
    elif is_timed and of_run is not None:
        raise InputError(f"--minutes: --workdir={parsed.workdir} holds a run that was begun without it; leave it out")
    elif is_timed:
        source = parsed.source or DEFAULT_CONFIG
        parsed.source, parsed.overrides = time_limit.choice_of_one(source, parsed.config, rest)
    if parsed.source and (is_timed or parsed.config.experiment == settings.AUTO):
        parsed.config = time_limit.settings_of(parsed.source, parsed.overrides)
    stored = of_run is not None or parsed.stage in _OF_A_RUN
    _check_settings(parsed, stored=stored, is_default=is_default and "dataset.name" not in settings.overridden(rest))
    if parsed.config.seeds and parsed.stage in (*USES, UPDATE):
        raise InputError(f"seeds: {parsed.config.seeds!r}, but --stage={parsed.stage} uses one run; name its --workdir")
    _choose_format(parsed)
    return parsed


def _check_settings(parsed: Arguments, *, stored: bool, is_default: bool) -> None:
    """Checks the settings; an error about own photos says that they are those of the default, if they are."""
    try:
        settings.check(parsed.config, environment=parsed.stage not in USES, stored=stored)
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
    if parsed.stage in (CHECK, *USES):
        return "nothing was written"
    return f"the same command continues the {'update' if parsed.stage == UPDATE else 'run'}"


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
    if parsed.stage == UPDATE:
        return replacement.stored_settings(run)
    seeds = _requested_seeds(overrides) if parsed.stage not in USES else ()
    if seeds:
        run = Workdir(settings.seed_in(parsed.workdir, seeds[0]))
    if parsed.stage in _TRAINING and (record := Record.read(run)) is not None:
        return settings.from_dict(record.requested)
    if parsed.stage in (*USES, *settings.MEASURING_STAGES) or run.has_config():
        return run.read_config()
    if parsed.stage == CHECK:
        raise InputError(
            f"--workdir={parsed.workdir}: holds no run, so --stage={parsed.stage} also needs --config, such as "
            f"--config={DEFAULT_CONFIG}"
        )
    return None


def _refuse_model_file(parsed: Arguments) -> None:
    """Raises InputError if ``--workdir`` is a file and the stage needs more than a model file."""
    if parsed.workdir is not None and parsed.stage not in _TAKE_MODEL_FILES and model_archive.is_file(parsed.workdir):
        raise InputError(
            f"--workdir={parsed.workdir}: is a file; --stage={parsed.stage} needs a run's folder, and only "
            f"{', '.join(_TAKE_MODEL_FILES)} also take a model file"
        )


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
    elif parsed.stage in USES:
        predicts = parsed.stage == "predict"
        known = tuple(prediction_formats.FORMATS) if predicts else generation_formats.FORMATS
        if parsed.format is None:
            parsed.format = prediction_formats.format_of(parsed.output) if predicts else generation_formats.PNG
        if parsed.format not in known:
            raise not_one_of("--format", parsed.format, known)


def _refuse_flags_of_other_stages(parsed: Arguments) -> None:
    """Refuses flags that the stage would ignore, and the lack of those that it needs."""
    for name, stages in _TAKEN_BY.items():
        if name in parsed.given and parsed.stage not in stages:
            raise InputError(f"--{name}: --stage={parsed.stage} does not take it; it is for {', '.join(stages)}")
    for name, stages, example in _NEEDED_BY:
        if parsed.stage in stages and name not in parsed.given:
            raise InputError(f"--{name}: --stage={parsed.stage} needs it, such as --{name}={example}")


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
