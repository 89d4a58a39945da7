"""``chimeramix tune``: searches settings by many trials, and writes the best as a config file."""

import contextlib
import importlib.util
import os
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.command_line import changed_settings, exits, launching
from chimeramix_jax.command_line.flags import Arguments, Flag, parse, refuse_unknown
from chimeramix_jax.command_line.help_text import WIDTH, Entry, Help, program_name
from chimeramix_jax.command_line.ray_flags import RAY_FLAGS, resources
from chimeramix_jax.command_line.subcommands import usage
from chimeramix_jax.config.catalog import dataset_entry
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.dataset import FewShotDataset
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import leaving_no_empty_folders, local_path, printable
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import invocation
from chimeramix_jax.sweep import local, ray_cluster
from chimeramix_jax.sweep.workers import Worker
from chimeramix_jax.tune import outcome, page, space
from chimeramix_jax.tune.outcome import FAILED, RUNNING, Ranking
from chimeramix_jax.tune.trial import Plan

_FIXED = {"seeds": "", "fold": 0}  # settings that a search cannot use, and the value that they must have

HELP = Help(
    usage=(usage("tune"),),
    summary="Searches for settings that make the classifier more accurate. Each trial is an ordinary run in its own "
    "folder, judged on validation images or folds; test images take no part. Trials that are behind are stopped "
    "early. The result is a config file with the best settings, and a page that shows what mattered. The same command "
    "continues a search that was stopped, and several processes, also on several machines that share the folder, can "
    f"work on one search. Needs optuna ({invocation.installing('optuna')}).",
    examples=(
        (
            "tune --config=image_folder --config.dataset.directory=photos --folds=5 --trials=30 --workdir=runs/search",
            "Search for the best settings for your own photos, judged by five folds of them.",
        ),
        (
            "tune --config=cifair10:chimeramix_grid --trials=50 --search=classifier.learning_rate=0.001:0.1:log "
            "--search=mixing.probability=0:1,augment.policy='none|trivialaugment'",
            "Search three settings, judged by the training images outside the few-shot subset.",
        ),
        ("--config=runs/search/best.py", "Train with the best settings, and measure them on the test images."),
    ),
    groups={
        "What to search": (
            Flag(
                "config=FILE[:EXPERIMENT]",
                "The settings to begin with: a file, or one in configs/. Required. Here, image_folder means the "
                "settings for a CPU on every machine; image_folder_gpu names those for a GPU.",
            ),
            Entry("--config.KEY=VALUE", "Change one setting of all trials."),
            Flag(
                "search=KEY=VALUES[,KEY=VALUES...]",
                "The settings to search: KEY=LOW:HIGH, KEY=LOW:HIGH:log for a logarithmic scale, or KEY=A|B|C. "
                "Default: what get_search_space() of the config file returns or else learning rate, weight decay, "
                "epochs, policy and, with mixing, its probability; docs/tune.md has their ranges. May be given several "
                "times.",
                repeatable=True,
            ),
            Flag("trials=N", "How many trials the search has altogether. Default: 30.", default=30, highest=1_000_000),
            Flag(
                "folds=N",
                "Judge each trial by N folds of the training images instead of validation images. The same as "
                "--config.folds=N.",
                lowest=2,
                highest=1000,
            ),
        ),
        "How to search": (
            Flag(
                "sampler=tpe|random",
                "tpe (default): tree-structured Parzen estimator, which learns from earlier trials.",
                default="tpe",
            ),
            Flag(
                "pruner=halving|hyperband|none",
                "Which trials are stopped early. halving (default): after a quarter and after half of the training, "
                "trials in the worse half of those that came so far. hyperband: the same, but some trials only later.",
                default="halving",
            ),
        ),
        "Where": (
            Flag("workdir=FOLDER", "The search's folder. Default: runs/tune.", default="runs/tune"),
            Flag(
                "launcher=local|ray",
                "Trials run on this machine, or on a Ray cluster. Default: local.",
                default="local",
            ),
            Flag(
                "workers=N",
                "How many trials at once. Default for local: one per GPU or, without GPUs, one that uses all cores; "
                "for ray: as many as the cluster has room for when the command starts.",
            ),
        ),
        "Ray": RAY_FLAGS,
        "The files": (
            Entry("best.py", "The best settings, as a config file."),
            Entry("search.html", "What mattered, accuracy by setting, and all trials."),
            Entry("search.csv", "All trials."),
            Entry("trials/", "The folder of each trial."),
        ),
    },
    exit_codes={
        0: "All trials have ended.",
        1: "Some trials failed or were stopped, or a file cannot be written.",
        2: "A flag, setting or file cannot be used, or several trials failed in a row.",
        130: "Stopped by Ctrl-C. The same command continues the search.",
        143: "Stopped by SIGTERM or SIGUSR1, or its terminal was closed. The same command continues the search.",
    },
)


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Returns the flags' values, the settings as ``settings``, and the space as ``space``; all of them checked."""
    parsed, rest = parse(arguments, HELP.flags)
    if "config" not in parsed.given:
        raise InputError("--config: tune needs it, such as --config=digits:chimeramix_grid")
    folds = [] if parsed.folds is None else [f"--config.folds={parsed.folds}"]
    parsed.overrides, unknown = changed_settings.separated([*rest, *folds])
    refuse_unknown(unknown, HELP.flags, settings.SETTINGS)
    launching.check(parsed)
    if importlib.util.find_spec("optuna") is None:
        raise InputError(f"tune: optuna is not installed; run {invocation.installing('optuna')}")
    config = settings.load(parsed.config)
    settings.override(config, parsed.overrides)
    _check(config)
    described = settings.load_search_space(parsed.config)
    if parsed.search is not None:
        described = dict(space.parse(",".join(parsed.search)))
    elif described is None:
        described = dict(space.default(config))
    parsed.settings, parsed.space = config, space.space_of(described, config)
    parsed.workdir = local_path(parsed.workdir, "--workdir")
    if parsed.workdir.exists() and not parsed.workdir.is_dir():
        raise InputError(f"--workdir={parsed.workdir}: is not a folder; choose a folder")
    return parsed


def perform(parsed: Arguments) -> int:
    """Searches, or continues a search, and prints the best trials; returns the exit code."""
    from chimeramix_jax.tune import pool  # these need Optuna
    from chimeramix_jax.tune.search import Search

    exits.quiet_libraries()
    config, folder = parsed.settings, parsed.workdir
    plan = Plan(folder, parsed.config, tuple(parsed.overrides), config, prunes=parsed.pruner != "none")
    search = Search(folder, parsed.space, config, parsed.trials, parsed.sampler, parsed.pruner)
    dataset = _validation_data(config)
    data = dataset.identity.digests()
    search.check(parsed.config, data)
    if parsed.launcher == "ray":
        ray_cluster.require(ray_cluster.address_of(parsed.ray_address))
    divided = _divided_into_folds(config)
    only_folds = divided is not None and not len(divided.held_out.labels)
    with leaving_no_empty_folders(folder):
        Workdir(folder).create()
        search.begin(parsed.config, data)

    def write() -> None:
        _write(Ranking.of(search.records()), parsed, plan, only_folds=only_folds)

    stopped: set[int] = set()
    if search.unfinished():
        with _workers(parsed) as workers:
            stopped = pool.run(search, plan, workers, write)
    ranking = Ranking.of(search.records(), plan, _units(dataset, divided))
    _write(ranking, parsed, plan, only_folds=only_folds)
    page.write(ranking, parsed.space, search.importance(), plan, f"Search of {parsed.config}")
    _print(ranking, parsed, plan)
    if left := [record.number for record in ranking.records if record.number in stopped and record.state == RUNNING]:
        print(f"stopped from outside: trials {', '.join(map(str, left))}; the same command continues them")
    return exits.PARTLY_DONE if ranking.count(FAILED) or left else 0


def after_stop(parsed: Arguments) -> str:
    """What the user should know when the program was stopped."""
    return "the same command continues the search"


@contextlib.contextmanager
def _workers(parsed: Arguments) -> Iterator[Sequence[Worker]]:
    """Yields the workers of the launcher, which can be used inside the ``with`` statement."""
    if parsed.launcher == "local":
        yield local.workers(parsed.workers)
        return
    address = ray_cluster.address_of(parsed.ray_address)
    with ray_cluster.connected(address, parsed.workdir, resources(parsed)) as cluster:
        if cluster.warning:
            exits.say(f"warning: {cluster.warning}")
        yield cluster.workers(parsed.workers or max(1, cluster.slots))


def _check(config: ConfigDict) -> None:
    """Raises InputError for settings that a search cannot use."""
    settings.check(config)
    settings.refuse_enlarged(config)
    if config.experiment == settings.AUTO:
        raise InputError(f"experiment: {settings.AUTO!r} chooses among recipes itself; search another experiment")
    for key, only in _FIXED.items():
        if config[key] != only:
            raise InputError(f"{key}: {config[key]!r}, but in a search it must be {only!r}")


def _validation_data(config: ConfigDict) -> FewShotDataset:
    """Returns the images that trials learn from and are judged by; raises InputError if there are none to judge by."""
    dataset = ConfigDict(config.dataset)
    dataset.evaluate_on = "validation"
    fold = 1 if config.folds else 0
    try:
        return load_few_shot(dataset, config.max_labels_per_class, config.seed, config.folds, fold)
    except InputError as error:
        if str(error).startswith("dataset.evaluate_on"):
            raise InputError(f"{error}; --folds=5 judges trials by folds of the training images") from None
        raise


def _divided_into_folds(config: ConfigDict) -> FewShotDataset | None:
    """Returns all of a user's own images if they are divided into folds; None without folds, or for other images.

    Without a test part, none are held out. Then the folds also have to measure the final model.
    """
    if not config.folds or dataset_entry(config.dataset.name).source != "directory":
        return None
    dataset = ConfigDict(config.dataset)
    dataset.evaluate_on = "test"
    return load_few_shot(dataset, config.max_labels_per_class, config.seed, config.folds)


def _units(validation: FewShotDataset, divided: FewShotDataset | None) -> dict[str, str] | None:
    """Returns what each image that trials are judged by belongs to, by its name in ``held_out.csv``.

    ``divided`` are the images that are divided into folds, if there are any. None: no images belong together.
    """
    if validation.originals is None:
        return None
    if divided is not None:
        return dict(zip(map(printable, divided.train.names), divided.units, strict=True))
    return dict(zip(map(printable, validation.held_out.names), validation.units_held_out, strict=True))


def _write(ranking: Ranking, parsed: Arguments, plan: Plan, *, only_folds: bool) -> None:
    """Writes the table of all trials and, if any is done, the config file."""
    outcome.write_table(plan.folder / outcome.TABLE, ranking, parsed.space, plan)
    if ranking.best is not None:
        path = plan.folder / outcome.BEST
        outcome.write_best(path, ranking, plan, program_name(), only_folds=only_folds)


def _print(ranking: Ranking, parsed: Arguments, plan: Plan) -> None:
    """Prints the best trials, the files, and the command that uses the result."""
    print(outcome.counts(ranking))
    if ranking.count(RUNNING):
        print(
            "Other processes work on those that are not finished, or have ended; then the same command continues them."
        )
    if ranking.best is None:
        return
    print("", outcome.table(ranking, parsed.space), "", sep="\n")
    print(textwrap.fill(outcome.explanation(ranking, plan), WIDTH))
    names = (outcome.BEST, page.PAGE, outcome.TABLE)
    print("", "written:", *(f"  {plan.folder / name}" for name in names), "", sep="\n")
    print(f"Train with the best settings: {program_name()} --config={_quoted(plan.folder / outcome.BEST)}")


def _quoted(path: Path) -> str:
    return shlex.quote(os.fspath(path))
