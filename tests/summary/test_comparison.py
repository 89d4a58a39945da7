from dataclasses import replace
from pathlib import Path

import pytest
from summary.made_trials import made_trial

from chimeramix_jax.errors import InputError
from chimeramix_jax.summary.comparison import summarize
from chimeramix_jax.summary.plan import PlannedRun
from chimeramix_jax.summary.trials import Address, Status

GRID = "chimeramix_grid"


def rows(summary):
    """The rows of the only section, by title and number of images."""
    (section,) = summary.sections
    return {(row.title, row.images_per_class): row for row in section.rows}


def summary_of(*trials, planned=None, **options):
    return summarize(trials, [], planned, "top1", **options)


def test_seeds_of_one_experiment_are_averaged():
    row = rows(summary_of(made_trial(0.5, 0), made_trial(0.75, 1), made_trial(1.0, 2)))["baseline", 5]
    assert (row.accuracy.mean, row.accuracy.standard_deviation, row.accuracy.count) == (0.75, 0.25, 3)


def test_differences_are_taken_on_equal_seeds_only():
    trials = [made_trial(0.5, 0), made_trial(0.9, 1), made_trial(0.625, 0, GRID), made_trial(0.1, 2, GRID)]
    row = rows(summary_of(*trials))[GRID, 5]
    assert row.differences == {0: 0.125}
    assert row.difference.count == 1 and row.difference.interval is None


def test_test_and_validation_images_are_never_mixed():
    trials = [made_trial(0.5, 0), made_trial(0.9, 0, split="validation"), made_trial(0.8, 0, GRID)]
    summary = summary_of(*trials)
    assert [section.title for section in summary.sections] == ["digits, test images", "digits, validation images"]
    test, validation = summary.sections
    assert {row.experiment: row.accuracy.mean for row in test.rows} == {"baseline": 0.5, GRID: 0.8}
    assert [row.accuracy.mean for row in validation.rows] == [0.9]


def test_runs_with_other_settings_are_shown_apart_and_the_key_is_named():
    trials = [made_trial(0.5, seed, classifier__learning_rate=rate) for seed in (0, 1) for rate in (0.1, 0.01)]
    summary = summary_of(*trials)
    assert set(rows(summary)) == {
        ("baseline (classifier.learning_rate=0.1)", 5),
        ("baseline (classifier.learning_rate=0.01)", 5),
    }
    (caution,) = summary.cautions
    assert "classifier.learning_rate (0.01, 0.1)" in caution and "never averaged" in caution


def test_a_setting_that_another_version_did_not_have_tells_runs_apart():
    summary = summary_of(made_trial(0.5, 0, mixing__share=0.5), made_trial(0.6, 1))
    assert set(rows(summary)) == {("baseline (mixing.share=0.5)", 5), ("baseline (mixing.share=not set)", 5)}


def test_settings_that_change_with_the_number_of_images_are_named_and_not_split():
    summary = summary_of(made_trial(0.5, classifier__epochs=1), made_trial(0.6, images=10, classifier__epochs=2))
    assert set(rows(summary)) == {("baseline", 5), ("baseline", 10)}
    assert "classifier.epochs is not the same for every number of images (1, 2)" in summary.cautions[0]


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
    found = rows(summary_of(*trials))
    assert found[f"{GRID} (classifier.learning_rate=0.1)", 5].differences == {0: 0.125}
    assert found[f"{GRID} (classifier.learning_rate=0.01)", 5].differences == {0: 0.5}


def test_an_experiment_whose_classifier_differs_from_the_baselines_is_not_compared():
    trials = [made_trial(0.5, classifier__epochs=1), made_trial(0.9, experiment=GRID, classifier__epochs=2)]
    summary = summary_of(*trials)
    assert rows(summary)[GRID, 5].difference is None
    assert any("classifier.epochs 2 instead of 1" in caution for caution in summary.cautions)


def test_what_experiments_differ_in_by_design_is_no_obstacle():
    trials = [made_trial(0.5), made_trial(0.75, experiment=GRID, mixing__mask="grid", augment__policy="autoaugment")]
    summary = summary_of(*trials)
    assert rows(summary)[GRID, 5].differences == {0: 0.25}
    assert summary.cautions == ()


def test_classifiers_of_other_images_are_not_compared():
    summary = summary_of(made_trial(0.5), made_trial(0.9, experiment=GRID, trained_on=2))
    assert rows(summary)[GRID, 5].difference is None
    assert "other images" in summary.cautions[0]


def test_a_baseline_of_its_own_comes_before_one_within_a_run_and_a_disagreement_is_named():
    own = made_trial(0.5, workdir="z/own")
    summary = summary_of(made_trial(0.625, within=True, workdir="a/grid"), own, made_trial(0.75, experiment=GRID))
    assert rows(summary)["baseline", 5].trials == (own,)
    assert rows(summary)[GRID, 5].differences == {0: 0.25}
    (caution,) = summary.cautions
    assert "50.00 % in z/own" in caution and "62.50 % in a/grid" in caution


def test_equal_baselines_within_several_runs_count_once_and_need_no_word():
    summary = summary_of(*(made_trial(0.5, within=True, workdir=workdir) for workdir in "ab"))
    assert rows(summary)["baseline", 5].accuracy.count == 1
    assert summary.cautions == ()


def test_a_run_that_was_run_twice_counts_once_and_is_named():
    summary = summary_of(made_trial(0.5, workdir="a"), made_trial(0.5, workdir="b"))
    assert rows(summary)["baseline", 5].accuracy.count == 1
    assert "a, b" in summary.cautions[0]


def test_unfinished_runs_are_named_and_count_in_no_mean():
    summary = summary_of(made_trial(0.5, 0), made_trial(None, 1, workdir="runs/stopped"))
    row = rows(summary)["baseline", 5]
    assert row.accuracy.count == 1 and [trial.status for trial in row.trials] == [Status.FINISHED, Status.UNFINISHED]
    assert "runs/stopped" in summary.unfinished[0] and "seed 1" in summary.unfinished[0]


def test_an_unfinished_run_does_not_stand_beside_a_finished_one_of_its_seed():
    summary = summary_of(made_trial(None, 0, workdir="a"), made_trial(0.5, 0, workdir="b"))
    assert [trial.status for trial in rows(summary)["baseline", 5].trials] == [Status.FINISHED]


def test_without_a_plan_what_the_grid_lacks_is_missing():
    trials = [made_trial(0.5, 0), made_trial(0.5, 1, images=10), made_trial(0.5, 0, GRID)]
    summary = summary_of(*trials, made_trial(0.5, 7, dataset="cifair10"))
    assert (
        summary.count(Status.MISSING) == 5
    )  # of 2 experiments, 2 sizes and 2 seeds, 3 are there; cifair10 is complete
    assert f"digits, test images: {GRID}, 10 images per class: seeds 0, 1" in summary.missing
    assert "digits, test images: baseline, 5 images per class: seed 1" in summary.missing
    assert not any("cifair10" in line for line in summary.missing)


def test_a_run_that_is_not_as_shipped_is_never_shown_as_the_experiment_itself():
    trials = [
        replace(made_trial(0.5, seed, classifier__epochs=2), changed={"classifier.epochs": 20}) for seed in (0, 1)
    ]
    summary = summary_of(*trials, made_trial(0.6, 0, GRID), made_trial(0.7, 2, GRID))
    row = rows(summary)["baseline (classifier.epochs=2)", 5]
    assert [trial.status for trial in row.trials] == [Status.FINISHED, Status.FINISHED, Status.MISSING]
    assert any("baseline: not as shipped: classifier.epochs: shipped is 20" in caution for caution in summary.cautions)


def test_a_baseline_that_was_changed_by_hand_is_no_baseline():
    baseline = replace(made_trial(0.5, augment__cutout=True), changed={"augment.cutout": False})
    summary = summary_of(baseline, made_trial(0.9, experiment=GRID, augment__cutout=False))
    assert rows(summary)[GRID, 5].difference is None
    assert any("that one is not as shipped: augment.cutout True instead of False" in one for one in summary.cautions)


def test_intervals_end_where_shares_do():
    trials = [made_trial(share, seed, name) for name, shares in (("baseline", (0.1, 0.9)), (GRID, (1.0, 0.9)))
              for seed, share in enumerate(shares)]  # fmt: skip
    found = rows(summary_of(*trials))
    assert found["baseline", 5].accuracy.interval == (0.0, 1.0)
    assert found[GRID, 5].difference.interval == (-1.0, 1.0)


def test_a_mean_that_counts_a_run_that_was_rolled_back_says_so():
    trials = [made_trial(0.5, 0), replace(made_trial(0.6, 1), rollbacks={"classifier": 1})]
    (caution,) = summary_of(*trials).cautions
    assert caution.startswith(
        "digits, test images: baseline, 5 images per class: seed 1 was rolled back (classifier 1 x)"
    )


def test_a_row_of_which_nothing_is_finished_is_still_shown():
    summary = summary_of(made_trial(0.5, 0), made_trial(0.5, 1, GRID, images=10))
    row = rows(summary)[GRID, 5]
    assert row.accuracy is None and row.difference is None and len(row.trials) == 2


def test_with_a_plan_only_what_is_planned_is_missing(tmp_path):
    there = made_trial(0.5, 0, workdir=tmp_path / "a")
    planned = [
        PlannedRun(tmp_path / "a", there.address),
        PlannedRun(tmp_path / "b", Address("digits", "test", GRID, 10, 3)),
    ]
    summary = summary_of(there, planned=planned)
    assert summary.missing == (f"digits, test images: {GRID}, 10 images per class: seed 3",)


def test_rows_stand_by_number_of_images_the_baseline_first():
    trials = [
        made_trial(0.5, 0, experiment, images) for experiment in ("alpha", "baseline") for images in (None, 50, 5)
    ]
    assert list(rows(summary_of(*trials))) == [
        (experiment, images) for images in (5, 50, None) for experiment in ("baseline", "alpha")
    ]


def test_another_baseline_can_be_chosen_and_an_unknown_one_is_refused():
    trials = [made_trial(0.5, 0, "cutout"), made_trial(0.75, 0, GRID)]
    assert rows(summary_of(*trials, baseline="cutout"))[GRID, 5].differences == {0: 0.25}
    with pytest.raises(InputError, match=r"cutuot.*did you mean 'cutout'"):
        summary_of(*trials, baseline="cutuot")


def test_a_summary_without_a_baseline_says_that_nothing_is_compared():
    summary = summary_of(made_trial(0.5, 0, GRID))
    assert "no finished run of baseline" in summary.cautions[0]


def test_damaged_runs_are_counted_as_such():
    damaged = made_trial(None, 1, workdir=Path("x"))
    trials = [made_trial(0.5, 0), damaged.__class__(damaged.address, Status.DAMAGED, damaged.workdir)]
    summary = summarize(trials, ["x/results.json: cannot be read"], None, "top1")
    assert summary.count(Status.DAMAGED) == 1 and summary.damaged == ("x/results.json: cannot be read",)
