"""Choosing a part of a table."""

import pytest

from chimeramix_jax.errors import InputError
from chimeramix_jax.reproduce import parts


def test_the_whole_table_is_its_sweep_ordered_by_seed_without_embedded_baselines(part):
    assert len(part.runs) == 2 * 2 * 3 == part.table.runs
    assert [run.config.seed for run in part.runs] == sorted(run.config.seed for run in part.runs)
    assert not any(run.config.compare_with_baseline for run in part.runs)
    assert [dataset.config for dataset in part.not_filled] == ["nobody_has_it"]
    assert len(part.figures) == 5


def test_flags_choose_runs_and_the_figures_beside_them(table, tmp_path):
    part = parts.chosen(table, tmp_path, datasets="dig*", experiments="chimeramix_*", images="5", seeds="1,2")
    chosen = {(run.config.experiment, run.config.max_labels_per_class, run.config.seed) for run in part.runs}
    assert chosen == {("chimeramix_grid", 5, 1), ("chimeramix_grid", 5, 2)}
    assert [figure.percent for figure in part.figures] == [60.0, 70.0, 71.0]
    assert part.not_filled == ()


def test_own_settings_reach_every_run(table, tmp_path):
    part = parts.chosen(table, tmp_path, overrides=["--config.classifier.epochs=3"])
    assert {run.config.classifier.epochs for run in part.runs} == {3}


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"datasets": "digit"}, "--datasets: 'digit' is not known .did you mean 'digits'"),
        ({"datasets": ""}, "--datasets: is empty"),
        ({"datasets": "nobody_has_it"}, "nobody_has_it: there is no config file.*can be filled for digits"),
        ({"experiments": "cutout"}, "--experiments: 'cutout' is not known.*allowed: baseline, chimeramix_grid"),
        ({"images": "7"}, "--max_labels_per_class: 7 is not in the table small; allowed: 5, 10, 30"),
        ({"images": "all"}, "--max_labels_per_class: all is not in the table"),
        ({"images": "30", "datasets": "digits"}, "'30' leaves nothing of small, which has 5, 10 for digits"),
        ({"seeds": "3"}, "--seeds: 3 is not in the table small; allowed: 0, 1, 2"),
        ({"seeds": "x"}, "--seeds: 'x' is not allowed"),
        ({"seeds": ""}, "--seeds: is empty"),
        ({"overrides": ["--config.seed=1"]}, "list the values with --seeds"),
    ],
)
def test_what_is_not_in_the_table_is_refused(table, tmp_path, chosen, message):
    with pytest.raises(InputError, match=message) as caught:
        parts.chosen(table, tmp_path, **chosen)
    assert "\n" not in str(caught.value)
