"""Pairs classifiers with the baseline's of the same seed, and says why some cannot be compared."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from chimeramix_jax import config as settings
from chimeramix_jax.config.experiments import EXPERIMENTS
from chimeramix_jax.config.own_code import CODES
from chimeramix_jax.summary.sections import Row
from chimeramix_jax.summary.trials import Trial
from chimeramix_jax.summary.wording import NOT_SET, seeds_in_words, value_in_words

_OF_MIXED_BATCHES = "classifier.batch_statistics"  # which matter where images are mixed

# The settings in which experiments differ by design: those that they change, their details, and those of own ideas.
# Classifiers that differ in others are not compared, as their difference could be due to those.
_EXPERIMENT_SETTINGS = (
    *sorted({key for changes in EXPERIMENTS.values() for key in changes}),
    "augment.autoaugment_policy",
    "augment.cutout_side",
    "augment.own",
    "augment.own_code",
    "augment.randaugment_magnitude",
    "augment.randaugment_operations",
    _OF_MIXED_BATCHES,
    "classifier.loss_code",
    "classifier.model_code",  # and with it "classifier.model"
    "classifier.tvmf_kappa",
    "generator",
    "mixing",
    "pretraining",
)


def paired_with_baseline(rows: Sequence[Row], baseline: str) -> tuple[list[Row], list[str]]:
    """Returns the rows with their differences to the baseline, and notes on what could not be compared."""
    baselines: dict[tuple[int | None, int], list[Trial]] = defaultdict(list)
    for row in rows:
        if row.experiment == baseline:
            for trial in row.finished:
                baselines[row.images_per_class, trial.address.seed].append(trial)
    paired, notes = [], []
    for row in rows:
        differences: dict[int, float] = {}
        about: dict[tuple[str, str], list[int]] = defaultdict(list)  # seeds by what was done, and why that is said
        for trial in row.finished if row.experiment != baseline else []:
            seed = trial.address.seed
            others = baselines.get((row.images_per_class, seed), [])
            nearest = _nearest(trial, others)
            if nearest is not None:
                differences[seed] = trial.accuracy - nearest.accuracy
                if further := _beyond_the_experiments(trial, nearest):
                    about["compared", f"other settings differ, too: {further}"].append(seed)
            elif others:
                about["not compared", _obstacle(trial, others[0])].append(seed)
        paired.append(replace(row, differences=differences))
        notes += [
            f"{row.title_with_images}: {done} with {baseline} for {seeds_in_words(seeds)}: {why}"
            for (done, why), seeds in about.items()
        ]
    if not baselines and any(row.finished for row in rows):
        notes.append(f"no finished run of {baseline}, so no differences are shown")
    return paired, notes


def _nearest(trial: Trial, baselines: Iterable[Trial]) -> Trial | None:
    """Returns the baseline of one seed to compare a trial with: the one that differs from it in the fewest settings.

    Of equal ones it is the first that is a run of its own, or the first; None if the trial can be compared with none.
    """

    def distance(other: Trial) -> tuple[int, bool]:
        keys = {*trial.settings, *other.settings}
        return sum(_differ(trial, other, key) for key in keys), other.embedded

    return min((other for other in baselines if not _obstacle(trial, other)), key=distance, default=None)


def _differ(trial: Trial, other: Trial, key: str) -> bool:
    return trial.settings.get(key, NOT_SET) != other.settings.get(key, NOT_SET)


def _have_same_change(trial: Trial, baseline: Trial, key: str) -> bool:
    """Whether a trial has the baseline's value of a setting that was changed there, and not by its experiment."""
    if _differ(trial, baseline, key):
        return False
    changes = EXPERIMENTS.get(trial.address.experiment)
    if changes is None:  # of the user's experiment it is not known what it changes, only what it was trained beside
        return trial.workdir == baseline.workdir
    return key not in changes


def _beyond_the_experiments(trial: Trial, baseline: Trial) -> str:
    """Says which settings differ from the baseline's although it is not in these that the two experiments differ.

    Empty if there are none. Of experiments of the user, it is not known what they change.
    """
    experiments = [compared.address.experiment for compared in (trial, baseline)]
    if any(name not in EXPERIMENTS for name in experiments):
        return ""
    explained = {key for name in experiments for key in EXPERIMENTS[name]}
    ignored = (*explained, *CODES, _OF_MIXED_BATCHES, "generator", "mixing", "pretraining")
    both = settings.leaving_out(trial.settings, ignored)
    return ", ".join(
        f"{key} is {value_in_words(trial.settings[key])} instead of {value_in_words(baseline.settings[key])}"
        for key in both
        if key in baseline.settings and _differ(trial, baseline, key)
    )


def _obstacle(trial: Trial, baseline: Trial) -> str:
    """Says why two trials of one seed cannot be compared; empty if they can."""
    by_design: tuple[str, ...] = _EXPERIMENT_SETTINGS
    if any(compared.settings.get("classifier.model_code") for compared in (trial, baseline)):
        by_design = (*by_design, "classifier.model")  # a custom network is compared with one of the program's
    ours, theirs = (settings.leaving_out(compared.settings, by_design) for compared in (trial, baseline))
    differing = [key for key in {**ours, **theirs} if ours.get(key, NOT_SET) != theirs.get(key, NOT_SET)]
    if differing:
        return "different settings: " + ", ".join(
            f"{key} is {value_in_words(ours.get(key, NOT_SET))} instead of {value_in_words(theirs.get(key, NOT_SET))}"
            for key in differing
        )
    changed = [
        key
        for key in baseline.changed
        if key not in ours and key not in theirs and not _have_same_change(trial, baseline, key)
    ]
    if changed:
        return "the baseline's shipped settings were changed: " + ", ".join(
            f"{key} is {value_in_words(baseline.settings[key])} instead of {value_in_words(baseline.changed[key])}"
            for key in changed
        )
    if trial.images != baseline.images or (trial.data and baseline.data and trial.data != baseline.data):
        return "trained or evaluated on different images"
    return ""
