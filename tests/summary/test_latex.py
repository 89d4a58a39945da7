import re

from summary.made_trials import made_trial

from chimeramix_jax.summary import latex
from chimeramix_jax.summary.comparison import summarize


def lines_of(text, *, containing):
    return [line for line in text.splitlines() if containing in line]


def test_latex_has_a_row_per_experiment_and_a_column_per_number_of_images(summary):
    text = latex.summary_text(summary)
    assert text.count(r"\begin{tabular}{lrr}") == text.count(r"\end{tabular}") == 5
    accuracy, interval, difference, p_value, corrected = lines_of(text, containing=r"mix\_grid")
    assert accuracy == r"mix\_grid & 62.00 $\pm$ 2.83 (2/3) & -- \\"
    assert interval == r"mix\_grid & 36.59 to 87.41 & -- \\"
    assert difference == r"mix\_grid & $+9.50$ [$+3.15$, $+15.85$] & -- \\"
    assert p_value == corrected == r"mix\_grid & 0.033 & -- \\"
    assert r"\toprule" in text and r"\bottomrule" in text


def test_latex_escapes_every_special_character():
    awkward = r"100%_a&b#$\{}~^<>|"
    text = latex.summary_text(summarize([made_trial(0.5, dataset=awkward)], [], None, "top1"))
    (caption,) = {line for line in lines_of(text, containing=r"\caption") if "deviation" in line}
    bare = re.sub(r"\\[%_&#$\{\}]|\\text\w+\{\}|\$\\pm\$|\\caption\{|\}$", "", caption)
    assert not set(bare) & set("%_&#$\\{}~^<>|")


def test_a_table_has_the_settings_that_letters_stand_for():
    trials = [made_trial(0.5, experiment="mix", generator__epochs=epochs) for epochs in (10, 20)]
    text = latex.summary_text(summarize(trials, [], None, "top1"))
    assert r"generator.epochs & 10 & 20 \\" in text


def test_the_best_mean_is_bold():
    text = latex.summary_text(summarize([made_trial(0.5), made_trial(0.6, experiment="mix")], [], None, "top1"))
    assert r"mix & \textbf{60.00} \\" in text and r"\textbf{50" not in text
