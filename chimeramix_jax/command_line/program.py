"""Trains an image classifier from very few labelled images with ChimeraMix, and says how good it is.

Examples:
    python main.py
        handwritten digits, with and without mixing; nothing to download
    python main.py --config=configs/cifair10.py:chimeramix_grid --config.max_labels_per_class=10
        a published experiment: ciFAIR-10 with ten images per class
    python main.py --config=configs/image_folder.py --config.dataset.directory=path/to/images
        your own images
    chimeramix --config=digits:baseline
        the same program where it is installed; its own settings need no path

Flags:
    --config=FILE[:EXPERIMENT]
        the settings (default: configs/digits.py, which the bare name digits also means);
        chimeramix_jax/config/experiments.py lists the experiments
    --config.KEY=VALUE
        another value for one setting, such as --config.seed=1, --config.generator.epochs=50 or
        --config.generator.learning_rate_drops='(0.5, 0.8)'; chimeramix_jax/config/defaults.py documents every setting
    --workdir=FOLDER
        where the run's files go (default: a folder under runs/ named after data set, experiment and seed);
        a run that was interrupted continues from there
    --config.seeds=0,1,2 (or 0:3, the same)
        these seeds together, each as if run alone and in a folder of its own, and a table over them at the end;
        --workdir names the folder around these, or them all, as in --workdir=runs/mine-{seed}
    --stage=all|generator|classifier|evaluate|report
        what to do (default: all); stages that are finished are not repeated
    --stage=predict --images=PATH[,PATH...]
        the classes of images: files, folders and quoted patterns, by the trained classifier of --workdir
    --stage=generate --count=N [--generate_seed=0]
        N mixed images of the run in --workdir, as many of each class, for training elsewhere
    --generator_workdir=FOLDER
        use the generator of the run in this folder instead of training one (default: that of a run beside this
        one, if it was trained with the same settings and images)
    --retrain
        train the chosen stage again although it is finished; its old files are moved aside, never deleted

Flags of these last two, which use the settings of the run in --workdir (any --config must agree with them):
    --format=table|csv|json, or --format=png|array_record
        how predictions, or images, are written (default: the first of each)
    --output=PATH
        a file for the predictions (default: standard output), or a new folder for the images (default: generated, in
        --workdir); without --format, predictions for a FILE.csv or a FILE.json are written so

    --version
        which this is

Exit codes:
    0 done; 1 no room left in memory, a file could not be written, or some of --images not be read; 2 something given
    cannot be used; 3 a loss or a gradient was not finite; 130 stopped from the keyboard; 143 stopped by SIGTERM or
    SIGUSR1. After 130 and 143 the same command goes on.
"""

import importlib.metadata
import os
import re
import sys
import tomllib
import warnings
from typing import Any, NoReturn

from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.errors import InputError, NonFiniteError, StorageError, in_one_line, not_one_of
from chimeramix_jax.paths import local_path
from chimeramix_jax.reporting import results as reporting
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import compilation_cache, console, cpu_setup, determinism, stopping

DEFAULT_CONFIG = "digits"
LESS_MEMORY = (
    "smaller batches (batch_size of --config.generator, --config.classifier and --config.evaluation) need less, "
    "and so do fewer seeds at once (--config.seeds_per_call)"
)
PATH_FLAGS = ("workdir", "generator_workdir", "output")
USES = ("predict", "generate")  # stages that use what a run has trained, and change nothing in it
OF_A_RUN = (*USES, *settings.MEASURING_STAGES)  # stages that take their settings from a run where no --config is given
FLAGS_OF_STAGES = {
    "retrain": settings.STAGES,
    "generator_workdir": settings.STAGES,
    "images": ("predict",),
    "count": ("generate",),
    "generate_seed": ("generate",),
    "format": USES,
    "output": USES,
}

flags.DEFINE_string("workdir", None, "where the run's files go")
flags.DEFINE_enum("stage", "all", (*settings.STAGES, *USES), "what to do")
flags.DEFINE_string("generator_workdir", None, "the run whose generator to use")
flags.DEFINE_boolean("retrain", False, "train the chosen stage again although it is finished")
flags.DEFINE_multi_string("images", None, "the images to classify")
flags.DEFINE_integer("count", None, "how many images to generate", lower_bound=1)
flags.DEFINE_integer("generate_seed", 0, "draws them", lower_bound=0, upper_bound=settings.LARGEST_SEED)
flags.DEFINE_string("format", None, "how predictions or images are written")
flags.DEFINE_string("output", None, "where they go")


class IntegerOrNone(flags.ArgumentParser):
    """Reads a whole number, or None: so that ``--config.max_labels_per_class=None`` can ask for all images."""

    def parse(self, argument: str | int | None) -> int | None:
        """Returns the value; text that is neither raises ValueError."""
        return None if argument in (None, "None") else int(argument)


def parse_arguments(arguments: list[str]) -> list[str]:
    """Parses the command line into ``flags.FLAGS``; a mistake ends the program with one line and exit code 2."""
    if {"--help", "-help", "-h", "-?"} & set(arguments):
        print(__doc__)
        sys.exit(0)
    if "--version" in arguments:
        print(f"chimeramix {version()}")
        sys.exit(0)
    try:
        own = flags.FlagValues()
        own.set_gnu_getopt(True)  # so that --config may stand anywhere
        flags.DEFINE_string("config", None, "", flag_values=own)
        rest = own(arguments, known_only=True)
        config = settings_to_change(own["config"].value, rest)
        for override in filter(None, (re.match(r"--?(?:no)?config\.([^=]*)", argument) for argument in rest[1:])):
            settings.check_key(override[1], settings.SETTINGS)
        config_flags.register_flag_parser_for_type(int, IntegerOrNone())
        config_flags.DEFINE_config_dict("config", config, sys_argv=rest)
        for unexpected in flags.FLAGS(rest)[1:]:
            raise InputError(f"{unexpected!r}: not understood; flags start with --, and --help lists them")
    except (flags.Error, ValueError) as error:  # InputError is a ValueError
        fail(settings.explain(str(error)))
    return rest[:1]


def version() -> str:
    """The program's version, also in a checkout that is not installed."""
    try:
        return importlib.metadata.version("chimeramix_jax")
    except importlib.metadata.PackageNotFoundError:
        project = settings.shipped.folder().parent / "pyproject.toml"
        return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]


def settings_to_change(source: str | None, arguments: list[str]) -> ConfigDict:
    """The settings that ``--config.KEY=VALUE`` changes: a config file's or, where a run is used, that run's own.

    Where several seeds are, they are those of the first, from which the others differ in the seed only.
    """
    asked = flags.FlagValues()
    asked.set_gnu_getopt(True)
    for name in ("stage", "workdir", "config.seeds"):
        flags.DEFINE_string(name, None, "", flag_values=asked)
    asked(arguments, known_only=True)
    stage, workdir = asked["stage"].value, asked["workdir"].value
    if source is None and stage in OF_A_RUN and workdir is not None:
        seeds = settings.parse_seeds(asked["config.seeds"].value or "") if stage in settings.MEASURING_STAGES else ()
        run = Workdir(settings.seed_in(workdir, seeds[0]) if seeds else workdir)
        if stage in USES or run.config.exists():
            return run.read_config()
    return settings.load(DEFAULT_CONFIG if source is None else source)


def fail(message: str, exit_code: int = InputError.exit_code) -> NoReturn:
    """Ends the program with one line on standard error."""
    say(message)
    sys.exit(exit_code)


def say(message: str) -> None:
    """Prints one line on standard error."""
    print(f"chimeramix: {in_one_line(message)}", file=sys.stderr)


class Warnings:
    """Tells each warning once, in one line, without the line of code that it came from."""

    def __init__(self) -> None:
        """Nothing is told yet."""
        self._told: set[str] = set()

    def tell(self, message: Warning | str) -> None:
        """Prints the warning, unless it has been told before."""
        if str(message) not in self._told:
            self._told.add(str(message))
            say(f"warning: {message}")


def report_unraisable(what: Any) -> None:
    """Reports errors that nobody can catch as Python does, but for those of a checkpoint that was given up.

    Where one of its writers has no room, TensorStore's others find that nobody waits for them any more.
    """
    if not (isinstance(what.exc_value, RuntimeError) and str(what.exc_value) == "Event loop is closed"):
        sys.__unraisablehook__(what)


def main(_: list[str]) -> None:
    """Checks the settings, runs the chosen stage, and prints what came of it."""
    logging.set_verbosity(logging.FATAL)  # what the libraries note is not this program's, and errors come as exceptions
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # the same for XLA, whose errors stay
    sys.unraisablehook = report_unraisable
    told = Warnings()
    warnings.showwarning = lambda message, *_: told.tell(message)
    config = flags.FLAGS.config
    asked: dict[str, Any] = {name: flags.FLAGS[name].value for name in ("stage", "retrain")}
    uses_run = asked["stage"] in USES
    try:
        refuse_flags_of_other_stages(asked["stage"])
        take_paths(asked["stage"])
        settings.check(config, environment=not uses_run, stored=asked["stage"] in OF_A_RUN)
        refuse_what_does_not_fit_seeds(config)
        cpu_setup.prepare()
        determinism.ask_for(config)
        with stopping.listening():
            if uses_run:
                text = use_run(config, asked["stage"])
            else:
                text = train_seeds(config, **asked) if config.seeds else train_one(config, **asked)
        print(text, end="\n" if text else "")
    except (InputError, StorageError, NonFiniteError) as error:
        fail(str(error), error.exit_code)
    except OSError as error:  # of a library that writes files of its own
        if error.errno not in (*files.NO_ROOM, *files.CLOSED):
            raise
        fail(f"{error.filename or 'a file'}: cannot be written: {error.strerror}", StorageError.exit_code)
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        fail(f"{first_line(error)}; {LESS_MEMORY}", StorageError.exit_code)
    except stopping.Stopped as stopped:
        what_is_left = "nothing was written" if uses_run else "the same command continues the run"
        fail(f"stopped ({stopped}); {what_is_left}", stopped.exit_code)
    except KeyboardInterrupt:
        fail("interrupted; the same command continues the run", 130)


def is_out_of_memory(error: Exception) -> bool:
    """Whether the host or, as JAX says by a status of XLA, a device has no memory left."""
    return isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)


def first_line(error: Exception) -> str:
    """What an error says, without the tables of buffers that XLA adds."""
    return f"out of memory: {str(error).strip().partition(chr(10))[0] or 'on the host'}"


def refuse_flags_of_other_stages(stage: str) -> None:
    """Refuses flags that the stage would not look at, and asks for those that it needs."""
    for name, stages in FLAGS_OF_STAGES.items():
        if flags.FLAGS[name].present and stage not in stages:
            raise InputError(f"--{name}: --stage={stage} does not take it; it is for {', '.join(stages)}")
    needs = (("images", ("predict",), "photos"), ("count", ("generate",), "1000"), ("workdir", USES, "runs/mine"))
    for name, needed_by, example in needs:
        if stage in needed_by and flags.FLAGS[name].value is None:
            raise InputError(f"--{name}: --stage={stage} needs it, such as --{name}={example}")


def take_paths(stage: str) -> None:
    """Refuses flags that name no place where files can be, and puts the home folder where ``~`` stands for it."""
    for name in PATH_FLAGS:
        flag = flags.FLAGS[name]
        if flag.value is None:
            continue
        path = local_path(flag.value, f"--{name}")
        if name == "output" and stage == "predict" and (path.is_dir() or flag.value.endswith("/")):
            raise InputError(f"--output={flag.value}: is a folder; --stage=predict writes a file")
        if name == "output" and stage == "predict":
            files.refuse_closed_folder(path, "--output")
        flag.value = str(path)


def refuse_what_does_not_fit_seeds(config: ConfigDict) -> None:
    """Refuses flags that only one run, or only several, can follow."""
    if config.seeds and flags.FLAGS.stage in USES:
        raise InputError(f"seeds: {config.seeds!r}, but --stage={flags.FLAGS.stage} uses one run; name its --workdir")


def train_one(config: ConfigDict, **asked: Any) -> str:
    """Does what is asked of one run; returns what there is to tell."""
    from chimeramix_jax.workflow import one_run  # only now: it imports JAX, and a mistake is to be answered at once

    compilation_cache.enable()
    workdir = flags.FLAGS.workdir or settings.default_workdir(config)
    results = one_run.train_and_evaluate(config, workdir, generator_workdir=flags.FLAGS.generator_workdir, **asked)
    return reporting.closing_text(results)


def use_run(config: ConfigDict, stage: str) -> str:
    """Does what is asked with the networks of a run; returns what there is to tell."""
    compilation_cache.enable()
    return (predict if stage == "predict" else generate)(config, flags.FLAGS.workdir)


def predict(config: ConfigDict, workdir: str) -> str:
    """Classifies the images; ends the program if some could not be read, after the others are printed or written."""
    from chimeramix_jax.use import prediction, prediction_formats

    name = flags.FLAGS.format or prediction_formats.format_of(flags.FLAGS.output)
    if name not in prediction_formats.FORMATS:
        raise not_one_of("--format", name, prediction_formats.FORMATS)
    unreadable: list[InputError] = []
    found = prediction.predict(workdir, flags.FLAGS.images, config=config, on_unreadable=unreadable.append)
    for error in unreadable:
        say(str(error))
    if not found:
        raise InputError("--images: none of them can be read")
    text = prediction_formats.FORMATS[name](found)
    if flags.FLAGS.output is not None:
        write_predictions(flags.FLAGS.output, text)
        text = ""
    if unreadable:
        print(text, end="")
        fail(f"{len(unreadable)} of {len(found) + len(unreadable)} images could not be read", exit_code=1)
    return text.removesuffix("\n")


def write_predictions(path: str, text: str) -> None:
    """Writes the file that ``--output`` names, in the place of an older one."""
    try:
        files.write_bytes(path, text.encode())
    except StorageError:
        raise
    except OSError as error:
        raise InputError(f"--output={path}: cannot be written: {error.strerror}") from None


def generate(config: ConfigDict, workdir: str) -> str:
    """Writes mixed images; returns where they are."""
    from chimeramix_jax.use import generation

    asked = flags.FLAGS
    folder = generation.generate(
        workdir,
        asked.count,
        asked.output,
        seed=asked.generate_seed,
        file_format=asked.format or "png",
        config=config,
    )
    return f"written: {asked.count} mixed images\n  {folder}"


def train_seeds(config: ConfigDict, **asked: Any) -> str:
    """Trains several seeds; returns the table over all."""
    from chimeramix_jax.reporting import seed_table
    from chimeramix_jax.workflow import several_seeds

    compilation_cache.enable()
    workdir, generator_workdir = flags.FLAGS.workdir, flags.FLAGS.generator_workdir
    results = several_seeds.train_and_evaluate_seeds(config, workdir, generator_workdir=generator_workdir, **asked)
    return seed_table.closing_text(results)


def run() -> None:
    """Runs the program with the process's arguments."""
    with console.prepared():
        app.run(main, flags_parser=parse_arguments)
