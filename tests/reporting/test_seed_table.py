import pytest
from scipy import stats

from chimeramix_jax.reporting import seed_table


def result(seed, **top_1):
    row = {"max_labels_per_class": 5, "top_5": None, "seconds": 30.0, "examples": 10_000, "alone": None}
    summary = [row | {"experiment": experiment, "top_1": share} for experiment, share in top_1.items()]
    return {"seed": seed, "summary": summary, "files": [f"runs/seed-{seed}/results.json"]}


def test_the_table_shows_every_seed_the_mean_its_interval_and_the_gain():
    results = [result(0, baseline=0.5, chimeramix_grid=0.625), result(7, baseline=0.75, chimeramix_grid=0.625)]
    assert seed_table.seeds_table(results).splitlines() == [
        "seed                 baseline  chimeramix_grid         difference    time",
        "-------------  --------------  ---------------  -----------------  ------",
        "0                      50.00%           62.50%             +12.50  1m 00s",
        "7                      75.00%           62.50%             -12.50  1m 00s",
        "mean                   62.50%           62.50%              +0.00",
        "95 % interval  0.00 to 100.00            ±0.00  -100.00 to 100.00",
    ]


def test_the_gain_is_over_the_baseline_of_the_runs_whatever_its_name():
    results = [result(seed, baseline_cosine=0.5, chimeramix_grid_cosine=0.625) for seed in (0, 7)]
    assert seed_table.DIFFERENCE not in seed_table.seeds_table(results)
    for seed_results in results:
        seed_results["summary"][1]["baseline"] = "baseline_cosine"
    assert seed_table.seeds_table(results).splitlines()[0].split()[1:4] == [
        "baseline_cosine",
        "chimeramix_grid_cosine",
        seed_table.DIFFERENCE,
    ]


def test_the_interval_is_that_of_students_t():
    values = [91.2, 93.4, 92.8, 90.1, 94.0]
    low, high = stats.t.interval(0.95, 4, 92.3, stats.sem(values))
    table = seed_table.seeds_table([result(seed, baseline=value / 100) for seed, value in enumerate(values)])
    assert float(table.splitlines()[-1].split("±")[1]) == pytest.approx((high - low) / 2, abs=0.005)


def test_the_number_of_decimals_depends_on_the_number_of_test_images():
    results = [result(seed, baseline=share) for seed, share in enumerate((0.5, 0.55, 0.6))]
    for seed_results in results:
        seed_results["summary"][0]["examples"] = 40
    table = seed_table.seeds_table(results)
    assert "55%" in table and "55.0%" in table and "55.00%" not in table  # one seed, and the mean of three


def test_one_seed_has_no_interval_and_one_experiment_no_difference():
    table = seed_table.seeds_table([result(3, baseline=0.5)])
    assert "interval" not in table and "difference" not in table and "50.00%" in table


def test_only_experiments_that_all_seeds_have_are_in_the_table():
    mixing, both = result(1, chimeramix_grid=0.5), result(0, baseline=0.5, chimeramix_grid=0.75)
    for results in ([both, mixing], [mixing, both]):
        assert seed_table.seeds_table(results).splitlines()[0].split() == ["seed", "chimeramix_grid", "time"]
        assert "62.50%" in seed_table.closing_text(results)
    assert seed_table.seeds_table([result(0, baseline=0.5), mixing]) == ""


def test_seeds_without_results_give_no_table():
    unmeasured = result(0) | {"summary": []}
    assert seed_table.seeds_table([unmeasured]) == ""
    assert seed_table.closing_text([unmeasured]) == "written to runs/seed-0:\n  results.json"


def test_the_closing_text_says_what_the_interval_covers():
    def text(*images):
        results = [
            result(seed, baseline=0.5 + seed / 10) | {"images": {"train": train, "held_out": test}}
            for seed, (train, test) in enumerate(images)
        ]
        return seed_table.closing_text(results)

    assert "share training and test images" in text(("a", "t"), ("a", "t"))
    assert "share their test images" in text(("a", "t"), ("b", "t"))
    assert "its own training and test images" in text(("a", "t"), ("b", "u"))
    assert "interval" not in text(("a", "t"))


def test_the_closing_text_lists_seeds_that_were_rolled_back():
    results = [result(0, baseline=0.5), result(7, baseline=0.6) | {"rollbacks": {"classifier": 2}}]
    (line,) = [line for line in seed_table.closing_text(results).splitlines() if "rolled back" in line]
    assert line.startswith("seed 7 was rolled back (classifier 2 x)") and "counts in the mean" in line


def test_the_closing_text_names_the_evaluation_split_and_all_files():
    text = seed_table.closing_text([result(0, baseline=0.5) | {"validation": 1080}, result(1, baseline=0.5)])
    assert "1080 validation images" in text
    assert text.endswith("written to runs/seed-0,\nwritten to runs/seed-1:\n  results.json")
