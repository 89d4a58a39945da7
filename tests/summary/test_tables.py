import dataclasses

from summary.made_trials import made_trial

from chimeramix_jax.summary import latex, tables
from chimeramix_jax.summary.comparison import summarize


def test_every_seed_has_its_accuracy_or_its_status(summary):
    lines = tables.every_seed(summary.sections[0], summary).lines
    assert ("5", "mix_grid", "60.00", "64.00", "unfinished") in lines
    assert ("all", "baseline", "80.00", "missing", "missing") in lines


def test_the_accuracy_of_classes_is_the_mean_over_seeds():
    trials = [
        dataclasses.replace(made_trial(0.5, seed, experiment), class_accuracies=accuracies)
        for experiment, seed, accuracies in (
            ("baseline", 0, {"cat": 0.25, "dog": 1.0}),
            ("baseline", 1, {"cat": 0.75, "dog": 1.0}),
            ("mix", 0, {"cat": 0.625}),
            ("mix", 1, {"cat": 0.625}),
            ("begun", 0, {"cat": 0.875, "dog": 1.0}),  # a single seed is often high by chance
        )
    ]
    found = summarize(trials, [], None, "top1")
    table = tables.by_class(found.sections[0], 5, found)
    assert table.header == ("class", "baseline", "begun", "mix")
    assert table.lines == (("cat", "50.0", "87.5", "62.5"), ("dog", "100.0", "100.0", "-"))
    assert table.bold == {(0, 3), (1, 1)}
    assert tables.by_class(found.sections[0], None, found) is None


def test_a_difference_that_rounds_to_zero_has_no_minus_sign():
    trials = [
        made_trial(accuracy, seed, experiment)
        for experiment, accuracies in (("baseline", (0.8, 0.4)), ("mix", (0.7, 0.5)))
        for seed, accuracy in enumerate(accuracies)
    ]
    found = summarize(trials, [], None, "top1")
    (row,) = (row for row in found.sections[0].rows if row.experiment == "mix")
    assert -1e-15 < row.difference.mean < 0
    assert tables.overview(found.sections[0], found).lines[1][5] == "+0.00 ± 14.14"
    assert "$+0.00$ [$" in latex.summary_text(found)
