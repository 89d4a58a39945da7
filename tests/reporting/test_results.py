import pytest

from chimeramix_jax.reporting.results import SummaryRow, closing_text, in_one_sentence, summary_table, written_text


def row(
    experiment: str,
    top_1: float,
    images: int | None = 5,
    top_5: float | None = 0.95,
    examples: int = 10_000,
    alone: list[int] | None = None,
) -> SummaryRow:
    return SummaryRow(
        experiment=experiment,
        max_labels_per_class=images,
        top_1=top_1,
        top_5=top_5,
        seconds=75.0,
        examples=examples,
        alone=alone,
    )


def test_the_table_is_aligned_and_followed_by_the_gain_in_percentage_points():
    assert summary_table([row("baseline", 0.5), row("chimeramix_grid", 0.53125, top_5=None)]).splitlines() == [
        "experiment       images per class  accuracy    95 % interval   top-5    time",
        "---------------  ----------------  --------  ---------------  ------  ------",
        "baseline                        5    50.00%  49.02 to 50.98%  95.00%  1m 15s",
        "chimeramix_grid                 5    53.12%  52.14 to 54.10%       -  1m 15s",
        "chimeramix_grid against baseline, 5 images per class: +3.12 percentage points",
    ]


def test_the_baseline_of_a_run_has_the_name_of_its_experiment():
    mixing = row("chimeramix_grid_trivialaugment", 0.5625) | {"baseline": "baseline_trivialaugment"}
    *_, gain = summary_table([row("baseline_trivialaugment", 0.5), mixing]).splitlines()
    assert gain.startswith("chimeramix_grid_trivialaugment against baseline_trivialaugment, 5 images per class: +6.25")
    # A run without a baseline of its own is compared with "baseline", as always.
    *_, gain = summary_table([row("baseline", 0.5), row("chimeramix_grid", 0.75) | {"baseline": None}]).splitlines()
    assert gain.startswith("chimeramix_grid against baseline, 5 images per class: +25.00")


def test_a_result_below_the_baseline_has_a_negative_difference():
    assert "-10.00 percentage points" in summary_table([row("baseline", 0.5), row("chimeramix_grid", 0.4)])


def test_few_test_images_give_few_decimals_and_wide_intervals():
    table = summary_table([row("baseline", 0.5, examples=20), row("chimeramix_grid", 0.6, examples=20, alone=[3, 1])])
    assert "50%      30 to 70%" in table and "60%      39 to 78%" in table and "." not in table.split("against")[0]
    assert "+10 percentage points, not significant: 3 images correct only here, 1 only by the baseline" in table
    assert "p = 0.62" in table


def test_a_significant_difference_is_called_significant():
    rows = [row("baseline", 0.5, examples=697), row("chimeramix_grid", 0.6, examples=697, alone=[90, 20])]
    table = summary_table(rows)
    assert "60.0%" in table and "+10.0 percentage points, significant: 90" in table and "p < 0.001" in table


def test_the_number_of_test_images_is_printed():
    assert "measured on 20 test images" in closing_text({"summary": [row("baseline", 0.5, examples=20)]})


@pytest.mark.parametrize(
    ("part", "classes", "sentence"),
    [
        ("test", 6, "58.7% of 455 test photos were recognised; guessing would give 17%."),
        ("validation", 40, "58.7% of 455 validation photos were recognised; guessing would give 2.5%."),
        ("folds", 6, "58.7% of new photos are expected to be recognised; guessing would give 17%."),
    ],
)
def test_one_sentence_says_how_many_photos_were_recognised(part, classes, sentence):
    rows = [row("baseline", 0.5, examples=455), row("mixup", 267 / 455, examples=455)]
    of_run = {"class_names": ["a"] * classes, "config": {"dataset": {"evaluate_on": part}}, part: {}}
    assert in_one_sentence({"summary": rows} | of_run) == sentence


def test_one_sentence_says_what_always_answering_the_largest_class_would_give():
    figures = {"confusion": [[85, 5], [4, 6]]}
    results = {"class_names": ["cat", "dog"], "config": {"dataset": {"evaluate_on": "test"}}, "test": figures}
    results |= {"summary": [row("mixup", 0.91, examples=100)]}
    expected = "91% of 100 test photos were recognised; guessing would give 50%, and always answering 'cat' 90%."
    assert in_one_sentence(results) == expected
    results["test"] = {"confusion": [[45, 5], [4, 46]]}
    assert in_one_sentence(results).endswith("guessing would give 50%.")


def test_a_single_photo_is_not_called_several():
    only = {"summary": [row("mixup", 1.0, examples=1)]}
    of_run = {"class_names": ["cat", "dog"], "config": {"dataset": {"evaluate_on": "test"}}, "test": {}}
    assert in_one_sentence(only | of_run).startswith("100% of 1 test photo was recognised;")
    assert "measured on 1 test image;" in closing_text(only)


def test_only_runs_on_the_same_number_of_images_are_compared():
    table = summary_table([row("baseline", 0.5, images=5), row("chimeramix_grid", 0.6, images=10)])
    assert "percentage points" not in table


def test_a_run_on_all_images_is_labelled_all():
    table = summary_table([row("baseline", 0.5, images=None), row("chimeramix_grid", 0.6, images=None)])
    assert "all images per class: +10.00" in table


def test_without_rows_there_is_no_table():
    assert summary_table([]) == ""


def test_written_files_are_listed_by_folder_within_80_columns(tmp_path):
    (tmp_path / "classifier").mkdir()
    names = [f"file-{number}.json" for number in range(10)]
    text = written_text([*(tmp_path / name for name in [*names, "classifier"]), "a.json"])
    first, *listed, folder, last = text.splitlines()
    assert first == f"written to {tmp_path}:" and (folder, last) == ("written to .:", "  a.json")
    assert ", ".join(line.strip().rstrip(",") for line in listed) == ", ".join([*names, "classifier/"])
    assert len(listed) == 2 and all(len(line) <= 80 for line in listed)


def test_the_closing_text_leaves_out_missing_parts():
    assert closing_text({}) == ""
    assert closing_text({"files": ["a/b.json"]}) == "written to a:\n  b.json"
    text = closing_text({"summary": [row("baseline", 0.5)], "files": ["a/b.json"]})
    assert text.startswith("experiment")
    assert text.endswith("\n\nwritten to a:\n  b.json")
