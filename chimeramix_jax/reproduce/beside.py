"""Published figures beside the results of this program: what was measured, and where the published figure lies."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config.catalog import lists_of, place_of_images
from chimeramix_jax.reporting.statistics import Estimate, stratified
from chimeramix_jax.reporting.wording import counted
from chimeramix_jax.reproduce.parts import Part
from chimeramix_jax.reproduce.published import Figure, Protocol, TableDataset
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.summary.comparison import summarize
from chimeramix_jax.summary.plan import PlannedRun
from chimeramix_jax.summary.sections import Row, Summary
from chimeramix_jax.summary.trials import Address, Trial, dataset_label, read_run
from chimeramix_jax.sweep.selection import SweepRun

_EXPLANATION = (
    "A published figure is a mean over runs whose single results are not published, so it cannot be paired with ours. "
    "It is compared with the 95 % interval of our mean over seeds (Student's t). A figure outside of it is a hint, not "
    "the result of a test: the published mean has an uncertainty of its own, and with many figures some lie outside by "
    "chance. Where the protocols differ, the difference may come from that alone. Paired tests are between experiments "
    "of this program, in the tables below."
)

_NONE = -1  # the division of images that the seed draws

_OF_DIVISIONS = (
    " All divisions count the same in our mean, and the interval is for these divisions, since the published figure is "
    "a mean over the same ones."
)

# Rows by config file, experiment and ``max_labels_per_class``: data sets of several files may share ``dataset.name``.
# Those that differ only in the division of the images are together.
_Rows = dict[tuple[str, str, int | None], list[tuple[Row, ...]]]


@dataclass(frozen=True)
class Comparison:
    """A published figure beside one experiment of this program."""

    figure: Figure
    experiment: str | None  # None: the program does not have the method or the data set
    rows: tuple[Row, ...]  # the experiment's runs: a row for each division of the images; none if it was not chosen

    @property
    def row(self) -> Row | None:
        """The first of the rows, which has the experiment and the settings of all; None if it was not chosen."""
        return self.rows[0] if self.rows else None

    @property
    def finished(self) -> int:
        """The number of finished runs."""
        return sum(len(row.finished) for row in self.rows)

    @property
    def measured(self) -> Estimate | None:
        """The mean of the finished runs, in [0, 1], in which all divisions count the same; None without any."""
        accuracies = [[trial.accuracy for trial in row.finished] for row in self.rows if row.finished]
        return stratified(accuracies).within(0.0, 1.0) if accuracies else None

    @property
    def difference(self) -> float | None:
        """Our mean minus the published figure, in percentage points; None without a finished run."""
        return None if self.measured is None else 100 * self.measured.mean - self.figure.percent

    @property
    def verdict(self) -> str:
        """Where the published figure lies, seen from the interval of our mean, in words."""
        if self.experiment is None:
            return "not in this program"
        if not self.rows:
            return "not chosen"
        if self.measured is None:
            return "no finished run"
        if self.measured.interval is None:
            return "one seed, no interval" if len(self.rows) == 1 else "one seed of a division, no interval"
        low, high = (100 * end for end in self.measured.interval)
        if low <= self.figure.percent <= high:
            return "inside it"
        return "above it" if self.figure.percent > high else "below it"


def explanation(part: Part) -> str:
    """Returns what the comparisons of a part mean, in sentences."""
    return _EXPLANATION + (_OF_DIVISIONS if part.table.divisions else "")


def summary_of(part: Part) -> Summary:
    """Returns the summary of a part's runs, with paired tests against the baseline; missing runs are shown as such."""
    trials: list[Trial] = []
    damaged: list[str] = []
    for run in part.runs:
        workdir = Workdir(run.workdir)
        if workdir.config.exists() or workdir.results.exists():
            found, problems = read_run(workdir, part.table.metric)
            trials += found
            damaged += problems
    planned = [PlannedRun(run.workdir, _address(run), run.config.folds) for run in part.runs]
    return summarize(trials, damaged, planned, part.table.metric)


def comparisons(part: Part, summary: Summary) -> dict[str, list[tuple[Protocol, list[Comparison]]]]:
    """Returns the comparisons by data set, and for each by protocol, since protocols must not share a table.

    Data sets have their titles, and are in the order of the table.
    """
    rows = _rows_by_file(part, summary)
    found: dict[str, list[tuple[Protocol, list[Comparison]]]] = {}
    for dataset in part.table.datasets:
        figures = [figure for figure in part.figures if figure.dataset == dataset.config]
        by_protocol = []
        for protocol in part.table.protocols:
            same = sorted((one for one in figures if one.protocol == protocol), key=lambda one: one.images_per_class)
            if same:
                beside = [line for figure in same for line in _beside(figure, dataset, rows)]
                by_protocol.append((protocol, beside))
        if by_protocol:
            found[dataset.title] = by_protocol
    return found


def _rows_by_file(part: Part, summary: Summary) -> _Rows:
    """Returns a summary's rows, each by the file of its first run that was begun or, without one, of its data set."""
    by_directory = {run.workdir.resolve(): run.config_file for run in part.runs}
    by_label = {_address(run).dataset: run.config_file for run in part.runs}
    by_variant: dict[tuple[str, str, int | None], dict[str | None, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for section in summary.sections:
        for row in section.rows:
            begun = next((trial.workdir for trial in row.trials if trial.workdir is not None), None)
            file = by_label[section.dataset] if begun is None else by_directory[begun.resolve()]
            variant = None if begun is None else row.variant  # whose settings are only known of runs that were begun
            by_variant[file, row.experiment, row.images_per_class][variant].append(row)
    for variants in by_variant.values():
        if len(variants) == 2 and None in variants:
            (only,) = (variant for variant in variants if variant is not None)
            variants[only] += variants.pop(None)
    return {place: [tuple(rows) for rows in variants.values()] for place, variants in by_variant.items()}


def _beside(figure: Figure, dataset: TableDataset, rows: _Rows) -> Sequence[Comparison]:
    """Returns a comparison for each experiment that may be the figure's, as sources do not always say which.

    An experiment whose seeds differ in a setting has several rows.
    """
    found = []
    for experiment in figure.experiments if dataset.can_be_filled else ():
        of_experiment = rows.get((dataset.config, experiment, dataset.size_of_runs(figure.images_per_class)), [])
        found += [Comparison(figure, experiment, rows_of_divisions) for rows_of_divisions in of_experiment]
        if not of_experiment:
            found.append(Comparison(figure, experiment, ()))
    return found or [Comparison(figure, None, ())]


def changed_settings(part: Part) -> list[str]:
    """Returns the settings of the runs that differ from the shipped ones and can change a result, as ``key=value``."""
    of_the_table = ("seed", "max_labels_per_class", *(("dataset.division",) if part.table.divisions else ()))
    ignored = (*settings.NO_EFFECT_ON_RESULTS, *of_the_table)
    changed: dict[str, None] = {}
    for run in {run.source: run for run in part.runs}.values():
        shipped, actual = (settings.leaving_out(config, ignored) for config in (settings.load(run.source), run.config))
        changed |= {f"{key}={value}": None for key, value in actual.items() if shipped.get(key) != value}
    return list(changed)


def of_the_table(part: Part) -> list[str]:
    """Returns what was chosen of a table, such as "2 of 10 seeds"; an empty list if it is the whole one."""
    table, chosen = part.table, [*part.datasets, *part.not_filled]
    names = [dataset.config for dataset in chosen]
    whole = [dataset for dataset in table.datasets if dataset.config in names]
    counted = {
        "data sets": (len(chosen), len(table.datasets)),
        "numbers of images": tuple(
            len({size for dataset in some for size in dataset.images_per_class}) for some in (chosen, whole)
        ),
        "experiments": (len({run.config.experiment for run in part.runs}), len(table.experiments)),
        "seeds": (len(_seeds(part)), len(table.seeds)),
        "divisions": (len(_divisions(part)), len(table.divisions) or len(_divisions(part))),
    }
    return [f"{some} of {all_} {what}" for what, (some, all_) in counted.items() if some != all_]


def differs(part: Part, protocol: Protocol, key: str) -> str:
    """Returns in words whether an aspect of a protocol differs from a part's runs; ``key`` is that of ``ASPECTS``.

    The table says so of all of its runs. With fewer seeds or divisions, the number of runs differs in any case, and
    with fewer divisions the images do.
    """
    aspect, divisions = protocol.aspects[key], len(_divisions(part)) < len(part.table.divisions)
    if (key == "runs" and (divisions or len(_seeds(part)) < len(part.table.seeds))) or (key == "data" and divisions):
        return "yes"
    if aspect.differs == "yes" and aspect.differs_for:
        different = [dataset.title for dataset in part.datasets if dataset.config in aspect.differs_for]
        if different:
            return "yes" if len(different) == len(part.datasets) else f"yes: {', '.join(different)}"
        return "no"
    return {"yes": "yes", "no": "no", "unknown": "not known"}[aspect.differs]


def _seeds(part: Part) -> set[int]:
    return {run.config.seed for run in part.runs}


def _divisions(part: Part) -> set[int]:
    return {run.config.dataset.division for run in part.runs}


def our_protocol(part: Part) -> dict[str, str]:
    """Returns what the runs of this program have for each of ``published.ASPECTS``, by data set where that differs."""
    by_division = {dataset.title: _by_division(part, dataset.config) for dataset in part.datasets}
    configs = {title: next(iter(found.values())) for title, found in by_division.items()}
    seeds = len(_seeds(part))
    return {
        "data": _by_dataset(
            {
                title: f"{_training_images(by_division[title])}; all {config.dataset.evaluate_on} images"
                for title, config in configs.items()
            }
        ),
        "network": _by_dataset(
            {title: f"{config.classifier.model}, from scratch" for title, config in configs.items()}
        ),
        "training": _by_dataset({title: _training(config) for title, config in configs.items()}),
        "tuning": _by_dataset(
            {
                title: f"nothing: learning rate {config.classifier.learning_rate:g} and weight decay "
                f"{config.classifier.weight_decay:g} for all experiments"
                for title, config in configs.items()
            }
        ),
        "runs": _by_dataset({title: _runs(seeds, found) for title, found in by_division.items()}),
        "epoch": "the last",
        "metric": {"top1": "top-1 accuracy", "macro_accuracy": "macro accuracy, which is balanced accuracy"}[
            part.table.metric
        ],
    }


def _training_images(by_division: Mapping[int, ConfigDict]) -> str:
    first = next(iter(by_division.values()))
    images = first.max_labels_per_class
    if lists_of(first.dataset.name) is not None:
        chosen = "all images" if images is None else f"{images} images of every class"
        lists = [Path(place_of_images(config.dataset)[0]).stem for config in by_division.values()]
        return f"{chosen} of the published {_one_or_several('list', lists)}"
    if _NONE not in by_division:
        return f"the published {_one_or_several('division', list(by_division))}"
    return "the same number of images of every class, drawn by the seed as in ChimeraMix's program"


def _runs(seeds: int, by_division: Mapping[int, ConfigDict]) -> str:
    if len(by_division) > 1:
        return f"{counted(seeds, 'seed')} on each of {len(by_division)} divisions"
    drawn = _NONE in by_division
    if seeds == 1:
        return "1 seed, with images of its own" if drawn else "1 seed"
    return f"{seeds} seeds, {'each with images of its own' if drawn else 'all on the same images'}"


def _by_division(part: Part, file: str) -> dict[int, ConfigDict]:
    """Returns the settings of a data set's first run on each published division, or on none."""
    found: dict[int, ConfigDict] = {}
    for run in part.runs:
        if run.config_file == file:
            found.setdefault(run.config.dataset.division, run.config)
    return found


def _one_or_several(noun: str, names: Sequence[object]) -> str:
    return f"{noun}{'s' if len(names) > 1 else ''} {', '.join(map(str, names))}"


def _training(config: ConfigDict) -> str:
    classifier = config.classifier
    mirrored = " and mirrored" if config.augment.horizontal_flip else ""
    base = classifier.num_dataset_repeats_base
    shown = "all images once" if config.max_labels_per_class is None else f"about {base} images per class"
    return f"{classifier.epochs} epochs of {shown}, cropped{mirrored}, in batches of {classifier.batch_size}"


def _by_dataset(texts: Mapping[str, str]) -> str:
    """Joins texts about data sets; the names of the data sets are left out where all have the same text."""
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    grouped: dict[str, list[str]] = {}
    for title, text in texts.items():
        grouped.setdefault(text, []).append(title)
    return "; ".join(f"{', '.join(titles)}: {text}" for text, titles in grouped.items())


def _address(run: SweepRun) -> Address:
    config = run.config
    dataset = dataset_label(config.dataset.name, config.dataset.directory, config.dataset.division)
    return Address(dataset, config.dataset.evaluate_on, config.experiment, config.max_labels_per_class, config.seed)
