"""Means over seeds of runs that differ only in the seed, and comparisons with the baseline on the same seeds."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from chimeramix_jax.errors import not_one_of
from chimeramix_jax.reporting.seed_table import rollback_lines
from chimeramix_jax.reporting.splits import FOLDS
from chimeramix_jax.reporting.statistics import holm
from chimeramix_jax.reporting.wording import counted
from chimeramix_jax.summary.pairs import paired_with_baseline
from chimeramix_jax.summary.plan import PlannedRun
from chimeramix_jax.summary.sections import Row, Section, Summary
from chimeramix_jax.summary.trials import Address, Status, Trial
from chimeramix_jax.summary.wording import NOT_SET, images_in_words, seeds_in_words, value_in_words


def summarize(
    trials: Sequence[Trial],
    damaged: Sequence[str],
    planned: Sequence[PlannedRun] | None,
    metric: str,
    baseline: str = "baseline",
) -> Summary:
    """Groups trials into rows and compares each row with the baseline on the same seeds.

    Args:
        trials: the trials of all runs, from ``trials.read_run``.
        damaged: a line for each unreadable file, also from there.
        planned: the runs that should exist; None: in each section, every combination of its experiments, numbers of
            images and seeds.
        metric: the metric that the trials' accuracies hold, a key of ``trials.METRICS``.
        baseline: the experiment to compare with; InputError if it is neither "baseline" nor one of the experiments.
    """
    trials, planned = _on_measured_splits(trials, planned)
    experiments = sorted({trial.address.experiment for trial in trials})
    if baseline not in experiments and baseline != "baseline":
        raise not_one_of("--baseline", baseline, experiments)
    missing = _missing_in_grid(trials) if planned is None else _missing_in_plan(trials, planned)
    sections, warnings = [], []
    for (dataset, split), members in _grouped(
        [*trials, *missing], lambda trial: (trial.address.dataset, trial.address.split)
    ):
        rows, notes = _rows(members, baseline, metric)
        sections.append(Section(dataset, split, tuple(rows)))
        warnings += [f"{sections[-1].title}: {note}" for note in notes]
    return Summary(
        sections=tuple(sections),
        baseline=baseline,
        metric=metric,
        damaged=tuple(damaged),
        unfinished=tuple(_unfinished_lines(trials)),
        missing=tuple(line for section in sections for line in _missing_lines(section)),
        warnings=tuple(warnings),
        environments=Counter(
            trial.environment for section in sections for row in section.rows for trial in row.finished
        ),
    )


def _on_measured_splits(
    trials: Sequence[Trial], planned: Sequence[PlannedRun] | None
) -> tuple[list[Trial], Sequence[PlannedRun] | None]:
    """Returns trials and planned runs, in which those without results have the split that they will probably have.

    Settings say whether a run has folds, but only results say whether there are test images beside them. A plan of an
    earlier version does not say which runs have folds, so that finished runs of the same row have to.
    """
    finished = [trial.address for trial in trials if trial.status == Status.FINISHED]
    on_folds = [address for address in finished if address.split == FOLDS]
    datasets, rows = {address.dataset for address in on_folds}, {replace(one, seed=0) for one in on_folds}

    def measured(address: Address, folds: int | None) -> Address:
        expected = replace(address, split=FOLDS)
        alike = replace(expected, seed=0) in rows if folds is None else folds > 0 and address.dataset in datasets
        return expected if alike else address

    return [
        trial
        if trial.status == Status.FINISHED
        else replace(trial, address=measured(trial.address, trial.settings.get("folds")))
        for trial in trials
    ], planned and [replace(run, address=measured(run.address, run.folds)) for run in planned]


def _grouped(items: Iterable[Any], key) -> list[tuple[Any, list[Any]]]:
    """Groups items by key and sorts the groups; None comes after every number."""
    groups: dict[Any, list[Any]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return [(name, groups[name]) for name in sorted(groups, key=lambda name: [(part is None, part) for part in name])]


def _missing_in_grid(trials: Sequence[Trial]) -> list[Trial]:
    existing = {trial.address for trial in trials}
    missing = []
    for (dataset, split), members in _grouped(trials, lambda trial: (trial.address.dataset, trial.address.split)):
        addresses = [trial.address for trial in members]
        for experiment in {address.experiment for address in addresses}:
            for images in {address.images_per_class for address in addresses}:
                for seed in {address.seed for address in addresses}:
                    address = Address(dataset, split, experiment, images, seed)
                    if address not in existing:
                        missing.append(Trial(address, Status.MISSING, None))
    return missing


def _missing_in_plan(trials: Sequence[Trial], planned: Sequence[PlannedRun]) -> list[Trial]:
    existing = {trial.workdir.resolve() for trial in trials if trial.workdir is not None}
    return [Trial(run.address, Status.MISSING, None) for run in planned if run.workdir.resolve() not in existing]


def _rows(trials: Sequence[Trial], baseline: str, metric: str) -> tuple[list[Row], list[str]]:
    """Returns the rows of a section, sorted by number of images with the baseline first, and its warnings."""
    rows, warnings = [], []
    for (experiment,), members in _grouped(trials, lambda trial: (trial.address.experiment,)):
        differing = _differing_settings(members)
        if differing:
            listed = ", ".join(f"{key} ({_listed(values)})" for key, values in differing.items())
            warnings.append(
                f"{experiment}: runs on the same number of images differ in {listed}; "
                "they are listed separately and never averaged"
            )
        warnings += _changed_settings(experiment, members)
        variants_of_runs = {_variant(trial, differing): trial for trial in members if trial.status != Status.MISSING}
        missing = next(iter(variants_of_runs)) if len(variants_of_runs) == 1 else ""
        distinct = {variant: _distinct(trial, differing) for variant, trial in variants_of_runs.items()}
        variants = _grouped(members, partial(_size_and_variant, differing=differing, missing_variant=missing))
        for (images, variant), matching in variants:
            chosen, notes = _one_per_seed(matching)
            rows.append(Row(experiment, distinct.get(variant, {}), images, chosen, {}))
            notes += rollback_lines((f"seed {trial.address.seed}", trial.rollbacks) for trial in rows[-1].finished)
            notes += _chosen_by_folds(rows[-1].finished, metric)
            warnings += [f"{rows[-1].title_with_images}: {note}" for note in notes]
        warnings += _changes_between_sizes([row for row in rows if row.experiment == experiment])
    paired, notes = paired_with_baseline(rows, baseline)
    order = {row.title: (row.experiment != baseline, row.title) for row in paired}
    paired.sort(key=lambda row: (row.images_per_class is None, row.images_per_class, order[row.title]))
    return _corrected(paired), warnings + notes


def _chosen_by_folds(trials: Sequence[Trial], metric: str) -> list[str]:
    """Returns a line on runs whose recipe was chosen by the images that they are measured on, if there are any."""
    chosen = [trial for trial in trials if trial.optimism]
    if not chosen:
        return []
    runs = f"the recipe of {counted(len(chosen), 'run')} was chosen by the images of the folds"
    if metric != "top1":
        return [f"{runs}, so that this metric is too high, which is not corrected; top-1 accuracy is"]
    points = 100 * sum(trial.optimism for trial in chosen) / len(chosen)
    return [f"{runs}; the accuracy is {points:.1f} points lower than measured to make up for it, on average"]


def _corrected(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows with their p-values corrected for the number of tests among them."""
    p_values = {number: p_value for number, row in enumerate(rows) if (p_value := row.p_value) is not None}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return [replace(row, corrected_p=corrected.get(number)) for number, row in enumerate(rows)]


def _values(trials: Iterable[Trial], key: str) -> set[Any]:
    """Returns the known values of a setting; an unfinished run does not know all of its settings yet."""
    finished = Status.FINISHED
    return {trial.settings.get(key, NOT_SET) for trial in trials if key in trial.settings or trial.status == finished}


def _differing_settings(trials: Sequence[Trial]) -> dict[str, set[Any]]:
    """Returns the settings, with values, in which trials of one experiment and number of images differ."""
    differing: dict[str, set[Any]] = {}
    for _, same_size in _grouped(trials, lambda trial: (trial.address.images_per_class,)):
        for key in dict.fromkeys(key for trial in same_size for key in trial.settings):
            if len(_values(same_size, key)) > 1:
                differing[key] = differing.get(key, set()) | _values(trials, key)
    return differing


def _size_and_variant(trial: Trial, differing: Iterable[str], missing_variant: str) -> tuple[int | None, str]:
    variant = missing_variant if trial.status == Status.MISSING else _variant(trial, differing)
    return trial.address.images_per_class, variant


def _variant(trial: Trial, differing: Iterable[str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in _distinct(trial, differing).items())


def _distinct(trial: Trial, differing: Iterable[str]) -> dict[str, str]:
    """Returns the settings of a trial that are part of its row's title, as text."""
    unknown = NOT_SET if trial.status == Status.FINISHED else "unknown"
    keys = dict.fromkeys((*differing, *trial.changed))
    return {key: value_in_words(trial.settings.get(key, unknown)) for key in keys}


def _changed_settings(experiment: str, trials: Sequence[Trial]) -> list[str]:
    """Returns a line for each setting in which trials differ from the shipped experiment."""
    changes: dict[str, set[Any]] = defaultdict(set)
    for trial in trials:
        for key, shipped in trial.changed.items():
            changes[f"{key} was changed from the shipped {value_in_words(shipped)}"].add(trial.settings[key])
    return [f"{experiment}: {change} to {_listed(values)}" for change, values in changes.items()]


def _changes_between_sizes(rows: Sequence[Row]) -> list[str]:
    lines = []
    for (variant,), same_variant in _grouped(rows, lambda row: (row.variant,)):
        finished = [trial for row in same_variant for trial in row.finished]
        for key in dict.fromkeys(key for trial in finished for key in trial.settings):
            if len(values := _values(finished, key)) > 1 and f"{key}=" not in variant:
                lines.append(f"{same_variant[0].title}: {key} varies with the number of images ({_listed(values)})")
    return lines


def _one_per_seed(trials: Sequence[Trial]) -> tuple[tuple[Trial, ...], list[str]]:
    """Chooses one trial per seed, preferring separate runs to embedded baselines; also notes repeated runs."""
    chosen, notes = [], []
    rank = {Status.FINISHED: 0, Status.DAMAGED: 1, Status.UNFINISHED: 2, Status.MISSING: 3}
    for (seed,), same in _grouped(trials, lambda trial: (trial.address.seed,)):
        same.sort(key=lambda trial: (rank[trial.status], trial.embedded, str(trial.workdir)))
        chosen.append(same[0])
        finished = [trial for trial in same if trial.status == Status.FINISHED]
        if len({trial.accuracy for trial in finished}) > 1:
            found = ", ".join(f"{100 * trial.accuracy:.2f} % in {trial.workdir}" for trial in finished)
            notes.append(f"seed {seed} was run more than once, with different results: {found}; only the first counts")
        elif sum(not trial.embedded for trial in finished) > 1:
            found = ", ".join(str(trial.workdir) for trial in finished if not trial.embedded)
            notes.append(f"seed {seed} was run more than once, with the same result: {found}; it counts once")
    return tuple(chosen), notes


def _unfinished_lines(trials: Sequence[Trial]) -> list[str]:
    lines = []
    unfinished = (trial for trial in trials if trial.status == Status.UNFINISHED)
    for (workdir,), parts in _grouped(unfinished, lambda trial: (str(trial.workdir),)):
        address = parts[0].address
        experiments = " and ".join(part.address.experiment for part in parts)
        images = images_in_words(address.images_per_class)
        lines.append(f"{workdir}: {address.dataset}, {experiments}, {images} images per class, seed {address.seed}")
    return lines


def _missing_lines(section: Section) -> list[str]:
    lines = []
    for row in section.rows:
        seeds = [trial.address.seed for trial in row.trials if trial.status == Status.MISSING]
        if seeds:
            lines.append(f"{section.title}: {row.title_with_images}: {seeds_in_words(seeds)}")
    return lines


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(sorted(map(value_in_words, values)))
