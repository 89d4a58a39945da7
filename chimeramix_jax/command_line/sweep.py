"""``chimeramix sweep``: runs every combination of data sets, experiments, numbers of images and seeds."""

from collections.abc import Sequence

from chimeramix_jax import config as settings
from chimeramix_jax.command_line import exits
from chimeramix_jax.command_line.flags import Arguments, Flag, parse, refuse_unknown
from chimeramix_jax.command_line.help_text import Entry, Help, program_name
from chimeramix_jax.command_line.ray_flags import RAY_FLAGS, resources
from chimeramix_jax.errors import InputError, StorageError
from chimeramix_jax.paths import leaving_no_empty_folders, local_path
from chimeramix_jax.runs import lock
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.sweep import local, plan, pool, ray_cluster, slurm
from chimeramix_jax.sweep.plan import Job, State
from chimeramix_jax.sweep.selection import select

SOME_FAILED = 1  # exit code: some runs failed

HELP = Help(
    usage=("sweep --datasets=NAMES --experiments=NAMES [FLAGS]",),
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
            Flag("datasets=NAMES", "Config files: names in configs/, patterns such as 'cifair*', or paths. Required."),
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
        "Where to run": (
            Flag(
                "launcher=local|slurm|ray",
                "On this machine, as jobs of Slurm, or on a Ray cluster. Default: local.",
                default="local",
            ),
            Flag(
                "workers=N",
                "local and ray: how many runs at once. Default for local: one per GPU or, without GPUs, one that uses "
                "all cores; for ray: as many as the cluster has room for.",
            ),
        ),
        "Ray": RAY_FLAGS,
        "Slurm (defaults are the cluster's unless named)": (
            Flag("slurm_partition=NAME", "The partition."),
            Flag(
                "slurm_minutes=N",
                "Time limit of a job; an unfinished run continues in the next job. Default: 240.",
                default=240,
            ),
            Flag("slurm_memory_gb=N", "Main memory of a job."),
            Flag("slurm_cpus=N", "CPU cores of a job."),
            Flag("slurm_gpus=N", "GPUs of a job. Default: none."),
            Flag("slurm_parallel=N", "How many jobs of an array run at once. Default: 256.", default=256),
            Flag(
                "slurm_option=NAME=VALUE",
                "Any other option of sbatch. May be given several times.",
                default=(),
                repeatable=True,
            ),
        ),
    },
    exit_codes={
        0: "Everything is done, or submitted to Slurm.",
        1: "Some runs failed, or a file cannot be written.",
        2: "A flag, setting or file cannot be used.",
        130: "Stopped by Ctrl-C. The same command continues the sweep.",
        143: "Stopped by SIGTERM or SIGUSR1. The same command continues the sweep.",
    },
)


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Returns the flags' values and, as ``overrides``, the arguments that change settings of all runs."""
    parsed, rest = parse(arguments, HELP.flags)
    parsed.overrides = [argument for argument in rest if argument.startswith("--config.") and "=" in argument]
    refuse_unknown((argument for argument in rest if argument not in parsed.overrides), HELP.flags, settings.SETTINGS)
    for name, example in (("datasets", "cifair10,stl10"), ("experiments", "baseline,chimeramix_grid")):
        if name not in parsed.given:
            raise InputError(f"--{name}: sweep needs it, such as --{name}={example}")
    parsed.workdir = local_path(parsed.workdir, "--workdir")
    parsed.resources = _resources(parsed)
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
    folder = parsed.workdir
    runs = select(
        folder, parsed.datasets, parsed.experiments, parsed.max_labels_per_class, parsed.seeds, parsed.overrides
    )
    plan.check_folder(folder, runs)
    if parsed.launcher == "slurm":
        slurm.require()
    if parsed.launcher == "ray":
        ray_cluster.require(ray_cluster.address_of(parsed.ray_address))
    # The kind of this machine's devices decides how many seeds a job has, unless that is given.
    depends_on_devices = parsed.seeds_per_job is None and len({run.config.seed for run in runs}) > 1
    devices = local.jax_devices() if depends_on_devices and parsed.launcher == "local" else None
    # GPUs train several seeds together in little more than the time of a single seed.
    jobs = plan.jobs_of(runs, parsed.seeds_per_job or (len(runs) if _on_gpus(parsed, devices) else 1))
    if parsed.dry_run:
        _print(_states(jobs, parsed))
        return 0
    with leaving_no_empty_folders(folder):
        Workdir(folder).create()
        with lock.locked(folder):
            states = _states(jobs, parsed)
            waiting = State.TO_DO in states.values()
            workers = local.workers(parsed.workers, devices) if waiting and parsed.launcher == "local" else []
            plan.write(folder, runs)
            if parsed.launcher == "slurm":
                _submit(states, parsed)
            else:
                if parsed.launcher == "ray" and waiting:
                    _run_on_ray(states, parsed)
                elif waiting:
                    pool.run(states, workers)
                _print(states)
    print(f"Summarize the runs: {program_name()} summarize {folder}")
    return SOME_FAILED if State.FAILED in states.values() else 0


def _on_gpus(parsed: Arguments, devices: tuple[str, int] | None) -> bool:
    """Whether runs have GPUs, given the devices of this machine if they matter."""
    if parsed.launcher == "local":
        return devices is not None and devices[0] == "gpu"
    return (parsed.slurm_gpus if parsed.launcher == "slurm" else parsed.ray_gpus) is not None


def _run_on_ray(states: dict[Job, State], parsed: Arguments) -> None:
    address = ray_cluster.address_of(parsed.ray_address)
    with ray_cluster.connected(address, parsed.workdir, resources(parsed)) as cluster:
        if cluster.warning:
            exits.say(f"warning: {cluster.warning}")
        pool.run(states, cluster.workers(parsed.workers or len(states)))  # Ray lets jobs wait for room


def _states(jobs: Sequence[Job], parsed: Arguments) -> dict[Job, State]:
    queued = slurm.queued(parsed.workdir)  # whatever the launcher is now, Slurm's jobs must not run twice
    return {job: job.state(retry=parsed.retry, queued=queued) for job in jobs}


def _submit(states: dict[Job, State], parsed: Arguments) -> None:
    submitted = slurm.submit(states, parsed.workdir, parsed.resources)
    _print(states)
    if submitted:
        jobs = len(set(submitted.values()))
        print(f"submitted: {jobs} jobs; the same command shows their progress and submits stopped ones again")


def _resources(parsed: Arguments) -> slurm.Resources:
    requested = {
        name.removeprefix("slurm_"): value for name, value in vars(parsed).items() if name.startswith("slurm_")
    }
    options = {}
    for option in requested.pop("option"):
        name, separator, value = option.partition("=")
        if not name or not separator:
            raise InputError(
                f"--slurm_option: {option!r} is not allowed; it must be NAME=VALUE, such as account=vision"
            )
        options[name] = value
    return slurm.Resources(**requested, options=options)


def _print(states: dict[Job, State]) -> None:
    print(plan.table(states))
    failures = plan.failure_lines(states)
    if failures:
        print("", *failures, "--retry runs the failed runs again", sep="\n")
