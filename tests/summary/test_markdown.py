from summary.made_trials import made_trial

from chimeramix_jax.summary import markdown
from chimeramix_jax.summary.comparison import summarize


def lines_of(text, *, containing):
    return [line for line in text.splitlines() if containing in line]


def test_markdown_has_means_intervals_differences_and_counts(summary):
    text = markdown.summary_text(summary)
    cells = [cell.strip() for cell in lines_of(text, containing="| mix_grid")[0].strip("|").split("|")]
    assert cells == [
        "5",
        "mix_grid",
        "2 of 3",
        "62.00 ± 2.83",
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
    (line,) = lines_of(markdown.summary_text(summary, seeds=False), containing="1 of 3")
    assert "80.00 | " in line and "one seed" in line and "±" not in line


def test_notes_list_damaged_and_missing_runs(summary):
    text = markdown.summary_text(summary)
    assert "a\\|b: cannot be read" in text
    assert "all images per class: seeds 0, 1, 2" in text
    assert text.startswith("Classifiers: 6 finished, 1 unfinished, 5 missing.")


def test_a_table_has_the_settings_that_letters_stand_for():
    trials = [made_trial(0.5, experiment="mix", generator__epochs=epochs) for epochs in (10, 20)]
    text = markdown.summary_text(summarize(trials, [], None, "top1"))
    (line,) = lines_of(text, containing="| generator.epochs")
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["generator.epochs", "10", "20"]
    assert "| mix (A)" in text and "| mix (B)" in text


def test_the_best_mean_is_bold():
    text = markdown.summary_text(summarize([made_trial(0.5), made_trial(0.6, experiment="mix")], [], None, "top1"))
    assert "| **60.00** |" in " ".join(text.split()) and "**50" not in text
