"""Does many runs by one command: every combination of data sets, experiments, numbers of images and seeds.

Examples:
    python -m chimeramix_jax.sweep --datasets=digits --experiments='baseline*,chimeramix_grid' --seeds=0:5
        fifteen and more runs on this machine, into runs/sweep; the same command goes on where it was stopped
    python -m chimeramix_jax.sweep --datasets=cifair10,stl10 --experiments='*' --seeds=0:5 \\
            --max_labels_per_class=5,10,20,30,50,100 --workdir=runs/paper --dry_run
        what there would be to do, and what is done already
    the same with --launcher=slurm --slurm_partition=gpu --slurm_gpus=1 instead of --dry_run
        the same runs as jobs of Slurm

Any --config.KEY=VALUE applies to all runs. Every run has its directory in the sweep's, and in it log.txt, what it said,
and error.txt, why it failed. A generator that several runs need is trained once. One failure stops nothing else.

Exit codes:
    0 all is done, or submitted; 1 runs have failed; 2 something given cannot be used; 130 stopped from the keyboard;
    143 stopped by SIGTERM or SIGUSR1.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from chimeramix_jax.errors import InputError, in_one_line
from chimeramix_jax.paths import leaving_no_empty_folders, local_path
from chimeramix_jax.runs import lock
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.runtime import console, stopping
from chimeramix_jax.sweep import local, plan, slurm
from chimeramix_jax.sweep.plan import Job, State
from chimeramix_jax.sweep.selection import Run, select

LAUNCHERS = ("local", "slurm")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(message)


@console.prepared()
def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks for; returns the exit code."""
    try:
        asked = _parse(arguments)
        return _sweep(asked)
    except InputError as error:
        _say(str(error))
        return InputError.exit_code
    except OSError as error:
        _say(f"{error.filename or 'a file'}: {error.strerror or error}")
        return 1
    except stopping.Stopped as stopped:
        _say(f"stopped ({stopped}); the same command continues the sweep")
        return stopped.exit_code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="python -m chimeramix_jax.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--datasets", required=True, help="names of files in configs/, globs, or paths of other files")
    parser.add_argument("--experiments", required=True, help="names and globs; docs/experiments.md lists them")
    parser.add_argument("--max_labels_per_class", help="such as 5,10,all (default: the config file's)")
    parser.add_argument("--seeds", default="0", help="such as 0,1,4 or 0:5, which is 0 to 4 (default: 0)")
    parser.add_argument(
        "--seeds_per_job", type=_positive, help="that one program trains together (default: all on GPUs, else 1)"
    )
    parser.add_argument("--workdir", default="runs/sweep", help="the folder (default: runs/sweep)")
    parser.add_argument("--dry_run", action="store_true", help="only print the plan")
    parser.add_argument("--retry", action="store_true", help="do failed runs again")
    parser.add_argument("--launcher", choices=LAUNCHERS, default="local", help="where the runs go (default: local)")
    parser.add_argument(
        "--workers", type=_positive, help="local: runs at once (default: one per GPU, or one with all cores)"
    )
    parser.add_argument("--slurm_partition", help="(default: the cluster's)")
    parser.add_argument(
        "--slurm_minutes", type=_positive, default=240, help="after which a job is continued in the next (default: 240)"
    )
    parser.add_argument("--slurm_memory_gb", type=_positive, help="of each job (default: the cluster's)")
    parser.add_argument("--slurm_cpus", type=_positive, help="of each job (default: the cluster's)")
    parser.add_argument("--slurm_gpus", type=_positive, help="of each job (default: none)")
    parser.add_argument(
        "--slurm_parallel", type=_positive, default=256, help="jobs of an array at once, at most (default: 256)"
    )
    parser.add_argument(
        "--slurm_option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="any other option of sbatch; repeatable",
    )
    asked, rest = parser.parse_known_args(arguments)
    asked.overrides = [argument for argument in rest if argument.startswith("--config.") and "=" in argument]
    for unexpected in (argument for argument in rest if argument not in asked.overrides):
        raise InputError(f"{unexpected!r}: not understood; --help lists the flags, and settings are --config.KEY=VALUE")
    return asked


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; it must be a whole number from 1")
    return int(text)


def _sweep(asked: argparse.Namespace) -> int:
    folder: Path = local_path(asked.workdir, "--workdir")
    asked.workdir = folder
    runs = select(folder, asked.datasets, asked.experiments, asked.max_labels_per_class, asked.seeds, asked.overrides)
    plan.check_folder(folder, runs)
    if asked.launcher == "slurm":
        slurm.require()
    asked.devices = local.jax_devices() if asked.launcher == "local" and _depends_on_devices(asked, runs) else None
    jobs = plan.jobs_of(runs, _seeds_per_job(asked, runs))
    if asked.dry_run:
        _tell(_states(jobs, asked))
        return 0
    with leaving_no_empty_folders(folder):
        Workdir(folder).create()
        with lock.locked(folder):
            states = _states(jobs, asked)
            if asked.launcher == "slurm":
                resources = _resources(asked)
                plan.write(folder, runs)
                return _launch_on_slurm(states, asked, resources)
            workers = local.workers(asked.workers, asked.devices) if State.TO_DO in states.values() else []
            plan.write(folder, runs)
            return _launch_locally(states, asked, workers)


def _depends_on_devices(asked: argparse.Namespace, runs: Sequence[Run]) -> bool:
    """Whether it is for the devices to decide what jobs there are."""
    return asked.seeds_per_job is None and len({run.config.seed for run in runs}) > 1


def _seeds_per_job(asked: argparse.Namespace, runs: Sequence[Run]) -> int:
    """The most seeds in one job: what was asked for or, on GPUs, which train several in the time of few, all."""
    on_gpus = asked.slurm_gpus is not None if asked.launcher == "slurm" else (asked.devices or ("cpu",))[0] == "gpu"
    return asked.seeds_per_job or (len(runs) if on_gpus else 1)


def _states(jobs: Sequence[Job], asked: argparse.Namespace) -> dict[Job, State]:
    # Also where the launcher is another now: what Slurm has is not to be done twice.
    queued = slurm.queued(asked.workdir)
    return {job: job.state(retry=asked.retry, queued=queued) for job in jobs}


def _launch_locally(states: dict[Job, State], asked: argparse.Namespace, workers: Sequence[local.Worker]) -> int:
    if State.TO_DO in states.values():
        local.run(states, workers)
    _tell(states)
    print(f"summarise them: python -m chimeramix_jax.summarize {asked.workdir}")
    return 1 if State.FAILED in states.values() else 0


def _launch_on_slurm(states: dict[Job, State], asked: argparse.Namespace, resources: slurm.Resources) -> int:
    submitted = slurm.submit(states, asked.workdir, resources)
    _tell(states)
    if submitted:
        jobs = len(set(submitted.values()))
        print(f"submitted: {jobs} jobs; the same command tells how far they are, and submits what was stopped")
    print(f"summarise them: python -m chimeramix_jax.summarize {asked.workdir}")
    return 1 if State.FAILED in states.values() else 0


def _resources(asked: argparse.Namespace) -> slurm.Resources:
    options = {}
    for option in asked.slurm_option:
        name, separator, value = option.partition("=")
        if not name or not separator:
            raise InputError(
                f"--slurm_option: {option!r} is not allowed; it must be NAME=VALUE, such as account=vision"
            )
        options[name] = value
    return slurm.Resources(
        partition=asked.slurm_partition,
        minutes=asked.slurm_minutes,
        memory_gb=asked.slurm_memory_gb,
        cpus=asked.slurm_cpus,
        gpus=asked.slurm_gpus,
        parallel=asked.slurm_parallel,
        options=options,
    )


def _tell(states: dict[Job, State]) -> None:
    print(plan.table(states))
    failures = plan.failure_lines(states)
    if failures:
        print("", *failures, "--retry does what has failed again", sep="\n")


def _say(message: str) -> None:
    print(f"chimeramix: {in_one_line(message)}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
