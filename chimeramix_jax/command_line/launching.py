"""Carrying out planned runs on this machine, on Slurm or on Ray, for the subcommands that plan some."""

from collections.abc import Mapping, Sequence

from chimeramix_jax.command_line import exits
from chimeramix_jax.command_line.device_settings import FOR_ACCELERATORS
from chimeramix_jax.command_line.flags import Arguments, Flag
from chimeramix_jax.command_line.help_text import Entry
from chimeramix_jax.command_line.ray_flags import RAY_FLAGS, resources
from chimeramix_jax.config import shipped
from chimeramix_jax.errors import InputError
from chimeramix_jax.paths import leaving_no_empty_folders, refuse_deleted_current_folder
from chimeramix_jax.reporting.wording import counted
from chimeramix_jax.runs import lock
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.sweep import local, plan, pool, ray_cluster, slurm, status
from chimeramix_jax.sweep.folder import check_folder, write_plan
from chimeramix_jax.sweep.plan import Job, State
from chimeramix_jax.sweep.selection import SweepRun

_TAKEN_BY = {  # the launchers that take flags with names that begin so
    "slurm_": ("slurm",),
    "ray_": ("ray",),
    "workers": ("local", "ray"),
}

GROUPS: Mapping[str, Sequence[Flag | Entry]] = {
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
}


def check(parsed: Arguments) -> None:
    """Raises InputError for a flag that only other launchers take, or if no launcher could start anything from here."""
    refuse_deleted_current_folder()
    for name in sorted(parsed.given):
        takers = next((takers for prefix, takers in _TAKEN_BY.items() if name.startswith(prefix)), None)
        if takers is not None and parsed.launcher not in takers:
            needed = " or ".join(f"--launcher={launcher}" for launcher in takers)
            raise InputError(f"--{name}: --launcher={parsed.launcher} does not take it; it needs {needed}")


def planned(runs: Sequence[SweepRun], parsed: Arguments) -> list[Job]:
    """Returns the jobs of the runs; raises InputError if the launcher or the folder cannot be used."""
    check_folder(parsed.workdir, runs)
    if parsed.launcher == "slurm":
        slurm.require()
    if parsed.launcher == "ray":
        ray_cluster.require(ray_cluster.address_of(parsed.ray_address))
    # The kind of this machine's devices decides how many seeds a job has, unless that is given.
    depends_on_devices = parsed.seeds_per_job is None and len({run.config.seed for run in runs}) > 1
    if parsed.seeds_per_job not in (None, 1) and any(run.config.folds for run in runs):
        exits.say(
            f"--seeds_per_job={parsed.seeds_per_job}: runs with folds train one seed per job, since their folds train "
            "together"
        )
    replaced = {source for run in runs if (source := _for_accelerators(run))}
    needed = depends_on_devices or bool(replaced)
    parsed.devices = local.jax_devices() if needed and parsed.launcher == "local" else None
    on_accelerators = _on_gpus(parsed) or (parsed.devices or ("cpu", 1))[0] != "cpu"
    for name, suited in sorted(replaced) if on_accelerators else ():
        exits.say(f"--datasets={name}: has the settings for a CPU; {suited} has those for a GPU")
    # GPUs train several seeds together in little more than the time of a single seed.
    return plan.jobs_of(runs, parsed.seeds_per_job or (len(runs) if _on_gpus(parsed) else 1))


def carry_out(runs: Sequence[SweepRun], jobs: Sequence[Job], parsed: Arguments) -> int:
    """Runs the jobs, or submits them to Slurm, and prints how far they are; returns the exit code."""
    folder = parsed.workdir
    with leaving_no_empty_folders(folder):
        Workdir(folder).create()
        with lock.locked(folder):
            now = states(jobs, parsed)
            waiting = State.TO_DO in now.values()
            workers = local.workers(parsed.workers, parsed.devices) if waiting and parsed.launcher == "local" else []
            write_plan(folder, runs)
            if parsed.launcher == "slurm":
                _submit(now, parsed)
            else:
                if parsed.launcher == "ray" and waiting:
                    _run_on_ray(now, parsed)
                elif waiting:
                    pool.run(now, workers)
                show(now)
                if State.TO_DO in now.values():
                    _say_what_is_left(now)
                    return exits.PARTLY_DONE
    return exits.PARTLY_DONE if State.FAILED in now.values() else 0


def states(jobs: Sequence[Job], parsed: Arguments) -> dict[Job, State]:
    """Returns the states of the jobs."""
    queued = slurm.queued(parsed.workdir)  # whatever the launcher is now, Slurm's jobs must not run twice
    return {job: job.state(retry=parsed.retry, queued=queued) for job in jobs}


def slurm_resources(parsed: Arguments) -> slurm.Resources:
    """Returns the resources of a Slurm job that the flags request; raises InputError for an option of no known form."""
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


def _for_accelerators(run: SweepRun) -> tuple[str, str] | None:
    """Returns the name of a run's shipped file and that of the one for accelerators, if there is one."""
    file, _ = shipped.separated(run.source)
    return next((pair for pair in FOR_ACCELERATORS.items() if shipped.as_path(pair[0]) == file), None)


def _on_gpus(parsed: Arguments) -> bool:
    """Whether runs have GPUs."""
    if parsed.launcher == "local":
        return parsed.devices is not None and parsed.devices[0] == "gpu"
    return (parsed.slurm_gpus if parsed.launcher == "slurm" else parsed.ray_gpus) is not None


def _run_on_ray(now: dict[Job, State], parsed: Arguments) -> None:
    address = ray_cluster.address_of(parsed.ray_address)
    with ray_cluster.connected(address, parsed.workdir, resources(parsed)) as cluster:
        if cluster.warning:
            exits.say(f"warning: {cluster.warning}")
        pool.run(now, cluster.workers(parsed.workers or len(now)))  # Ray lets jobs wait for room


def _submit(now: dict[Job, State], parsed: Arguments) -> None:
    submitted = slurm.submit(now, parsed.workdir, parsed.resources)
    show(now)
    if submitted:
        jobs = counted(len(set(submitted.values())), "job")
        print(f"submitted: {jobs}; the same command shows their progress and submits stopped ones again")


def _say_what_is_left(now: Mapping[Job, State]) -> None:
    """Says which jobs are not done and have not failed: they were stopped from outside, or wait for one that was."""
    left = [job.name for job, state in now.items() if state == State.TO_DO and job.blocked_by(now) is None]
    if left:
        print(f"stopped or waiting: {', '.join(left)}; the same command continues them")


def show(now: Mapping[Job, State]) -> None:
    """Prints the plan, and a line for each failed run."""
    print(status.table(now))
    failures = status.failure_lines(now)
    if failures:
        print("", *failures, "--retry runs the failed runs again", sep="\n")
