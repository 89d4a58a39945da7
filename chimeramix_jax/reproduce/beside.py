"""Published figures beside the results of this program: what was measured, and where the published figure lies."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ml_collections import ConfigDict

from chimeramix_jax import config as settings
from chimeramix_jax.config.catalog import lists_of, place_of_images
from chimeramix_jax.reporting.statistics import Estimate
from chimeramix_jax.reproduce.parts import Part
from chimeramix_jax.reproduce.published import Figure, Protocol, TableDataset
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.summary.comparison import summarize
from chimeramix_jax.summary.plan import PlannedRun
from chimeramix_jax.summary.sections import Row, Summary
from chimeramix_jax.summary.trials import Address, Trial, dataset_label, read_run
from chimeramix_jax.sweep.selection import SweepRun

EXPLANATION = (
    "A published figure is a mean over runs whose single results are not published, so it cannot be paired with ours. "
    "It is compared with the 95 % interval of our mean over seeds (Student's t). A figure outside of it is a hint, not "
    "the result of a test: the published mean has an uncertainty of its own, and with many figures some lie outside by "
    "chance. Where the protocols differ, the difference may come from that alone. Paired tests are between experiments "
    "of this program, in the tables below."
)

# Rows by config file, experiment and ``max_labels_per_class``: data sets of several files may share ``dataset.name``.
_Rows = dict[tuple[str, str, int | None], list[Row]]


@dataclass(frozen=True)
class Comparison:
    """A published figure beside one experiment of this program."""

    figure: Figure
    experiment: str | None  # None: the program does not have the method or the data set
    row: Row | None  # the experiment's runs; None if it was not chosen

    @property
    def measured(self) -> Estimate | None:
        """The mean of the finished runs, in [0, 1]; None without any."""
        return None if self.row is None else self.row.accuracy

    @property
    def difference(self) -> float | None:
        """Our mean minus the published figure, in percentage points; None without a finished run."""
        return None if self.measured is None else 100 * self.measured.mean - self.figure.percent

    @property
    def verdict(self) -> str:
        """Where the published figure lies, seen from the interval of our mean, in words."""
        if self.experiment is None:
            return "not in this program"
        if self.row is None:
            return "not chosen"
        if self.measured is None:
            return "no finished run"
        if self.measured.interval is None:
            return "one seed, no interval"
        low, high = (100 * end for end in self.measured.interval)
        if low <= self.figure.percent <= high:
            return "inside it"
        return "above it" if self.figure.percent > high else "below it"


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
    return summarize(trials, damaged, [PlannedRun(run.workdir, _address(run)) for run in part.runs], part.table.metric)


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
    rows: _Rows = defaultdict(list)
    for section in summary.sections:
        for row in section.rows:
            begun = next((trial.workdir for trial in row.trials if trial.workdir is not None), None)
            file = by_label[section.dataset] if begun is None else by_directory[begun.resolve()]
            rows[file, row.experiment, row.images_per_class].append(row)
    return rows


def _beside(figure: Figure, dataset: TableDataset, rows: _Rows) -> Sequence[Comparison]:
    """Returns a comparison for each experiment that may be the figure's, as sources do not always say which.

    An experiment whose seeds differ in a setting has several rows.
    """
    found = []
    for experiment in figure.experiments if dataset.can_be_filled else ():
        of_experiment = rows.get((dataset.config, experiment, dataset.size_of_runs(figure.images_per_class)), [])
        found += [Comparison(figure, experiment, row) for row in of_experiment]
        if not of_experiment:
            found.append(Comparison(figure, experiment, None))
    return found or [Comparison(figure, None, None)]


def changed_settings(part: Part) -> list[str]:
    """Returns the settings of the runs that differ from the shipped ones and can change a result, as ``key=value``."""
    changed: dict[str, None] = {}
    for run in {run.source: run for run in part.runs}.values():
        ignored = (*settings.NO_EFFECT_ON_RESULTS, "seed", "max_labels_per_class")
        shipped, actual = (settings.leaving_out(config, ignored) for config in (settings.load(run.source), run.config))
        changed |= {f"{key}={value}": None for key, value in actual.items() if shipped.get(key) != value}
    return list(changed)


def our_protocol(part: Part) -> dict[str, str]:
    """Returns what the runs of this program have for each of ``published.ASPECTS``, by data set where that differs."""
    configs = {dataset.title: _first_config(part, dataset.config) for dataset in part.datasets}
    seeds = len({run.config.seed for run in part.runs})
    return {
        "data": _by_dataset(
            {
                title: f"{_training_images(config)}; all {config.dataset.evaluate_on} images"
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
        "runs": _by_dataset({title: _runs(seeds, config) for title, config in configs.items()}),
        "epoch": "the last",
        "metric": {"top1": "top-1 accuracy", "macro_accuracy": "macro accuracy, which is balanced accuracy"}[
            part.table.metric
        ],
    }


def _training_images(config: ConfigDict) -> str:
    dataset, images = config.dataset, config.max_labels_per_class
    chosen = "all images" if images is None else f"{images} images of every class"
    if lists_of(dataset.name) is not None:
        return f"{chosen} of the published list {Path(place_of_images(dataset)[0]).stem}"
    if dataset.division >= 0:
        return f"the published division {dataset.division}"
    return "the same number of images of every class, drawn by the seed as in ChimeraMix's program"


def _runs(seeds: int, config: ConfigDict) -> str:
    same_images = config.dataset.division >= 0
    if seeds == 1:
        return "1 seed" if same_images else "1 seed, with images of its own"
    return f"{seeds} seeds, {'all on the same images' if same_images else 'each with images of its own'}"


def _training(config: ConfigDict) -> str:
    classifier = config.classifier
    mirrored = " and mirrored" if config.augment.horizontal_flip else ""
    base = classifier.num_dataset_repeats_base
    shown = "all images once" if config.max_labels_per_class is None else f"about {base} images per class"
    return f"{classifier.epochs} epochs of {shown}, cropped{mirrored}, in batches of {classifier.batch_size}"


def _first_config(part: Part, file: str) -> ConfigDict:
    return next(run.config for run in part.runs if run.config_file == file)


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
    dataset = dataset_label(config.dataset.name, config.dataset.directory)
    return Address(dataset, config.dataset.evaluate_on, config.experiment, config.max_labels_per_class, config.seed)
