"""``chimeramix sweep``: runs every combination of data sets, experiments, numbers of images and seeds."""

from collections.abc import Sequence

from chimeramix_jax import config as settings
from chimeramix_jax.command_line import changed_settings, launching
from chimeramix_jax.command_line.flags import Arguments, Flag, parse, refuse_unknown
from chimeramix_jax.command_line.help_text import Entry, Help, program_name
from chimeramix_jax.command_line.subcommands import usage
from chimeramix_jax.errors import InputError, StorageError
from chimeramix_jax.paths import local_path
from chimeramix_jax.sweep.selection import select

HELP = Help(
    usage=(usage("sweep"),),
    summary="Runs every combination of data sets, experiments, numbers of images and seeds. Each run has its own "
    "folder, where log.txt has what it printed and error.txt says why it failed. A generator that several runs need is "
    "trained once. When a run fails, the others continue. The same command continues a sweep that was stopped.",
    examples=(
        (
            "sweep --datasets=image_folder --config.dataset.directory=photos --experiments=baseline,chimeramix_grid "
            "--seeds=0:5 --workdir=runs/photos",
            "Compare training with and without mixing on your own photos, with five seeds each.",
        ),
        (
            "sweep --datasets=cifair10,stl10 --experiments=study --seeds=0:5 --max_labels_per_class=5,10,20,30,50,100 "
            "--workdir=runs/paper --dry_run",
            "Only show what is done and what is left to do.",
        ),
        (
            "sweep --datasets=cifair10 --experiments='baseline*' --launcher=slurm --slurm_partition=gpu --slurm_gpus=1",
            "Submit the runs to Slurm.",
        ),
        (
            "sweep --datasets=cifair10 --experiments='baseline*' --launcher=ray --ray_gpus=1",
            "Run them on the Ray cluster that this machine belongs to.",
        ),
    ),
    groups={
        "Which runs": (
            Flag(
                "datasets=NAMES",
                "Config files: names in configs/, patterns such as 'cifair*', or paths. Required. Here, image_folder "
                "means the settings for a CPU on every machine; image_folder_gpu names those for a GPU.",
            ),
            Flag(
                "experiments=NAMES",
                "Names and patterns, or study for those of the paper; docs/experiments.md lists all. Required.",
            ),
            Flag(
                "max_labels_per_class=NUMBERS",
                "Training images per class, such as 5,10,all. Default: what the config file says.",
            ),
            Flag("seeds=NUMBERS", "Such as 0,1,4, or 0:5 for 0 to 4. Default: 0.", default="0"),
            Entry("--config.KEY=VALUE", "Change one setting of all runs."),
        ),
        "What to do": (
            Flag("workdir=FOLDER", "The sweep's folder. Default: runs/sweep.", default="runs/sweep"),
            Flag("dry_run", "Only print the plan.", default=False),
            Flag("retry", "Run failed runs again.", default=False),
            Flag("seeds_per_job=N", "How many seeds one process trains together. Default: all on GPUs, else 1."),
        ),
        **launching.GROUPS,
    },
    exit_codes={
        0: "Everything is done, or submitted to Slurm.",
        1: "Some runs failed or were stopped, or a file cannot be written.",
        2: "A flag, setting or file cannot be used.",
        130: "Stopped by Ctrl-C. The same command continues the sweep.",
        143: "Stopped by SIGTERM or SIGUSR1, or its terminal was closed. The same command continues the sweep.",
    },
)


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Returns the flags' values and, as ``overrides``, the arguments that change settings of all runs."""
    parsed, rest = parse(arguments, HELP.flags)
    parsed.overrides, unknown = changed_settings.separated(rest)
    refuse_unknown(unknown, HELP.flags, settings.SETTINGS)
    for name, example in (("datasets", "cifair10,stl10"), ("experiments", "baseline,chimeramix_grid")):
        if name not in parsed.given:
            raise InputError(f"--{name}: sweep needs it, such as --{name}={example}")
    parsed.workdir = local_path(parsed.workdir, "--workdir")
    launching.check(parsed)
    parsed.resources = launching.slurm_resources(parsed)
    return parsed


def perform(parsed: Arguments) -> int:
    """Runs, submits or shows the sweep; returns the exit code."""
    try:
        return _sweep(parsed)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{error.filename or 'a file'}: {error.strerror or error}") from error


def after_stop(parsed: Arguments) -> str:
    """What the user should know when the program was stopped."""
    return "the same command continues the sweep"


def _sweep(parsed: Arguments) -> int:
    runs = select(
        parsed.workdir, parsed.datasets, parsed.experiments, parsed.max_labels_per_class, parsed.seeds, parsed.overrides
    )
    jobs = launching.planned(runs, parsed)
    if parsed.dry_run:
        launching.show(launching.states(jobs, parsed))
        return 0
    code = launching.carry_out(runs, jobs, parsed)
    print(f"Summarize the runs: {program_name()} summarize {parsed.workdir}")
    return code
