"""The tables of a summary, as text cells that ``page.py``, ``markdown.py`` and others lay out."""

from dataclasses import dataclass

from chimeramix_jax.reporting.statistics import Estimate
from chimeramix_jax.summary.sections import Row, Section, Summary, with_most_seeds
from chimeramix_jax.summary.trials import METRICS, Status
from chimeramix_jax.summary.wording import images_in_words

NOTHING = "-"
_ACCURACY = 3  # the column of the overview with the mean accuracy
_ONE_SEED = "one seed"

EXPLANATION = (
    "Accuracies are percentages: mean ± sample standard deviation over seeds. Differences are in percentage points "
    "between classifiers of the same seed, which share their training images. Intervals are Student's 95 % confidence "
    "intervals of the mean over seeds, clipped to the possible range and not corrected for multiple comparisons. A "
    "single seed has neither a standard deviation nor an interval. p is of a paired t-test of the differences, and "
    "Holm's correction is for all tests of a table: at 0.05, the chance of any false alarm among them is at most 5 %. "
    "Tests and intervals cover the randomness of training and, where seeds have different training images, their "
    "choice, but no test images that all seeds share. Bold is the highest mean for its number of images among the "
    "experiments with the most finished seeds, whether or not it differs significantly. Unfinished seeds are not part "
    "of any mean. A letter after an experiment stands for settings that differ from those of the shipped experiment."
)


@dataclass(frozen=True)
class Table:
    """A table of text cells; ``alignment`` has "l" or "r" for each column."""

    header: tuple[str, ...]
    alignment: str
    lines: tuple[tuple[str, ...], ...]
    bold: frozenset[tuple[int, int]] = frozenset()  # cells by line and column: the best among comparable ones


def overview(section: Section, summary: Summary) -> Table:
    """Returns the table of a section with the statistics of each row over its seeds."""
    header = (
        "images per class",
        "experiment",
        "seeds",
        f"{METRICS[summary.metric]} (%)",
        "95 % interval",
        f"difference to {summary.baseline}",
        "95 % interval",
        "pairs",
        "p",
        "p, Holm",
    )
    best = section.best
    return Table(
        header,
        "rlrrrrrrrr",
        tuple(_overview_line(row, summary) for row in section.rows),
        frozenset((number, _ACCURACY) for number, row in enumerate(section.rows) if row in best),
    )


def _overview_line(row: Row, summary: Summary) -> tuple[str, ...]:
    return (
        images_in_words(row.images_per_class),
        summary.short_title(row),
        seed_count(row),
        mean(row.accuracy, ".2f"),
        interval(row.accuracy, ".2f"),
        mean(row.difference, "+z.2f"),
        interval(row.difference, "+z.2f"),
        str(len(row.differences)) if row.differences else NOTHING,
        p_value(row.p_value),
        p_value(row.corrected_p),
    )


def seed_count(row: Row) -> str:
    """Formats the number of finished seeds, and of all if some are not finished."""
    finished, expected = len(row.finished), len(row.trials)
    return str(finished) if finished == expected else f"{finished} of {expected}"


def letters(summary: Summary) -> Table | None:
    """Returns the table of the settings that letters stand for, with a column for each letter; None without letters."""
    if not summary.letters:
        return None
    rows = {row.variant: row for section in summary.sections for row in section.rows}
    variants = [rows[variant].distinct for variant in summary.letters]
    keys = dict.fromkeys(key for distinct in variants for key in distinct)
    lines = tuple((key, *(distinct.get(key, NOTHING) for distinct in variants)) for key in keys)
    return Table(("setting", *summary.letters.values()), "l" * (len(variants) + 1), lines)


def by_class(section: Section, images_per_class: int | None, summary: Summary) -> Table | None:
    """Returns the table of a section with the mean top-1 accuracy of each class, in percent, by experiment.

    Returns None if no run with this number of images has any.
    """
    rows = [row for row in section.rows_of(images_per_class) if row.class_accuracies]
    names = dict.fromkeys(name for row in rows for name in row.class_accuracies)
    if not names:
        return None
    compared = with_most_seeds(rows)
    lines, bold = [], set()
    for number, name in enumerate(names):
        accuracies = [row.class_accuracies.get(name) for row in rows]
        highest = max((row.class_accuracies.get(name, -1.0) for row in compared), default=None)
        bold |= {
            (number, column)
            for column, (row, accuracy) in enumerate(zip(rows, accuracies, strict=True), 1)
            if row in compared and accuracy == highest
        }
        lines.append((name, *(NOTHING if accuracy is None else f"{100 * accuracy:.1f}" for accuracy in accuracies)))
    header = ("class", *map(summary.short_title, rows))
    return Table(header, "l" + "r" * len(rows), tuple(lines), frozenset(bold) if len(compared) > 1 else frozenset())


def every_seed(section: Section, summary: Summary) -> Table:
    """Returns the table of a section with each seed's accuracy in percent, or its status."""
    seeds = section.seeds
    lines = []
    for row in section.rows:
        cells = {trial.address.seed: str(trial.status) for trial in row.trials}
        cells |= {trial.address.seed: f"{100 * trial.accuracy:.2f}" for trial in row.finished}
        by_seed = [cells.get(seed, NOTHING) for seed in seeds]
        lines.append((images_in_words(row.images_per_class), summary.short_title(row), *by_seed))
    return Table(("images per class", "experiment", *map(str, seeds)), "rl" + "r" * len(seeds), tuple(lines))


def notes(summary: Summary) -> list[tuple[str, tuple[str, ...]]]:
    """Returns the notes on the figures: headings, each with its lines; empty groups are left out."""
    groups = [
        ("Unreadable files", summary.damaged),
        ("Runs without results (failed, stopped or still running)", summary.unfinished),
        ("Missing runs", summary.missing),
        ("Warnings", summary.warnings),
    ]
    return [(heading, lines) for heading, lines in groups if lines]


def totals(summary: Summary) -> str:
    """Returns the number of classifiers with each status, as text."""
    counts = [(summary.count(status), str(status)) for status in Status]
    return ", ".join(f"{count} {word}" for count, word in counts if count or word == Status.FINISHED)


def environments(summary: Summary) -> list[str]:
    """Returns the devices and versions that classifiers were trained with, the most frequent first."""
    ranked = sorted(summary.environments.items(), key=lambda item: (-item[1], item[0]))
    return [f"{environment} ({count})" for environment, count in ranked]


def p_value(value: float | None) -> str:
    """Formats the p-value of a test."""
    if value is None:
        return NOTHING
    return f"{value:.2g}" if value >= 0.001 else "below 0.001"


def mean(estimate: Estimate | None, form: str) -> str:
    """Formats a mean with its standard deviation, in percent or percentage points; ``form`` is that of the mean."""
    if estimate is None:
        return NOTHING
    text = format(100 * estimate.mean, form)
    return text if estimate.standard_deviation is None else f"{text} ± {100 * estimate.standard_deviation:.2f}"


def interval(estimate: Estimate | None, form: str) -> str:
    """Formats the interval of a mean, in percent or percentage points."""
    if estimate is None:
        return NOTHING
    if estimate.interval is None:
        return _ONE_SEED
    return " to ".join(format(100 * end, form) for end in estimate.interval)
