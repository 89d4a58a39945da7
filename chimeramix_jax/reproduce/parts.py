"""The part of a published table that a command is about: its runs, and the published figures beside them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chimeramix_jax import config as settings
from chimeramix_jax.config.catalog import dataset_entry
from chimeramix_jax.data.preparation import prepared_builder, quiet_tfds
from chimeramix_jax.errors import InputError
from chimeramix_jax.reproduce.published import Figure, PublishedTable, TableDataset
from chimeramix_jax.sweep import selection
from chimeramix_jax.sweep.selection import SweepRun

_DIVISION = "--config.dataset.division"
_NO_EMBEDDED_BASELINE = "--config.compare_with_baseline=false"  # baselines are runs of the table


@dataclass(frozen=True)
class Part:
    """A table or a part of it."""

    table: PublishedTable
    datasets: tuple[TableDataset, ...]  # those that this program has, with the chosen numbers of images
    runs: tuple[SweepRun, ...]  # ordered by seed, so that a stopped sweep has complete comparisons for the first seeds
    figures: tuple[Figure, ...]  # published ones of the chosen data sets and numbers of images
    not_filled: tuple[TableDataset, ...]  # chosen data sets that this program does not have


def chosen(
    table: PublishedTable,
    folder: Path,
    *,
    datasets: str | None = None,
    experiments: str | None = None,
    images: str | None = None,
    seeds: str | None = None,
    divisions: str | None = None,
    overrides: Sequence[str] = (),
) -> Part:
    """Returns the part of a table that the flags choose; None stands for all that the table has.

    Args:
        table: the published table.
        folder: where the runs' directories are, or will be.
        datasets: comma-separated names and glob patterns of its data sets.
        experiments: the same for its experiments.
        images: comma-separated numbers of images per class.
        seeds: comma-separated numbers and ranges.
        divisions: the same for the numbers of its published divisions.
        overrides: arguments ``--config.key=value`` for all runs.

    Raises:
        InputError: a name or number is not in the table, or nothing is left that this program can run.
    """
    left = _left(table, datasets, images)
    fillable = [dataset for dataset in left if dataset.can_be_filled]
    names = _names("--experiments", experiments, table.experiments)
    numbers = _numbers("--seeds", seeds, table.seeds, table.name)
    of_images = _divisions(table, divisions, overrides)
    places = {(dataset.config, size) for dataset in left for size in dataset.images_per_class}
    return Part(
        table,
        tuple(fillable),
        tuple(_runs(folder, fillable, names, numbers, of_images, overrides)),
        tuple(figure for figure in table.figures if (figure.dataset, figure.images_per_class) in places),
        tuple(dataset for dataset in left if not dataset.can_be_filled),
    )


def _left(table: PublishedTable, datasets: str | None, images: str | None) -> list[TableDataset]:
    """Returns the chosen data sets with the chosen numbers of images; raises InputError if none can be filled."""
    sizes = _sizes(table, images)
    wanted = _names("--datasets", datasets, [dataset.config for dataset in table.datasets])
    entries = [_restricted(dataset, sizes) for dataset in table.datasets if dataset.config in wanted]
    left = [dataset for dataset in entries if dataset.images_per_class]
    if not left:
        raise InputError(
            f"--max_labels_per_class: {images!r} leaves nothing of {table.name}, which has {_places(table, wanted)}"
        )
    if not any(dataset.can_be_filled for dataset in left):
        raise InputError(
            f"--datasets: {', '.join(dataset.config for dataset in left)}: there is no config file for this data set, "
            f"so only the published figures are known; {table.name} can be filled for "
            f"{', '.join(dataset.config for dataset in table.datasets if dataset.can_be_filled)}"
        )
    return left


def check_data(runs: Iterable[SweepRun]) -> None:
    """Prepares the data sets of the runs, so that a missing one is reported before anything is trained.

    Raises InputError, which names the data sets that are missing, says how to provide the first of them, and which flag
    fills the rest.
    """
    by_images = {(run.config_file, run.config.dataset.division): run.config.dataset for run in runs}
    missing: dict[str, InputError] = {}
    for (name, _), dataset in by_images.items():
        try:
            with quiet_tfds():
                prepared_builder(dataset_entry(dataset.name), dataset)
        except InputError as error:
            missing.setdefault(name, error)
    if missing:
        available = [name for name in dict.fromkeys(name for name, _ in by_images) if name not in missing]
        rest = f"; --datasets={','.join(available)} fills the rest" if available else ""
        (first, problem), *others = missing.items()
        also = f", nor {'is' if len(others) == 1 else 'are'} {', '.join(name for name, _ in others)}" if others else ""
        raise InputError(f"{first} is not available{also}: {problem}{rest}") from problem


def _runs(
    folder: Path,
    datasets: Sequence[TableDataset],
    experiments: Sequence[str],
    seeds: str,
    of_images: Sequence[Sequence[str]],
    overrides: Sequence[str],
) -> list[SweepRun]:
    """Returns the runs, given the arguments that choose the training images: one list for each division."""
    given = any(override.startswith("--config.compare_with_baseline=") for override in overrides)
    shared = overrides if given else [_NO_EMBEDDED_BASELINE, *overrides]
    runs = [
        run
        for dataset in datasets
        for division in of_images
        for run in selection.select(
            folder,
            dataset.config,
            ",".join(experiments),
            _sizes_of_runs(dataset),
            seeds,
            [*shared, *division],
        )
    ]
    return sorted(runs, key=lambda run: run.config.seed)  # a stable sort: the order is otherwise that of the table


def _sizes_of_runs(dataset: TableDataset) -> str:
    """Returns the numbers of images per class as the text of a list, as for a sweep."""
    sizes = [dataset.size_of_runs(size) for size in dataset.images_per_class]
    return ",".join(selection.ALL if size is None else str(size) for size in sizes)


def _names(flag: str, text: str | None, known: Sequence[str]) -> list[str]:
    names = list(known) if text is None else selection.matching(flag, text, known)
    if not names:
        raise InputError(f"{flag}: is empty; it must contain at least one value")
    return names


def _restricted(dataset: TableDataset, sizes: Sequence[int]) -> TableDataset:
    return replace(dataset, images_per_class=tuple(size for size in dataset.images_per_class if size in sizes))


def _sizes(table: PublishedTable, text: str | None) -> list[int]:
    known = sorted({size for dataset in table.datasets for size in dataset.images_per_class})
    if text is None:
        return known
    sizes = []
    for number in selection.numbers_of_images(text):
        if number is None or number not in known:
            given = selection.ALL if number is None else number
            raise InputError(
                f"--max_labels_per_class: {given} is not in the table {table.name}; allowed: "
                f"{', '.join(map(str, known))}"
            )
        sizes.append(number)
    return sizes


def _divisions(table: PublishedTable, text: str | None, overrides: Sequence[str]) -> list[list[str]]:
    """Returns the arguments of runs that choose the training images: a list for each chosen division, or an empty one.

    Raises InputError if a division is not in the table, or if the overrides have one although the table does.
    """
    if not table.divisions:
        if text is not None:
            raise InputError(f"--divisions: {text!r}, but the table {table.name} has no published divisions")
        return [[]]
    for override in overrides:
        if override.startswith(f"{_DIVISION}="):
            raise InputError(f"{override}: the runs of {table.name} are on several; choose among them with --divisions")
    numbers = _numbers("--divisions", text, table.divisions, table.name)
    return [[f"{_DIVISION}={number}"] for number in numbers.split(",")]


def _numbers(flag: str, text: str | None, known: Sequence[int], table: str) -> str:
    """Returns the chosen numbers as the text of a list; raises InputError if one is not in the table."""
    try:
        numbers = known if text is None else settings.parse_seeds(text)
    except InputError as error:
        raise InputError(f"{flag}: {str(error).removeprefix('seeds: ')}") from None
    if not numbers:
        raise InputError(f"{flag}: is empty; it must contain at least one value")
    for number in numbers:
        if number not in known:
            allowed = ", ".join(map(str, known))
            raise InputError(f"{flag}: {number} is not in the table {table}; allowed: {allowed}")
    return ",".join(map(str, numbers))


def _places(table: PublishedTable, datasets: Sequence[str]) -> str:
    return "; ".join(
        f"{', '.join(map(str, dataset.images_per_class))} for {dataset.config}"
        for dataset in table.datasets
        if dataset.config in datasets
    )
