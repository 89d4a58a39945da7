"""What a summary consists of: rows of runs that differ only in the seed, in sections by data set."""

import string
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from chimeramix_jax.reporting.splits import split_name
from chimeramix_jax.reporting.statistics import Estimate, estimate, paired_t_test
from chimeramix_jax.summary.trials import Status, Trial
from chimeramix_jax.summary.wording import images_in_words


@dataclass(frozen=True)
class Row:
    """Trials that differ only in the seed."""

    experiment: str
    # The settings that distinguish these trials from others of the experiment, and those that differ from the
    # shipped settings, as text; empty if there are none.
    distinct: Mapping[str, str]
    images_per_class: int | None  # training images per class; None: all
    trials: tuple[Trial, ...]  # one trial per seed, in the order of the seeds
    # Accuracy minus that of the baseline, in [-1, 1], by seed, for seeds with a finished baseline.
    differences: Mapping[int, float]
    # The p-value of ``p_value``, corrected by Holm's method for all tests of the section.
    corrected_p: float | None = None

    @property
    def variant(self) -> str:
        """The settings in ``distinct``, in one line; empty if there are none."""
        return ", ".join(f"{key}={value}" for key, value in self.distinct.items())

    @property
    def title(self) -> str:
        """The experiment and its variant."""
        return f"{self.experiment} ({self.variant})" if self.variant else self.experiment

    @property
    def title_with_images(self) -> str:
        """The title and the number of images, such as "mix, 5 images per class"."""
        return f"{self.title}, {images_in_words(self.images_per_class)} images per class"

    @property
    def finished(self) -> list[Trial]:
        """The finished trials."""
        return [trial for trial in self.trials if trial.status == Status.FINISHED]

    @property
    def accuracy(self) -> Estimate | None:
        """The mean accuracy of the finished trials; None without any."""
        values = [trial.accuracy for trial in self.finished]
        return estimate(values).within(0.0, 1.0) if values else None

    @property
    def difference(self) -> Estimate | None:
        """The mean difference to the baseline, in [-1, 1]; None without any."""
        return estimate(list(self.differences.values())).within(-1.0, 1.0) if self.differences else None

    @property
    def p_value(self) -> float | None:
        """The p-value of a paired t-test against the baseline, over seeds; None without a spread over seeds."""
        return paired_t_test(list(self.differences.values()))

    @property
    def class_accuracies(self) -> dict[str, float]:
        """The mean top-1 accuracy of each class over the finished trials that have images of it, in [0, 1]."""
        values: dict[str, list[float]] = defaultdict(list)
        for trial in self.finished:
            for name, accuracy in trial.class_accuracies.items():
                values[name].append(accuracy)
        return {name: sum(found) / len(found) for name, found in values.items()}


@dataclass(frozen=True)
class Section:
    """The rows of one data set, evaluated on one split."""

    dataset: str
    split: str
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """The data set and the split."""
        return f"{self.dataset}, {split_name(self.split)} images"

    @property
    def seeds(self) -> list[int]:
        """All seeds of the rows, in increasing order."""
        return sorted({trial.address.seed for row in self.rows for trial in row.trials})

    @property
    def sizes(self) -> list[int | None]:
        """All numbers of images per class, in the order of the rows."""
        return list(dict.fromkeys(row.images_per_class for row in self.rows))

    @property
    def best(self) -> list[Row]:
        """The rows with the highest mean accuracy among those with the same number of images, if there are others.

        Only rows with the most finished seeds are compared: with fewer seeds, a mean is more likely high by chance.
        """
        best = []
        for size in self.sizes:
            rows = with_most_seeds(self.rows_of(size))
            means = {row.title: row.accuracy.mean for row in rows if row.accuracy}
            if len(means) > 1:
                best += [row for row in rows if means.get(row.title) == max(means.values())]
        return best

    def rows_of(self, images_per_class: int | None) -> list[Row]:
        """Returns the rows with this number of images."""
        return [row for row in self.rows if row.images_per_class == images_per_class]


def with_most_seeds(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows with the most finished seeds, whose means can be compared."""
    most = max((len(row.finished) for row in rows), default=0)
    return [row for row in rows if len(row.finished) == most]


@dataclass(frozen=True)
class Summary:
    """The summary of many runs."""

    sections: tuple[Section, ...]  # one section per data set and split
    baseline: str  # the experiment that the others are compared with
    metric: str  # a key of ``trials.METRICS``
    damaged: tuple[str, ...]  # a line for each file that cannot be read
    unfinished: tuple[str, ...]  # a line for each run without results
    missing: tuple[str, ...]  # a line for each row with missing trials
    warnings: tuple[str, ...]  # a line for each circumstance that affects how figures may be compared
    environments: Mapping[str, int]  # the number of classifiers trained with each combination of device and versions

    @cached_property
    def letters(self) -> dict[str, str]:
        """A letter for each variant, which stands for its settings in tables and curves."""
        variants = dict.fromkeys(row.variant for section in self.sections for row in section.rows if row.variant)
        return {variant: _letter(number) for number, variant in enumerate(variants)}

    def short_title(self, row: Row) -> str:
        """Returns the experiment of a row, and the letter of its variant."""
        return f"{row.experiment} ({self.letters[row.variant]})" if row.variant else row.experiment

    def count(self, status: Status) -> int:
        """Counts the classifiers with a status."""
        return sum(trial.status == status for section in self.sections for row in section.rows for trial in row.trials)


def _letter(number: int) -> str:
    """Returns the name of a variant by its number, from 0: A to Z, AA, AB, ..."""
    quotient, rest = divmod(number, len(string.ascii_uppercase))
    return (_letter(quotient - 1) if quotient else "") + string.ascii_uppercase[rest]
