"""``chimeramix reproduce``: fills a published table, and shows it beside what was measured."""

from collections.abc import Sequence

from chimeramix_jax import config as settings
from chimeramix_jax.command_line import changed_settings, exits, launching
from chimeramix_jax.command_line.flags import Arguments, Flag, parse, refuse_unknown
from chimeramix_jax.command_line.help_text import Entry, Help, program_name
from chimeramix_jax.command_line.subcommands import usage
from chimeramix_jax.errors import InputError, StorageError
from chimeramix_jax.paths import local_path
from chimeramix_jax.reporting.text_table import aligned
from chimeramix_jax.reproduce import beside, estimate, page, parts, published
from chimeramix_jax.reproduce.parts import Part
from chimeramix_jax.sweep.folder import check_folder
from chimeramix_jax.sweep.plan import Job, State

HELP = Help(
    usage=(usage("reproduce"),),
    summary="Fills a published table with runs of this program, and writes a page with the published figures, the "
    "measured ones, the differences between the protocols, and paired tests. Without TABLE, it lists the tables. The "
    "runs are an ordinary sweep, which the same command continues. The page shows what is finished so far.",
    examples=(
        (
            "reproduce chimeramix --workdir=runs/paper --dry_run --estimate",
            "Show the runs and estimate how many hours they take on this device. No data set is needed for that.",
        ),
        (
            "reproduce chimeramix --workdir=runs/paper --datasets=cifair10 --max_labels_per_class=50 "
            "--launcher=slurm --slurm_gpus=1",
            "Fill a part of the table on Slurm.",
        ),
        ("reproduce chimeramix --workdir=runs/paper --report", "Only write the page."),
    ),
    groups={
        "Which part of the table": (
            Entry("TABLE", f"One of {', '.join(published.names())}."),
            Flag("datasets=NAMES", "Names or patterns of its data sets. Default: all."),
            Flag("experiments=NAMES", "Names or patterns of its experiments. Default: all."),
            Flag(
                "max_labels_per_class=NUMBERS", "Training images per class, such as 10,50. Default: all of the table."
            ),
            Flag("seeds=NUMBERS", "Such as 0,1, or 0:3 for 0 to 2. Default: all of the table."),
            Flag("divisions=NUMBERS", "Published divisions of its training images. Default: all of the table."),
            Entry("--config.KEY=VALUE", "Change one setting of all runs, such as dataset.archive or dataset.data_dir."),
        ),
        "What to do": (
            Flag("workdir=FOLDER", "The folder of the runs and the page. Default: runs/TABLE."),
            Flag("dry_run", "Only print the plan and the estimate.", default=False),
            Flag("estimate", "Time a few steps of each kind on this device first.", default=False),
            Flag("report", "Only write the page.", default=False),
            Flag("retry", "Run failed runs again.", default=False),
            Flag("seeds_per_job=N", "How many seeds one process trains together. Default: all on GPUs, else 1."),
        ),
        **launching.GROUPS,
        "The files": (
            Entry("reproduce-TABLE.html", "Everything on one page."),
            Entry("reproduce-TABLE.md, reproduce-TABLE.csv", "The same as Markdown; the comparisons as CSV."),
        ),
    },
    exit_codes={
        0: "Everything is done, or submitted to Slurm.",
        1: "Some runs failed or were stopped, or a file cannot be read or written.",
        2: "A flag, setting or file cannot be used, or a data set is not available.",
        130: "Stopped by Ctrl-C. The same command continues.",
        143: "Stopped by SIGTERM or SIGUSR1, or its terminal was closed. The same command continues.",
    },
)


def parse_arguments(arguments: Sequence[str]) -> Arguments:
    """Returns the flags' values, ``table`` (None: list the tables), and ``overrides``: changed settings of all runs."""
    parsed, rest = parse(arguments, HELP.flags)
    parsed.overrides, others = changed_settings.separated(rest)
    named = [argument for argument in others if not argument.startswith("-")]
    unknown = [argument for argument in others if argument.startswith("-")]
    refuse_unknown([*unknown, *named[1:]], HELP.flags, settings.SETTINGS)
    if not named and arguments:
        raise InputError(f"TABLE: missing; it must be one of {', '.join(published.names())}")
    parsed.table = published.load(named[0]) if named else None
    _refuse_flags_beside_report(parsed)
    launching.check(parsed)
    if parsed.table is not None:
        parsed.workdir = local_path(parsed.workdir or f"runs/{parsed.table.name}", "--workdir")
    parsed.resources = launching.slurm_resources(parsed)
    return parsed


def perform(parsed: Arguments) -> int:
    """Lists the tables, or plans, fills or shows one; returns the exit code."""
    if parsed.table is None:
        print(_listed())
        return 0
    try:
        return _reproduce(parsed)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"{error.filename or 'a file'}: {error.strerror or error}") from error


def after_stop(parsed: Arguments) -> str:
    """What the user should know when the program was stopped."""
    return "the same command continues, and with --report writes the page of what is finished"


def _refuse_flags_beside_report(parsed: Arguments) -> None:
    """Refuses flags that say how runs are started, if none is."""
    of_launching = [flag.name for group in launching.GROUPS.values() for flag in group if isinstance(flag, Flag)]
    for name in ("dry_run", "estimate", "retry", "seeds_per_job", *of_launching):
        if parsed.report and name in parsed.given:
            raise InputError(f"--report: only writes the page, so it cannot be combined with --{name}")


def _listed() -> str:
    lines = [["table", "published figures", "runs", "title"]]
    for table in map(published.load, published.names()):
        lines.append([table.name, str(len(table.figures)), str(table.runs), table.title])
    return f"{aligned(lines)}\n\n{program_name()} reproduce TABLE --dry_run shows the runs of a table"


def _reproduce(parsed: Arguments) -> int:
    part = parts.chosen(
        parsed.table,
        parsed.workdir,
        datasets=parsed.datasets,
        experiments=parsed.experiments,
        images=parsed.max_labels_per_class,
        seeds=parsed.seeds,
        divisions=parsed.divisions,
        overrides=parsed.overrides,
    )
    if parsed.report:
        check_folder(parsed.workdir, part.runs)
        if not parsed.workdir.is_dir():
            raise InputError(f"--workdir={parsed.workdir}: no such folder; leave out --report to start the runs")
        return _write_page(part, parsed)
    jobs = launching.planned(part.runs, parsed)
    now = launching.states(jobs, parsed)
    if parsed.dry_run:
        launching.show(now)
        _print_estimate(jobs, now, parsed)
        return 0
    pending = [run for job, state in now.items() if state == State.TO_DO for run in job.runs]
    parts.check_data(pending)
    if pending:
        _print_estimate(jobs, now, parsed)
    code = launching.carry_out(part.runs, jobs, parsed)
    return _write_page(part, parsed) or code


def _print_estimate(jobs: Sequence[Job], now: dict[Job, State], parsed: Arguments) -> None:
    times = estimate.from_finished(jobs)
    if parsed.estimate and (unknown := estimate.unknown_jobs(now, times)):
        from chimeramix_jax.reproduce import step_time  # only here: the others do not start JAX

        times = estimate.with_timed(times, step_time.timed(unknown))
    print(*estimate.lines(now, times), sep="\n", flush=True)


def _write_page(part: Part, parsed: Arguments) -> int:
    """Writes the files, prints the comparisons and the paths, and returns the exit code."""
    summary = beside.summary_of(part)
    written = page.write(part, summary, parsed.workdir)
    print(page.markdown(part, summary, protocols=False))
    print("written:", *(f"  {path}" for path in written), sep="\n")
    for line in summary.damaged:
        exits.say(line)
    return exits.PARTLY_DONE if summary.damaged else 0
