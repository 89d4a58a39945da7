from dataclasses import replace
from pathlib import Path

import pytest
from scipy import stats
from summary.made_trials import made_trial

from chimeramix_jax import config as settings
from chimeramix_jax.config.experiments import EXPERIMENTS
from chimeramix_jax.errors import InputError
from chimeramix_jax.summary.comparison import summarize
from chimeramix_jax.summary.plan import PlannedRun
from chimeramix_jax.summary.trials import Address, Status

GRID = "chimeramix_grid"


def rows(summary):
    """Returns the rows of the only section, by title and number of images."""
    (section,) = summary.sections
    return {(row.title, row.images_per_class): row for row in section.rows}


def summary_of(*trials, planned=None, **options):
    return summarize(trials, [], planned, "top1", **options)


def test_seeds_of_one_experiment_are_averaged():
    row = rows(summary_of(made_trial(0.5, 0), made_trial(0.75, 1), made_trial(1.0, 2)))["baseline", 5]
    assert (row.accuracy.mean, row.accuracy.standard_deviation, row.accuracy.count) == (0.75, 0.25, 3)


def test_differences_are_only_between_equal_seeds():
    trials = [made_trial(0.5, 0), made_trial(0.9, 1), made_trial(0.625, 0, GRID), made_trial(0.1, 2, GRID)]
    row = rows(summary_of(*trials))[GRID, 5]
    assert row.differences == {0: 0.125}
    assert row.difference.count == 1 and row.difference.interval is None


def test_own_ideas_are_compared_with_the_baseline_but_other_networks_of_the_program_are_not():
    base = made_trial(0.5, 0, classifier__model="wrn-10-1", classifier__loss="cross_entropy")
    network = {"classifier__model": "mine", "classifier__model_code": "mine.py 0f"}
    own = made_trial(
        0.6, 0, "own", augment__own="noise", augment__own_code="mine.py 0f", classifier__loss="mine", **network
    )
    wider = made_trial(0.6, 0, GRID, classifier__model="wrn-10-2", classifier__loss="cross_entropy")
    compared = rows(summary_of(base, own, wider))
    assert compared["own", 5].differences == {0: pytest.approx(0.1)} and not compared[GRID, 5].differences


def test_test_and_validation_images_are_never_mixed():
    trials = [made_trial(0.5, 0), made_trial(0.9, 0, split="validation"), made_trial(0.8, 0, GRID)]
    summary = summary_of(*trials)
    assert [section.title for section in summary.sections] == ["digits, test images", "digits, validation images"]
    test, validation = summary.sections
    assert {row.experiment: row.accuracy.mean for row in test.rows} == {"baseline": 0.5, GRID: 0.8}
    assert [row.accuracy.mean for row in validation.rows] == [0.9]


def test_runs_with_different_settings_are_listed_separately_with_the_key():
    trials = [made_trial(0.5, seed, classifier__learning_rate=rate) for seed in (0, 1) for rate in (0.1, 0.01)]
    summary = summary_of(*trials)
    assert set(rows(summary)) == {
        ("baseline (classifier.learning_rate=0.1)", 5),
        ("baseline (classifier.learning_rate=0.01)", 5),
    }
    (warning,) = summary.warnings
    assert "classifier.learning_rate (0.01, 0.1)" in warning and "never averaged" in warning


def test_a_setting_unknown_to_another_version_distinguishes_runs():
    summary = summary_of(made_trial(0.5, 0, mixing__share=0.5), made_trial(0.6, 1))
    assert set(rows(summary)) == {("baseline (mixing.share=0.5)", 5), ("baseline (mixing.share=not set)", 5)}


def test_settings_that_vary_with_the_number_of_images_cause_a_warning_but_no_variants():
    summary = summary_of(made_trial(0.5, classifier__epochs=1), made_trial(0.6, images=10, classifier__epochs=2))
    assert set(rows(summary)) == {("baseline", 5), ("baseline", 10)}
    assert "classifier.epochs varies with the number of images (1, 2)" in summary.warnings[0]


def test_each_variant_is_compared_with_the_baseline_of_its_own_settings():
    trials = [
        made_trial(accuracy, 0, experiment, classifier__learning_rate=rate)
        for experiment, rate, accuracy in (
            ("baseline", 0.1, 0.5),
            ("baseline", 0.01, 0.25),
            (GRID, 0.1, 0.625),
            (GRID, 0.01, 0.75),
        )
    ]
    by_title = rows(summary_of(*trials))
    assert by_title[f"{GRID} (classifier.learning_rate=0.1)", 5].differences == {0: 0.125}
    assert by_title[f"{GRID} (classifier.learning_rate=0.01)", 5].differences == {0: 0.5}


def test_an_experiment_with_other_classifier_settings_than_the_baseline_is_not_compared():
    trials = [made_trial(0.5, classifier__epochs=1), made_trial(0.9, experiment=GRID, classifier__epochs=2)]
    summary = summary_of(*trials)
    assert rows(summary)[GRID, 5].difference is None
    assert any("classifier.epochs is 2 instead of 1" in warning for warning in summary.warnings)


@pytest.mark.parametrize("config", ["digits", "image_folder"])
def test_every_experiment_of_the_program_is_compared_with_the_baseline(config):
    def flat(experiment):
        values = settings.flatten(settings.config_to_dict(settings.load(f"{config}:{experiment}"))).items()
        return {key.replace(".", "__"): str(value) for key, value in values if "." in key}

    others = [name for name in EXPERIMENTS if name != "baseline"]
    summary = summary_of(*(made_trial(0.5, experiment=name, **flat(name)) for name in ("baseline", *others)))
    assert [name for name in others if rows(summary)[name, 5].differences != {0: 0.0}] == []
    assert summary.warnings == ()


def test_classifiers_trained_on_different_images_are_not_compared():
    summary = summary_of(made_trial(0.5), made_trial(0.9, experiment=GRID, trained_on=2))
    assert rows(summary)[GRID, 5].difference is None
    assert "different images" in summary.warnings[0]


def test_a_separate_baseline_is_preferred_to_an_embedded_one_and_disagreement_is_reported():
    own = made_trial(0.5, workdir="z/own")
    summary = summary_of(made_trial(0.625, embedded=True, workdir="a/grid"), own, made_trial(0.75, experiment=GRID))
    assert rows(summary)["baseline", 5].trials == (own,)
    assert rows(summary)[GRID, 5].differences == {0: 0.25}
    (warning,) = summary.warnings
    assert "50.00 % in z/own" in warning and "62.50 % in a/grid" in warning


def test_equal_embedded_baselines_count_once_without_a_warning():
    summary = summary_of(*(made_trial(0.5, embedded=True, workdir=workdir) for workdir in "ab"))
    assert rows(summary)["baseline", 5].accuracy.count == 1
    assert summary.warnings == ()


def test_a_repeated_run_counts_once_and_is_reported():
    summary = summary_of(made_trial(0.5, workdir="a"), made_trial(0.5, workdir="b"))
    assert rows(summary)["baseline", 5].accuracy.count == 1
    assert "a, b" in summary.warnings[0]


def test_unfinished_runs_are_listed_and_not_part_of_the_mean():
    summary = summary_of(made_trial(0.5, 0), made_trial(None, 1, workdir="runs/stopped"))
    row = rows(summary)["baseline", 5]
    assert row.accuracy.count == 1 and [trial.status for trial in row.trials] == [Status.FINISHED, Status.UNFINISHED]
    assert "runs/stopped" in summary.unfinished[0] and "seed 1" in summary.unfinished[0]


def test_an_unfinished_run_is_ignored_if_its_seed_has_a_finished_one():
    summary = summary_of(made_trial(None, 0, workdir="a"), made_trial(0.5, 0, workdir="b"))
    assert [trial.status for trial in rows(summary)["baseline", 5].trials] == [Status.FINISHED]


def test_without_a_plan_every_absent_combination_is_missing():
    trials = [made_trial(0.5, 0), made_trial(0.5, 1, images=10), made_trial(0.5, 0, GRID)]
    summary = summary_of(*trials, made_trial(0.5, 7, dataset="cifair10"))
    assert summary.count(Status.MISSING) == 5  # 3 of 8 combinations exist for the digits; cifair10 is complete
    assert f"digits, test images: {GRID}, 10 images per class: seeds 0, 1" in summary.missing
    assert "digits, test images: baseline, 5 images per class: seed 1" in summary.missing
    assert not any("cifair10" in line for line in summary.missing)


def test_a_run_with_changed_settings_is_never_shown_as_the_shipped_experiment():
    trials = [
        replace(made_trial(0.5, seed, classifier__epochs=2), changed={"classifier.epochs": 20}) for seed in (0, 1)
    ]
    summary = summary_of(*trials, made_trial(0.6, 0, GRID), made_trial(0.7, 2, GRID))
    row = rows(summary)["baseline (classifier.epochs=2)", 5]
    assert [trial.status for trial in row.trials] == [Status.FINISHED, Status.FINISHED, Status.MISSING]
    assert any(
        "baseline: classifier.epochs was changed from the shipped 20 to 2" in warning for warning in summary.warnings
    )


def test_a_baseline_with_changed_settings_is_not_compared_with():
    baseline = replace(made_trial(0.5, augment__cutout=True), changed={"augment.cutout": False})
    summary = summary_of(baseline, made_trial(0.9, experiment=GRID, augment__cutout=False))
    assert rows(summary)[GRID, 5].difference is None
    assert any("augment.cutout is True instead of False" in warning for warning in summary.warnings)


def test_a_baseline_with_the_same_change_as_the_run_is_compared_with_unless_the_experiment_consists_in_it():
    changed = replace(made_trial(0.5, augment__cutout=True), changed={"augment.cutout": False})
    grid = made_trial(0.75, experiment=GRID, augment__cutout=True)
    cutout = made_trial(0.625, experiment="cutout", augment__cutout=True)
    by_title = rows(summary_of(changed, grid, cutout))
    assert by_title[GRID, 5].differences == {0: 0.25} and not by_title["cutout", 5].differences
    plain = made_trial(0.25, augment__cutout=False, workdir="plain")
    by_title = rows(summary_of(changed, plain, grid, cutout))
    assert by_title[GRID, 5].differences == {0: 0.25} and by_title["cutout", 5].differences == {0: 0.375}


def test_of_several_baselines_the_one_with_the_fewest_other_settings_is_compared_with():
    def trials(seed):
        usual, own = {"classifier__loss": "cross_entropy"}, {"classifier__loss": "asymmetric"}
        return (
            made_trial(0.75, seed, **usual),
            made_trial(0.5, seed, embedded=True, workdir=f"own-{seed}", **own),
            made_trial(0.875, seed, GRID, **usual),
            made_trial(0.625, seed, "own", workdir=f"own-{seed}", **own),
        )

    by_title = rows(summary_of(*trials(0), *trials(1)))
    assert by_title[GRID, 5].differences == by_title["own", 5].differences == {0: 0.125, 1: 0.125}
    # So it is if the settings of the embedded baseline are known to be no experiment's.
    first, second, *others = trials(0)
    second = replace(second, changed={"classifier.loss": "cross_entropy"})
    by_title = rows(summary_of(first, second, *others))
    assert by_title[GRID, 5].differences == by_title["own", 5].differences == {0: 0.125}


def test_settings_that_differ_although_it_is_not_the_experiment_that_changes_them_are_said():
    baseline = made_trial(0.5, augment__own="", classifier__loss="cross_entropy")
    grid = made_trial(0.75, experiment=GRID, augment__own="speckle", classifier__loss="cross_entropy")
    summary = summary_of(baseline, grid, made_trial(0.75, experiment="baseline_cosine", classifier__loss="cosine"))
    assert rows(summary)[GRID, 5].differences == {0: 0.25}
    (warning,) = summary.warnings
    assert "compared with baseline for seed 0: other settings differ, too:" in warning
    assert "augment.own is speckle instead of ''" in warning


def test_intervals_are_clipped_to_the_possible_range():
    trials = [made_trial(share, seed, name) for name, shares in (("baseline", (0.1, 0.9)), (GRID, (1.0, 0.9)))
              for seed, share in enumerate(shares)]  # fmt: skip
    by_title = rows(summary_of(*trials))
    assert by_title["baseline", 5].accuracy.interval == (0.0, 1.0)
    assert by_title[GRID, 5].difference.interval == (-1.0, 1.0)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("top1", "the accuracy is 3.0 points lower than measured"),
        ("macro_accuracy", "too high, which is not corrected"),
    ],
)
def test_runs_whose_recipe_was_chosen_by_the_images_that_measure_them_are_named(metric, expected):
    trials = [made_trial(0.5, seed, split="folds") for seed in range(3)]
    trials[:2] = [replace(trial, optimism=share) for trial, share in zip(trials, (0.02, 0.04), strict=False)]
    (warning,) = summarize(trials, [], None, metric).warnings
    assert "the recipe of 2 runs was chosen by the images of the folds" in warning and expected in warning


def test_a_rolled_back_run_in_a_mean_is_reported():
    trials = [made_trial(0.5, 0), replace(made_trial(0.6, 1), rollbacks={"classifier": 1})]
    (warning,) = summary_of(*trials).warnings
    assert warning.startswith(
        "digits, test images: baseline, 5 images per class: seed 1 was rolled back (classifier 1 x)"
    )


def test_a_row_without_finished_trials_is_shown():
    summary = summary_of(made_trial(0.5, 0), made_trial(0.5, 1, GRID, images=10))
    row = rows(summary)[GRID, 5]
    assert row.accuracy is None and row.difference is None and len(row.trials) == 2


def test_with_a_plan_only_planned_runs_are_missing(tmp_path):
    existing = made_trial(0.5, 0, workdir=tmp_path / "a")
    planned = [
        PlannedRun(tmp_path / "a", existing.address),
        PlannedRun(tmp_path / "b", Address("digits", "test", GRID, 10, 3)),
    ]
    summary = summary_of(existing, planned=planned)
    assert summary.missing == (f"digits, test images: {GRID}, 10 images per class: seed 3",)


@pytest.mark.parametrize("folds", [5, None])
def test_runs_with_folds_that_are_not_finished_stand_beside_the_finished_ones(tmp_path, folds):
    def planned(experiment, seed):
        address = Address("digits", "test", experiment, 5, seed)
        return PlannedRun(tmp_path / f"{experiment}-{seed}", address, folds)

    def trial(accuracy, seed, split):
        return made_trial(accuracy, seed, split=split, workdir=tmp_path / f"baseline-{seed}", folds=5)

    trials = [trial(0.5, 0, "folds"), trial(0.75, 1, "folds"), trial(None, 2, "test")]
    plan = [planned("baseline", seed) for seed in range(4)] + [planned(GRID, 0)]
    first, *rest = summary_of(*trials, planned=plan).sections
    assert first.title == "digits, out-of-fold images"
    counts = {row.experiment: (len(row.finished), len(row.trials)) for row in first.rows}
    # An earlier version's plan does not say which runs have folds.
    assert counts == {"baseline": (2, 4), **({GRID: (0, 1)} if folds else {})}
    assert [section.title for section in rest] == ([] if folds else ["digits, test images"])


def test_rows_are_sorted_by_number_of_images_with_the_baseline_first():
    trials = [
        made_trial(0.5, 0, experiment, images) for experiment in ("alpha", "baseline") for images in (None, 50, 5)
    ]
    assert list(rows(summary_of(*trials))) == [
        (experiment, images) for images in (5, 50, None) for experiment in ("baseline", "alpha")
    ]


def test_another_baseline_can_be_chosen_and_an_unknown_one_is_rejected():
    trials = [made_trial(0.5, 0, "cutout"), made_trial(0.75, 0, GRID)]
    assert rows(summary_of(*trials, baseline="cutout"))[GRID, 5].differences == {0: 0.25}
    with pytest.raises(InputError, match=r"cutuot.*did you mean 'cutout'"):
        summary_of(*trials, baseline="cutuot")


def test_a_summary_without_a_baseline_says_so():
    summary = summary_of(made_trial(0.5, 0, GRID))
    assert "no finished run of baseline" in summary.warnings[0]


def test_damaged_runs_are_counted():
    damaged = made_trial(None, 1, workdir=Path("x"))
    trials = [made_trial(0.5, 0), damaged.__class__(damaged.address, Status.DAMAGED, damaged.workdir)]
    summary = summarize(trials, ["x/results.json: cannot be read"], None, "top1")
    assert summary.count(Status.DAMAGED) == 1 and summary.damaged == ("x/results.json: cannot be read",)


def test_p_values_are_corrected_for_all_tests_of_a_section():
    trials = [made_trial(accuracy, seed) for seed, accuracy in enumerate((0.5, 0.6, 0.55))]
    for name, gains in (("near", (0.0, 0.01, -0.02)), ("far", (0.1, 0.11, 0.12)), ("alone", (0.1,))):
        trials += [made_trial(trials[seed].accuracy + gain, seed, name) for seed, gain in enumerate(gains)]
    by_title = rows(summary_of(*trials))
    near, far = by_title["near", 5], by_title["far", 5]
    assert far.p_value == pytest.approx(stats.ttest_1samp([0.1, 0.11, 0.12], 0).pvalue)
    assert far.corrected_p == pytest.approx(2 * far.p_value) and near.corrected_p == near.p_value
    assert by_title["alone", 5].p_value is by_title["baseline", 5].corrected_p is None


def test_the_best_is_the_highest_mean_for_each_number_of_images():
    trials = [made_trial(0.5), made_trial(0.6, experiment="mix"), made_trial(0.6, experiment="tie")]
    trials += [made_trial(0.9, images=10)]
    section = summary_of(*trials).sections[0]
    assert [row.title for row in section.best] == ["mix", "tie"]


def test_the_mean_of_fewer_seeds_is_not_the_best():
    trials = [
        made_trial(accuracy, seed, name) for name, accuracy in (("baseline", 0.5), ("mix", 0.6)) for seed in (0, 1)
    ]
    trials += [made_trial(0.9, experiment="begun"), made_trial(None, 1, experiment="begun")]
    assert [row.title for row in summary_of(*trials).sections[0].best] == ["mix"]
    assert summary_of(*trials[:2], *trials[4:]).sections[0].best == []  # the only one with two seeds


def test_more_variants_than_letters_get_two_letters():
    trials = [made_trial(0.5, experiment="mix", generator__epochs=epochs) for epochs in range(100, 128)]
    letters = list(summary_of(*trials).letters.values())
    assert (letters[0], letters[25], letters[26], letters[27]) == ("A", "Z", "AA", "AB")
