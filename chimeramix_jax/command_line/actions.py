"""What each ``--stage`` does.

The package's public functions load JAX when they are first used, which is here, after every flag has been checked.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich import filesize

import chimeramix_jax
from chimeramix_jax import config as settings
from chimeramix_jax import files
from chimeramix_jax.auto import menu
from chimeramix_jax.command_line import device_settings, exits
from chimeramix_jax.command_line.flags import Arguments
from chimeramix_jax.config import shipped
from chimeramix_jax.config.catalog import dataset_entry
from chimeramix_jax.data import image_paths
from chimeramix_jax.errors import InputError, StorageError
from chimeramix_jax.reporting import results as reporting
from chimeramix_jax.reporting import seed_table, update_text
from chimeramix_jax.reporting.wording import counted
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import backend, compilation_cache, cpu_setup, determinism, jax_settings, stopping
from chimeramix_jax.use import outputs, prediction_accuracy, prediction_formats


def perform(arguments: Arguments) -> int:
    """Runs the stage, prints its results and returns the exit code."""
    cpu_setup.prepare()
    jax_settings.use_own()
    determinism.ask_for(arguments.config)
    compilation_cache.enable()
    backend.check()
    arguments.config = device_settings.chosen(
        arguments.config, arguments.source, arguments.overrides, arguments.workdir
    )
    resumes = arguments.stage in (*settings.STAGES, "update")
    with stopping.listening(stopping.CONTINUES if resumes else "nothing is finished"):
        return _ACTIONS.get(arguments.stage, train)(arguments)


def train(arguments: Arguments) -> int:
    """Trains or measures the run, or the runs of several seeds, and prints a table of results."""
    options = {name: getattr(arguments, name) for name in ("stage", "retrain", "generator_workdir")}
    config, workdir = arguments.config, arguments.workdir
    if config.experiment == settings.AUTO or _was_chosen(workdir):
        return _choose(arguments)
    if config.seeds:
        text = seed_table.closing_text(chimeramix_jax.train_and_evaluate_seeds(config, workdir, **options))
    else:
        workdir = workdir or settings.default_workdir(config)
        results = chimeramix_jax.train_and_evaluate(config, workdir, **options)
        text = reporting.closing_text(results) + _next_steps(workdir, results)
    print(text, end="\n" if text else "")
    return 0


def _next_steps(workdir: str, results: Mapping[str, Any]) -> str:
    """Returns what own photos gave, what to look at and what to do next, as lines below the results.

    Empty without a report in the run.
    """
    from chimeramix_jax.report import commands  # loads JAX, as all of this package's public functions do

    run = Workdir(workdir)
    if not results.get("summary") or not run.report.is_file():
        return ""
    is_own = dataset_entry(results["dataset"]).source == "directory"
    in_words = f"\n\n{reporting.in_one_sentence(results)}" if is_own else ""
    return f"{in_words}\n\nreport:           {run.report}\nclassify photos:  {commands.classify_photos(run)}"


def check(arguments: Arguments) -> int:
    """Prints what a look at the data finds, for every seed, and says why the run would be refused."""
    from chimeramix_jax.workflow import data_check  # loads JAX, as all of this package's public functions do

    config, refused = arguments.config, False
    for seed in settings.parse_seeds(config.seeds) or (config.seed,):
        of_seed = settings.config_of_seed(config, seed)
        workdir = arguments.workdir or settings.default_workdir(of_seed)
        if config.seeds and arguments.workdir:
            workdir = settings.seed_in(arguments.workdir, seed)
        checked = data_check.checked(of_seed, workdir)
        title = [f"seed {seed}"] if config.seeds else []
        print(*title, checked.text(), sep="\n")
        for problem in checked.problems:
            exits.say(str(problem))
        refused = refused or bool(checked.problems)
    return InputError.exit_code if refused else 0


def update(arguments: Arguments) -> int:
    """Trains the run again if its photos have changed, and prints how the new model compares with the old one."""
    from chimeramix_jax.report import commands  # loads JAX, as all of this package's public functions do

    updated = chimeramix_jax.update(arguments.workdir, config=arguments.config)
    run = Workdir(arguments.workdir)
    if not updated["changes"]:
        print(f"nothing to update: {run.path} was trained on the photos as they are now")
        return 0
    record, old = updated["update"], Workdir(run.path / updated["update"]["before"])
    print(reporting.closing_text(updated), update_text.text(record), sep="\n\n", end="\n\n")
    if update_text.is_worse(record):
        print("To go on with the old model, use its folder as --workdir; it is a whole run.")
    print(f"report:           {run.report}\nold model:        {old.path}")
    print(f"classify photos:  {commands.classify_photos(run)}")
    print(f"with the old one: {commands.classify_photos(old)}")
    return 0


def _was_chosen(workdir: str | None) -> bool:
    """Whether the run's recipe was chosen by the program."""
    return workdir is not None and Workdir(workdir).auto_record.exists()


def _choose(arguments: Arguments) -> int:
    """Trains within a given time, chooses a recipe before if there are several, or measures a run of this kind."""
    for name in ("retrain", "generator_workdir"):
        if name in arguments.given:
            raise InputError(
                f"--{name}: cannot be used with --minutes or a choice of the recipe, nor in the folder of such a run; "
                "leave it out, or name another --workdir"
            )
    _say_what_recipes_set(arguments)
    workdir = arguments.workdir or settings.default_workdir(arguments.config)
    results = chimeramix_jax.choose_and_train(arguments.config, workdir, stage=arguments.stage)
    text = reporting.closing_text(results) + _next_steps(workdir, results)
    print(text, end="\n" if text else "")
    return 0


def _say_what_recipes_set(arguments: Arguments) -> None:
    """Warns of settings on the command line that some of the recipes to choose from do not use."""
    for argument in arguments.overrides:
        key = argument.removeprefix("--config.").partition("=")[0]
        if recipes := menu.recipes_setting(key, arguments.config):
            exits.say(f"warning: {key}: is overridden by {', '.join(recipes)}")


def predict(arguments: Arguments) -> int:
    """Prints or writes the classes of the images that can be read, and names the others.

    Anything more, such as the accuracy where true classes are known, follows on standard output, or on standard error
    if standard output is for other programs.
    """
    from chimeramix_jax.use.images import FoundFiles  # loads JAX, as all of this package's public functions do

    if arguments.output is not None:
        _refuse_output(arguments)
    for text in [] if arguments.explain is None else arguments.images:
        outputs.refuse_among_photos(outputs.target(arguments.explain, "--explain"), "--explain", text, arguments.config)
    images = chimeramix_jax.predict(
        arguments.workdir,
        FoundFiles(image_paths.find(arguments.images)),
        config=arguments.config,
        explain=arguments.explain,
        reject_below=arguments.reject_below,
        most_classes=prediction_formats.MOST_CLASSES,
    )
    predictions = [image for image in images if image.error is None]
    for image in images:
        if image.error is not None:
            exits.say(str(image.error))
    if arguments.reject_below is not None:
        warn_unless_calibrated(arguments.workdir)
    text = prediction_formats.FORMATS[arguments.format](predictions)
    if arguments.output is None:
        print(text, end="")
    else:
        _write(arguments.output, text)
    notes = []
    if any(prediction.true_class is not None for prediction in predictions):
        notes.append(prediction_accuracy.accuracy_text(predictions, chimeramix_jax.class_names(arguments.workdir)))
    if arguments.explain is not None:
        notes.append(f"written: pictures of {counted(len(predictions), 'image')}\n  {arguments.explain}\n")
    if notes:
        printed = arguments.output is None or files.leads_to_standard_output(arguments.output)
        below = printed and arguments.format == "table"
        print("\n" * below + "\n".join(notes), end="", file=sys.stderr if printed and not below else sys.stdout)
    if len(predictions) < len(images):
        exits.say(f"{len(images) - len(predictions)} of {counted(len(images), 'image')} could not be read")
        return exits.PARTLY_DONE
    return 0


def _refuse_output(arguments: Arguments) -> None:
    """Raises InputError if the file that ``--output`` names must not be replaced, before any image is read."""
    path = Path(arguments.output)
    if arguments.explain is not None and path.absolute() == Path(arguments.explain).absolute():
        raise InputError(f"--output={path}: is the folder of --explain; name another file")
    if not path.is_file() or files.leads_to_standard_output(path):
        return
    others = arguments.workdir, shipped.separated(arguments.source or "")[0], arguments.config.dataset.directory
    outputs.refuse_inputs(path, "--output", [*others, *image_paths.find(arguments.images)])
    outputs.refuse_other_kind(path, "--output", "text", outputs.is_text)


def warn_unless_calibrated(workdir: str) -> None:
    """Says that a threshold may not mean what it says if the run has no temperature."""
    from chimeramix_jax.runs import calibration, restore  # load JAX, as all of this package's public functions do

    if calibration.temperature_of(restore.source_of(workdir)) == 1.0:
        exits.say(
            "--reject_below: the run has no temperature, so its probabilities may be too high or too low; "
            "docs/calibration.md says how to get one"
        )


def generate(arguments: Arguments) -> int:
    """Writes mixed images and prints where they are."""
    folder = chimeramix_jax.generate(
        arguments.workdir,
        arguments.count,
        arguments.output,
        seed=arguments.generate_seed,
        file_format=arguments.format,
        config=arguments.config,
    )
    print(f"written: {counted(arguments.count, 'mixed image')}\n  {folder}")
    return 0


def export(arguments: Arguments) -> int:
    """Writes the classifier as a file and prints where it is, and how it was checked."""
    exported = chimeramix_jax.export(
        arguments.workdir,
        arguments.output,
        file_format=arguments.format,
        half=arguments.half,
        config=arguments.config,
    )
    print(f"written: {filesize.decimal(exported.size)}\n  {exported.path}")
    if (agreement := exported.agreement) is not None:
        print(
            f"checked on {counted(agreement.images, f'{agreement.kind} image')}: {_same_classes(agreement.near_ties)}, "
            f"and probabilities within {agreement.difference:.1g}"
        )
    return 0


def _same_classes(near_ties: int) -> str:
    """Says whether an exported file gives all images the same class; ``near_ties`` are those that it does not."""
    if not near_ties:
        return "the same classes"
    if near_ties == 1:
        return "the same classes but for 1 image, whose two most probable classes are nearly equal"
    return f"the same classes but for {near_ties} images, whose two most probable classes are nearly equal"


_ACTIONS: Mapping[str, Callable[[Arguments], int]] = {
    "check": check,
    "update": update,
    "predict": predict,
    "generate": generate,
    "export": export,
}


def _write(path: str, text: str) -> None:
    """Writes the file that ``--output`` names, replacing an older one."""
    try:
        files.write_text(path, text)
    except StorageError:
        raise
    except OSError as error:
        raise InputError(f"--output={path}: cannot be written: {error.strerror}") from None
