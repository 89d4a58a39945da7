"""Averaging over seeds, never what differs in more than the seed, and comparing with the baseline of the same seeds."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from chimeramix_jax import config as settings
from chimeramix_jax.errors import not_one_of
from chimeramix_jax.reporting.seed_table import rollback_lines
from chimeramix_jax.reporting.statistics import Estimate, estimate
from chimeramix_jax.summary.plan import PlannedRun
from chimeramix_jax.summary.trials import Address, Status, Trial

# What experiments differ in by design. Where two classifiers differ in more, their difference is not the experiments'.
EXPERIMENT_SETTINGS = (
    "augment.autoaugment_policy",
    "augment.cutout",
    "augment.cutout_side",
    "augment.mixup",
    "augment.policy",
    "augment.random_erasing_probability",
    "generator",
    "mixing",
)

_NOT_SET = "not set"  # a setting that another version of the program did not have


@dataclass(frozen=True)
class Row:
    """The trials that differ in nothing but the seed.

    Attributes:
        experiment: their experiment.
        variant: the settings that tell them from other trials of the experiment, and those in which they differ from
            the experiment as it is shipped; empty where there is neither.
        images_per_class: None: all.
        trials: one per seed, in the seeds' order.
        differences: accuracy less the baseline's, in [-1, 1], by seed: those whose baseline is there.
    """

    experiment: str
    variant: str
    images_per_class: int | None
    trials: tuple[Trial, ...]
    differences: Mapping[int, float]

    @property
    def title(self) -> str:
        """Experiment and variant."""
        return f"{self.experiment} ({self.variant})" if self.variant else self.experiment

    @property
    def finished(self) -> list[Trial]:
        """The trials that count."""
        return [trial for trial in self.trials if trial.status == Status.FINISHED]

    @property
    def accuracy(self) -> Estimate | None:
        """Over the finished trials; None where there is none."""
        values = [trial.accuracy for trial in self.finished]
        return estimate(values).within(0.0, 1.0) if values else None

    @property
    def difference(self) -> Estimate | None:
        """Over the seeds whose baseline is there, in [-1, 1]; None where there is none."""
        return estimate(list(self.differences.values())).within(-1.0, 1.0) if self.differences else None


@dataclass(frozen=True)
class Section:
    """A data set, and the split that its trials were measured on."""

    dataset: str
    split: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """Data set and split."""
        return f"{self.dataset}, {self.split} images"

    @property
    def seeds(self) -> list[int]:
        """Every seed of its rows, in order."""
        return sorted({trial.address.seed for row in self.rows for trial in row.trials})


@dataclass(frozen=True)
class Summary:
    """All that is known of many runs.

    Attributes:
        sections: by data set and split.
        baseline: the experiment that others are compared with.
        metric: one of ``trials.METRICS``.
        damaged: a line per file that cannot be read.
        unfinished: a line per run without results.
        missing: a line per row with trials that are not there.
        cautions: a line per thing to know before believing a figure.
        environments: how many classifiers were trained with which device and versions.
    """

    sections: tuple[Section, ...]
    baseline: str
    metric: str
    damaged: tuple[str, ...]
    unfinished: tuple[str, ...]
    missing: tuple[str, ...]
    cautions: tuple[str, ...]
    environments: Mapping[str, int]

    def count(self, status: Status) -> int:
        """How many classifiers have a status."""
        return sum(trial.status == status for section in self.sections for row in section.rows for trial in row.trials)


def summarize(
    trials: Sequence[Trial],
    damaged: Sequence[str],
    planned: Sequence[PlannedRun] | None,
    metric: str,
    baseline: str = "baseline",
) -> Summary:
    """Groups trials into rows, and compares every row with the baseline of the same seeds.

    Args:
        trials: what ``trials.read_run`` found.
        damaged: its lines about what cannot be read.
        planned: the runs that there are to be; None: in every section, those of its experiments, numbers of images and
            seeds in every combination.
        metric: what the trials' accuracies are.
        baseline: the experiment to compare with.

    Raises:
        InputError: ``baseline`` is not "baseline", and none of the experiments.
    """
    experiments = sorted({trial.address.experiment for trial in trials})
    if baseline not in experiments and baseline != "baseline":
        raise not_one_of("--baseline", baseline, experiments)
    missing = _missing_in_grid(trials) if planned is None else _missing_in_plan(trials, planned)
    sections, cautions = [], []
    for (dataset, split), members in _grouped(
        [*trials, *missing], lambda trial: (trial.address.dataset, trial.address.split)
    ):
        rows, remarks = _rows(members, baseline)
        sections.append(Section(dataset, split, tuple(rows)))
        cautions += [f"{sections[-1].title}: {remark}" for remark in remarks]
    return Summary(
        sections=tuple(sections),
        baseline=baseline,
        metric=metric,
        damaged=tuple(damaged),
        unfinished=tuple(_unfinished_lines(trials)),
        missing=tuple(line for section in sections for line in _missing_lines(section)),
        cautions=tuple(cautions),
        environments=Counter(
            trial.environment for section in sections for row in section.rows for trial in row.finished
        ),
    )


def images_in_words(images_per_class: int | None) -> str:
    """A number of images per class, for people: "5", or "all"."""
    return "all" if images_per_class is None else str(images_per_class)


def _grouped(items: Iterable[Any], key) -> list[tuple[Any, list[Any]]]:
    """Items that share a key, by key in order; None comes after every number."""
    groups: dict[Any, list[Any]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return [(name, groups[name]) for name in sorted(groups, key=lambda name: [(part is None, part) for part in name])]


def _missing_in_grid(trials: Sequence[Trial]) -> list[Trial]:
    there = {trial.address for trial in trials}
    missing = []
    for (dataset, split), members in _grouped(trials, lambda trial: (trial.address.dataset, trial.address.split)):
        addresses = [trial.address for trial in members]
        for experiment in {address.experiment for address in addresses}:
            for images in {address.images_per_class for address in addresses}:
                for seed in {address.seed for address in addresses}:
                    address = Address(dataset, split, experiment, images, seed)
                    if address not in there:
                        missing.append(Trial(address, Status.MISSING, None))
    return missing


def _missing_in_plan(trials: Sequence[Trial], planned: Sequence[PlannedRun]) -> list[Trial]:
    there = {trial.workdir.resolve() for trial in trials if trial.workdir is not None}
    return [Trial(run.address, Status.MISSING, None) for run in planned if run.workdir.resolve() not in there]


def _rows(trials: Sequence[Trial], baseline: str) -> tuple[list[Row], list[str]]:
    """The rows of a section, by number of images, the baseline first; and what to know of them."""
    rows, cautions = [], []
    for (experiment,), members in _grouped(trials, lambda trial: (trial.address.experiment,)):
        telling = _telling_settings(members)
        if telling:
            differing = ", ".join(f"{key} ({_listed(values)})" for key, values in telling.items())
            cautions.append(f"{experiment}: runs of as many images differ in {differing}; shown apart, never averaged")
        cautions += _changed_by_hand(experiment, members)
        known = {_variant(trial, telling) for trial in members if trial.status != Status.MISSING}
        of_missing = next(iter(known)) if len(known) == 1 else ""
        variants = _grouped(members, partial(_size_and_variant, telling=telling, of_missing=of_missing))
        for (images, variant), alike in variants:
            chosen, remarks = _one_per_seed(alike)
            rows.append(Row(experiment, variant, images, chosen, {}))
            remarks += rollback_lines((f"seed {trial.address.seed}", trial.rollbacks) for trial in rows[-1].finished)
            cautions += [f"{rows[-1].title}, {_images(images)}: {remark}" for remark in remarks]
        cautions += _changes_between_sizes([row for row in rows if row.experiment == experiment])
    paired, remarks = _paired(rows, baseline)
    order = {row.title: (row.experiment != baseline, row.title) for row in paired}
    paired.sort(key=lambda row: (row.images_per_class is None, row.images_per_class, order[row.title]))
    return paired, cautions + remarks


def _values(trials: Iterable[Trial], key: str) -> set[Any]:
    """The values of a setting, as far as they are known: of a run that is not finished, not all are."""
    finished = Status.FINISHED
    return {trial.settings.get(key, _NOT_SET) for trial in trials if key in trial.settings or trial.status == finished}


def _telling_settings(trials: Sequence[Trial]) -> dict[str, set[Any]]:
    """The settings in which trials of one experiment and number of images differ, and their values."""
    telling: dict[str, set[Any]] = {}
    for _, alike in _grouped(trials, lambda trial: (trial.address.images_per_class,)):
        for key in dict.fromkeys(key for trial in alike for key in trial.settings):
            if len(_values(alike, key)) > 1:
                telling[key] = telling.get(key, set()) | _values(trials, key)
    return telling


def _size_and_variant(trial: Trial, telling: Iterable[str], of_missing: str) -> tuple[int | None, str]:
    variant = of_missing if trial.status == Status.MISSING else _variant(trial, telling)
    return trial.address.images_per_class, variant


def _variant(trial: Trial, telling: Iterable[str]) -> str:
    unknown = _NOT_SET if trial.status == Status.FINISHED else "unknown"
    keys = dict.fromkeys((*telling, *trial.changed))
    return ", ".join(f"{key}={_value(trial.settings.get(key, unknown))}" for key in keys)


def _changed_by_hand(experiment: str, trials: Sequence[Trial]) -> list[str]:
    """A line for every setting in which trials differ from their experiment as it is shipped."""
    changes: dict[str, set[Any]] = defaultdict(set)
    for trial in trials:
        for key, shipped in trial.changed.items():
            changes[f"{key}: shipped is {_value(shipped)}"].add(trial.settings[key])
    return [
        f"{experiment}: not as shipped: {what}, these runs have {_listed(values)}" for what, values in changes.items()
    ]


def _changes_between_sizes(rows: Sequence[Row]) -> list[str]:
    lines = []
    for (variant,), alike in _grouped(rows, lambda row: (row.variant,)):
        finished = [trial for row in alike for trial in row.finished]
        for key in dict.fromkeys(key for trial in finished for key in trial.settings):
            if len(values := _values(finished, key)) > 1 and f"{key}=" not in variant:
                lines.append(f"{alike[0].title}: {key} is not the same for every number of images ({_listed(values)})")
    return lines


def _one_per_seed(trials: Sequence[Trial]) -> tuple[tuple[Trial, ...], list[str]]:
    """The trial of each seed that counts, a run of its own before a baseline within another; and where two disagree."""
    chosen, remarks = [], []
    rank = {Status.FINISHED: 0, Status.DAMAGED: 1, Status.UNFINISHED: 2, Status.MISSING: 3}
    for (seed,), same in _grouped(trials, lambda trial: (trial.address.seed,)):
        same.sort(key=lambda trial: (rank[trial.status], trial.within, str(trial.workdir)))
        chosen.append(same[0])
        finished = [trial for trial in same if trial.status == Status.FINISHED]
        if len({trial.accuracy for trial in finished}) > 1:
            found = ", ".join(f"{100 * trial.accuracy:.2f} % in {trial.workdir}" for trial in finished)
            remarks.append(f"seed {seed} was run more than once, with other results: {found}; the first counts")
        elif sum(not trial.within for trial in finished) > 1:
            found = ", ".join(str(trial.workdir) for trial in finished if not trial.within)
            remarks.append(f"seed {seed} was run more than once, with the same result: {found}; it counts once")
    return tuple(chosen), remarks


def _paired(rows: Sequence[Row], baseline: str) -> tuple[list[Row], list[str]]:
    """The rows with their differences to the baseline; and what could not be compared, and why."""
    baselines: dict[tuple[int | None, int], list[Trial]] = defaultdict(list)
    for row in rows:
        if row.experiment == baseline:
            for trial in row.finished:
                baselines[row.images_per_class, trial.address.seed].append(trial)
    paired, remarks = [], []
    for row in rows:
        differences: dict[int, float] = {}
        obstacles: dict[str, list[int]] = defaultdict(list)
        for trial in row.finished if row.experiment != baseline else []:
            seed = trial.address.seed
            others = baselines.get((row.images_per_class, seed), [])
            reasons = [_obstacle(trial, other) for other in others]
            if "" in reasons:
                differences[seed] = trial.accuracy - others[reasons.index("")].accuracy
            elif reasons:
                obstacles[reasons[0]].append(seed)
        paired.append(replace(row, differences=differences))
        for reason, seeds in obstacles.items():
            where = f"{row.title}, {_images(row.images_per_class)}"
            remarks.append(f"{where}: not compared with {baseline} for {_seeds(seeds)}: {reason}")
    if not baselines and any(row.finished for row in rows):
        remarks.append(f"no finished run of {baseline}, so no differences to it")
    return paired, remarks


def _obstacle(trial: Trial, baseline: Trial) -> str:
    """Why two trials of one seed cannot be compared; empty where they can."""
    ours, theirs = (settings.leaving_out(one.settings, EXPERIMENT_SETTINGS) for one in (trial, baseline))
    differing = [key for key in {**ours, **theirs} if ours.get(key, _NOT_SET) != theirs.get(key, _NOT_SET)]
    if differing:
        return "other settings: " + ", ".join(
            f"{key} {_value(ours.get(key, _NOT_SET))} instead of {_value(theirs.get(key, _NOT_SET))}"
            for key in differing
        )
    by_hand = [key for key in baseline.changed if key not in ours and key not in theirs]
    if by_hand:
        return "that one is not as shipped: " + ", ".join(
            f"{key} {_value(baseline.settings[key])} instead of {_value(baseline.changed[key])}" for key in by_hand
        )
    if trial.images != baseline.images or (trial.data and baseline.data and trial.data != baseline.data):
        return "trained or measured on other images"
    return ""


def _unfinished_lines(trials: Sequence[Trial]) -> list[str]:
    lines = []
    unfinished = (trial for trial in trials if trial.status == Status.UNFINISHED)
    for (workdir,), parts in _grouped(unfinished, lambda trial: (str(trial.workdir),)):
        address = parts[0].address
        experiments = " and ".join(part.address.experiment for part in parts)
        images = _images(address.images_per_class)
        lines.append(f"{workdir}: {address.dataset}, {experiments}, {images}, seed {address.seed}")
    return lines


def _missing_lines(section: Section) -> list[str]:
    lines = []
    for row in section.rows:
        seeds = [trial.address.seed for trial in row.trials if trial.status == Status.MISSING]
        if seeds:
            lines.append(f"{section.title}: {row.title}, {_images(row.images_per_class)}: {_seeds(seeds)}")
    return lines


def _images(images_per_class: int | None) -> str:
    return f"{images_in_words(images_per_class)} images per class"


def _seeds(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, sorted(seeds)))


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted(map(_value, values)))


def _value(value: Any) -> str:
    return "(" + ", ".join(map(str, value)) + ")" if isinstance(value, tuple) else str(value)
