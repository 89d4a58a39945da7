"""Published figures beside measured ones, and the page that shows them."""

import csv
import io
import re

from benchmarks.made_runs import make_run
from chimeramix_jax.reproduce import beside, page, parts

MEASURED = {"baseline": (0.55, 0.60, 0.65), "chimeramix_grid": (0.60, 0.61)}


def lines_of(part):
    """The comparisons by (data set, protocol, method)."""
    found = {}
    for dataset, by_protocol in beside.comparisons(part, beside.summary_of(part)).items():
        for protocol, comparisons in by_protocol:
            for line in comparisons:
                found[dataset, protocol.title, line.figure.method] = line
    return found


def test_a_figure_is_compared_with_the_interval_of_the_seeds_of_its_experiment(part, fill):
    fill(part, MEASURED)
    lines = lines_of(part)
    plain = lines["Digits", "Protocol one", "plain"]
    assert plain.measured.mean == 0.6 and plain.verdict == "inside it" and abs(plain.difference) < 1e-9
    low, high = plain.measured.interval
    assert 0.47 < low < 0.48 and 0.72 < high < 0.73  # Student's t with two degrees of freedom
    mixed = lines["Digits", "Protocol one", "mixed"]
    assert mixed.verdict == "above it" and round(mixed.difference, 2) == -9.5 and len(mixed.row.finished) == 2


def test_what_cannot_be_compared_says_why(part, fill):
    fill(part, {"baseline": (0.5,)})
    verdicts = {key: line.verdict for key, line in lines_of(part).items()}
    assert verdicts == {
        ("Digits", "Protocol one", "plain"): "one seed, no interval",
        ("Digits", "Protocol one", "mixed"): "no finished run",
        ("Digits", "Protocol two", "mixed"): "no finished run",
        ("Digits", "Protocol two", "unlike ours"): "not in this program",
        ("A set of others", "Protocol one", "plain"): "not in this program",
    }


def test_runs_of_another_sweep_in_the_same_folder_do_not_count(part, fill, tmp_path):
    fill(part, {"baseline": (0.6, 0.6)})
    make_run(tmp_path / "runs" / "other", 0.9, config="configs/digits.py:baseline", max_labels_per_class=5, seed=2)
    assert len(lines_of(part)["Digits", "Protocol one", "plain"].row.finished) == 2


def test_experiments_are_paired_with_the_baseline_of_the_same_seeds(part, fill):
    fill(part, MEASURED)
    (section,) = beside.summary_of(part).sections
    (mixed,) = (row for row in section.rows_of(5) if row.experiment == "chimeramix_grid")
    assert {seed: round(value, 2) for seed, value in mixed.differences.items()} == {0: 0.05, 1: 0.01}
    assert mixed.p_value is not None and len(section.rows_of(10)) == 2


def test_protocols_never_share_a_table(part, fill, tmp_path):
    fill(part, MEASURED)
    text = page.html(part, beside.summary_of(part), tmp_path)
    tables = re.findall(r"<h3>Digits, protocol: Protocol (\w+)</h3>.*?<tbody>(.*?)</tbody>", text, re.DOTALL)
    assert [name for name, _ in tables] == ["one", "two"]
    assert "70.00" in tables[0][1] and "71.00" not in tables[0][1] and "71.00" in tables[1][1]


def test_the_page_names_sources_protocols_and_what_is_missing_and_runs_one_script_only(part, fill, tmp_path):
    fill(part, MEASURED)
    text = page.html(part, beside.summary_of(part), tmp_path)
    assert 'href="https://example.org/page"' in text and 'href="#source-1"' in text
    assert "A set of others, protocol: Protocol one, published only" in text
    assert "5 of 10 images" in text and "learning rate 0." in text
    assert "no config file for the data set: A set of others" in text
    assert "Published figures: 5, of which 3 have finished runs beside them." in text
    assert (
        text.count("<script") == 1 and "partly" not in re.search(r"Protocols</h2>.*?Sources</h2>", text, re.DOTALL)[0]
    )


def test_the_files_have_the_same_comparisons(part, fill, tmp_path):
    fill(part, MEASURED)
    written = page.write(part, beside.summary_of(part), tmp_path)
    assert [path.name for path in written] == ["reproduce-small.html", "reproduce-small.md", "reproduce-small.csv"]
    rows = list(csv.DictReader(io.StringIO(written[2].read_text())))
    assert len(rows) == 5 and rows[0]["verdict"] == "inside it" and float(rows[0]["measured"]) == 60.0
    assert "| plain " in written[1].read_text() and "above it" in written[1].read_text()


def test_damaged_results_are_named_and_the_rest_is_shown(part, fill):
    fill(part, MEASURED)
    run = next(run for run in part.runs if (run.workdir / "results.json").exists())
    (run.workdir / "results.json").write_text("{")
    summary = beside.summary_of(part)
    assert len(summary.damaged) == 1 and run.name in summary.damaged[0]


def test_changed_settings_are_said_where_the_protocols_do_not_know_of_them(part, table, tmp_path):
    assert beside.changed_settings(part) == []
    changes = ["--config.classifier.epochs=3", "--config.dataset.data_dir=elsewhere"]
    changed = parts.chosen(table, tmp_path, overrides=changes)
    assert beside.changed_settings(changed) == ["classifier.epochs=3"]
    sentence = "Settings were changed, which the protocols below do not consider: classifier.epochs=3."
    assert sentence in page.standing(changed, beside.summary_of(changed))


def test_the_protocol_here_is_read_from_the_settings(part):
    ours = beside.our_protocol(part)
    classifier = part.runs[0].config.classifier
    assert f"{classifier.epochs} epochs" in ours["training"] and f"{classifier.learning_rate:g}" in ours["tuning"]
    assert ours["runs"] == "3 seeds, each with images of its own"
