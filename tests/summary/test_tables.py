import csv
import dataclasses
import io
import re

import pytest
from scipy import stats
from summary.made_trials import made_trial

from chimeramix_jax.summary import tables
from chimeramix_jax.summary.comparison import summarize


@pytest.fixture
def summary():
    trials = [made_trial(accuracy, seed) for seed, accuracy in enumerate((0.5, 0.55, 0.6))]
    trials += [made_trial(accuracy, seed, "mix_grid") for seed, accuracy in enumerate((0.6, 0.64, None))]
    trials += [made_trial(0.8, 0, images=None)]
    return summarize(trials, ["a|b: cannot be read"], None, "top1")


def lines_of(text, *, containing):
    return [line for line in text.splitlines() if containing in line]


def test_markdown_has_means_intervals_differences_and_counts(summary):
    text = tables.markdown(summary)
    cells = [cell.strip() for cell in lines_of(text, containing="| mix_grid")[0].strip("|").split("|")]
    assert cells == [
        "5",
        "mix_grid",
        "2 of 3",
        "**62.00 ± 2.83**",
        "36.59 to 87.41",
        "+9.50 ± 0.71",
        "+3.15 to +15.85",
        "2",
        "0.033",
        "0.033",
    ]
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(line) for line in table[:5]}) == 1


def test_a_single_seed_is_marked_as_such(summary):
    (line,) = lines_of(tables.markdown(summary, seeds=False), containing="1 of 3")
    assert "80.00 | " in line and "one seed" in line and "±" not in line


def test_every_seed_has_its_accuracy_or_its_status(summary):
    lines = tables.every_seed(summary.sections[0], summary).lines
    assert ("5", "mix_grid", "60.00", "64.00", "unfinished") in lines
    assert ("all", "baseline", "80.00", "missing", "missing") in lines


def test_notes_list_damaged_and_missing_runs(summary):
    text = tables.markdown(summary)
    assert "a\\|b: cannot be read" in text
    assert "all images per class: seeds 0, 1, 2" in text
    assert text.startswith("Classifiers: 6 finished, 1 unfinished, 5 missing.")


def test_latex_has_a_row_per_experiment_and_a_column_per_number_of_images(summary):
    text = tables.latex(summary)
    assert text.count(r"\begin{tabular}{lrr}") == text.count(r"\end{tabular}") == 5
    accuracy, interval, difference, p_value, corrected = lines_of(text, containing=r"mix\_grid")
    assert accuracy == r"mix\_grid & \textbf{62.00 $\pm$ 2.83 (2/3)} & -- \\"
    assert interval == r"mix\_grid & 36.59 to 87.41 & -- \\"
    assert difference == r"mix\_grid & $+9.50$ [$+3.15$, $+15.85$] & -- \\"
    assert p_value == corrected == r"mix\_grid & 0.033 & -- \\"
    assert r"\toprule" in text and r"\bottomrule" in text


def test_latex_escapes_every_special_character():
    awkward = r"100%_a&b#$\{}~^<>|"
    text = tables.latex(summarize([made_trial(0.5, dataset=awkward)], [], None, "top1"))
    (caption,) = {line for line in lines_of(text, containing=r"\caption") if "deviation" in line}
    bare = re.sub(r"\\[%_&#$\{\}]|\\text\w+\{\}|\$\\pm\$|\\caption\{|\}$", "", caption)
    assert not set(bare) & set("%_&#$\\{}~^<>|")


def test_csv_has_all_digits_and_lists_missing_seeds(summary):
    found = list(csv.DictReader(io.StringIO(tables.csv_summary(summary))))
    row = next(line for line in found if line["experiment"] == "mix_grid" and line["images_per_class"] == "5")
    assert float(row["mean"]) == pytest.approx(0.62) and float(row["difference_mean"]) == pytest.approx(0.095)
    assert (row["seeds"], row["seeds_expected"], row["pairs"]) == ("2", "3", "2")
    assert (
        float(row["p_value"]) == float(row["p_value_holm"]) == pytest.approx(stats.ttest_1samp([0.1, 0.09], 0).pvalue)
    )
    assert (row["finished"], row["unfinished"], row["missing"]) == ("0 1", "2", "")
    single = next(line for line in found if line["images_per_class"] == "all" and line["experiment"] == "baseline")
    assert (single["mean"], single["standard_deviation"], single["interval_low"]) == ("0.8", "", "")


def test_the_csv_of_classifiers_has_a_line_for_each(summary):
    found = list(csv.DictReader(io.StringIO(tables.csv_trials(summary))))
    assert len(found) == 12
    assert [line["status"] for line in found].count("missing") == 5
    unfinished = next(line for line in found if line["status"] == "unfinished")
    assert unfinished["top1"] == "" and unfinished["workdir"] == "digits-mix_grid-5-2-test"
    finished = next(line for line in found if line["experiment"] == "mix_grid" and line["seed"] == "0")
    assert (finished["top1"], float(finished["difference"])) == ("0.6", pytest.approx(0.1))


def test_a_table_in_markdown_and_latex_has_the_settings_that_letters_stand_for():
    trials = [made_trial(0.5, experiment="mix", generator__epochs=epochs) for epochs in (10, 20)]
    found = summarize(trials, [], None, "top1")
    text = tables.markdown(found)
    (line,) = lines_of(text, containing="| generator.epochs")
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["generator.epochs", "10", "20"]
    assert "| mix (A)" in text and "| mix (B)" in text
    assert r"generator.epochs & 10 & 20 \\" in tables.latex(found)


def test_the_accuracy_of_classes_is_the_mean_over_seeds():
    trials = [
        dataclasses.replace(made_trial(0.5, seed, experiment), class_accuracies=accuracies)
        for experiment, seed, accuracies in (
            ("baseline", 0, {"cat": 0.25, "dog": 1.0}),
            ("baseline", 1, {"cat": 0.75, "dog": 1.0}),
            ("mix", 0, {"cat": 0.625}),
        )
    ]
    found = summarize(trials, [], None, "top1")
    table = tables.by_class(found.sections[0], 5, found)
    assert table.header == ("class", "baseline", "mix")
    assert table.lines == (("cat", "50.0", "62.5"), ("dog", "100.0", "-"))
    assert table.bold == {(0, 2), (1, 1)}
    assert tables.by_class(found.sections[0], None, found) is None
