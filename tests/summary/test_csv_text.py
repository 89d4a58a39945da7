import csv
import io

import pytest
from scipy import stats

from chimeramix_jax.summary import csv_text


def test_csv_has_all_digits_and_lists_missing_seeds(summary):
    found = list(csv.DictReader(io.StringIO(csv_text.of_rows(summary))))
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
    found = list(csv.DictReader(io.StringIO(csv_text.of_trials(summary))))
    assert len(found) == 12
    assert [line["status"] for line in found].count("missing") == 5
    unfinished = next(line for line in found if line["status"] == "unfinished")
    assert unfinished["top1"] == "" and unfinished["workdir"] == "digits-mix_grid-5-2-test"
    finished = next(line for line in found if line["experiment"] == "mix_grid" and line["seed"] == "0")
    assert (finished["top1"], float(finished["difference"])) == ("0.6", pytest.approx(0.1))
