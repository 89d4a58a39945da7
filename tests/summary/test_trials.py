import json
import math

import pytest

from benchmarks.made_runs import make_run
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.summary.trials import Address, Status, find_runs, read_run


def read(path, metric="top1"):
    return read_run(Workdir(path), metric)


def change(path, **members):
    """Overwrites members of a JSON file; None removes one."""
    content = json.loads(path.read_text()) | members
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_runs_are_found_at_any_depth_and_not_within_runs(tmp_path):
    for place in ("b", "a/seed-1", "a/seed-0"):
        make_run(tmp_path / place, 0.5)
    (tmp_path / "b" / "classifier").mkdir()
    (tmp_path / "b" / "classifier" / "config.json").write_text("{}")
    (tmp_path / "notes").mkdir()
    found = [str(run.path.relative_to(tmp_path)) for run in find_runs(tmp_path, on_error=pytest.fail)]
    assert found == ["a/seed-0", "a/seed-1", "b"]


def test_runs_that_are_linked_into_a_folder_are_found_once(tmp_path):
    make_run(tmp_path / "elsewhere" / "run", 0.5)
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "run").symlink_to("../elsewhere/run")
    (tmp_path / "paper" / "circle").symlink_to("../paper")
    found = [run.path for run in find_runs(tmp_path / "paper", on_error=pytest.fail)]
    assert found == [tmp_path / "paper" / "run"]


def test_a_finished_run_has_its_address_and_figures(tmp_path):
    (trial,), problems = read(make_run(tmp_path / "run", 0.75, seed=3))
    assert problems == []
    assert trial.address == Address("digits", "test", "baseline", 5, 3)
    assert (trial.status, trial.accuracy, trial.within, trial.mean_images) == (Status.FINISHED, 0.75, False, 5)
    assert "JAX" in trial.environment


def test_another_metric_is_read_where_asked_for(tmp_path):
    (trial,), _ = read(make_run(tmp_path / "run", 0.75), metric="top5")
    assert trial.accuracy == 0.875


def test_a_baseline_within_a_run_has_the_settings_of_one_that_runs_alone(tmp_path):
    within = make_run(tmp_path / "grid", 0.8, config="configs/digits.py:chimeramix_grid", baseline_top1=0.7)
    alone = make_run(tmp_path / "baseline", 0.7)
    (mixing, compared), _ = read(within)
    (own,), _ = read(alone)
    assert (mixing.address.experiment, mixing.accuracy, mixing.within) == ("chimeramix_grid", 0.8, False)
    assert (compared.accuracy, compared.within) == (0.7, True)
    assert (compared.address, compared.settings, compared.images) == (own.address, own.settings, own.images)


def test_a_baseline_within_a_run_with_a_policy_is_named_by_it(tmp_path):
    config = "configs/digits.py:chimeramix_grid_autoaugment"
    (_, compared), _ = read(make_run(tmp_path / "run", 0.8, config=config, baseline_top1=0.7))
    (own,), _ = read(make_run(tmp_path / "own", 0.7, config="configs/digits.py:baseline_autoaugment"))
    assert (compared.address, compared.settings) == (own.address, own.settings)


def test_a_run_on_validation_images_says_so(tmp_path):
    (trial,), _ = read(make_run(tmp_path / "run", 0.5, dataset__evaluate_on="validation"))
    assert trial.address.split == "validation" and trial.accuracy == 0.5


def test_folders_of_images_are_told_apart_by_name(tmp_path):
    changes = {"dataset__name": "image_folder", "dataset__directory": "photos/birds/"}
    (trial,), _ = read(make_run(tmp_path / "run", 0.5, **changes))
    assert trial.address.dataset == "image_folder (birds)"


def test_settings_that_cannot_change_a_figure_are_left_out(tmp_path):
    (one,), _ = read(make_run(tmp_path / "one", 0.5, evaluation__batch_size=10, generator__epochs=3))
    (other,), _ = read(make_run(tmp_path / "other", 0.5, evaluation__batch_size=20, generator__epochs=4))
    assert one.settings == other.settings
    assert {"classifier.epochs", "precision"} <= set(one.settings)


def test_a_run_without_results_is_unfinished_and_so_is_its_baseline(tmp_path):
    config = "configs/digits.py:chimeramix_grid"
    trials, problems = read(make_run(tmp_path / "run", None, config=config, compare_with_baseline=True))
    assert problems == []
    assert [(trial.address.experiment, trial.status) for trial in trials] == [
        ("chimeramix_grid", Status.UNFINISHED),
        ("baseline", Status.UNFINISHED),
    ]
    assert all(math.isnan(trial.accuracy) for trial in trials)


def test_a_baseline_that_is_yet_to_be_trained_is_unfinished(tmp_path):
    path = make_run(tmp_path / "run", 0.8, config="configs/digits.py:chimeramix_grid", baseline_top1=0.7)
    change(path / "results.json", baseline=None)
    (mixing, baseline), problems = read(path)
    assert (mixing.status, baseline.status, problems) == (Status.FINISHED, Status.UNFINISHED, [])


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"test": None}, "test: missing"),
        ({"test": {"top1": 1.5}}, "test.top1: 1.5; it must be a number from 0 to 1"),
        ({"test": {"top1": True}}, "test.top1: True"),
        ({"test": {"top5": 0.5}}, "test.top1: missing"),
        ({"config": None}, "config: missing"),
        ({"config": {"seed": 0}}, "experiment: missing|dataset.name: missing"),
        ({"train_indices": 5}, "train_indices: not a list"),
        ({"class_names": []}, "class_names"),
        ({"device": "cpu"}, "device: not a JSON object"),
    ],
)
def test_damaged_results_are_named_and_the_run_is_still_known_by_its_settings(tmp_path, members, named):
    path = make_run(tmp_path / "run", 0.5)
    change(path / "results.json", **members)
    (trial,), (problem,) = read(path)
    assert (trial.status, trial.address.seed) == (Status.DAMAGED, 0)
    assert "results.json" in problem and any(part in problem for part in named.split("|"))


@pytest.mark.parametrize("content", [b"", b'{"dataset": ', b"\xff\xfe", b"[1]", b"[" * 100_000, b'{"seed": NaN'])
def test_results_that_are_no_json_object_are_named(tmp_path, content):
    path = make_run(tmp_path / "run", 0.5)
    (path / "results.json").write_bytes(content)
    (trial,), (problem,) = read(path)
    assert trial.status == Status.DAMAGED
    assert "results.json: cannot be read" in problem


def test_a_run_of_which_nothing_can_be_read_has_no_trials(tmp_path):
    path = make_run(tmp_path / "run", 0.5)
    (path / "results.json").write_text("{")
    (path / "config.json").write_text("{}")
    trials, problems = read(path)
    assert trials == []
    assert [name in problem for name, problem in zip(("results.json", "config.json"), problems, strict=True)]


def test_results_alone_are_enough(tmp_path):
    path = make_run(tmp_path / "run", 0.5)
    (path / "config.json").unlink()
    (trial,), problems = read(path)
    assert (trial.accuracy, problems) == (0.5, [])


def test_rollbacks_are_those_of_the_classifiers_own_parts(tmp_path):
    path = make_run(tmp_path / "run", 0.8, config="configs/digits.py:chimeramix_grid", baseline_top1=0.7)
    change(path / "results.json", rollbacks={"generator": [{}], "classifier": [], "baseline": [{}, {}]})
    (mixing, baseline), _ = read(path)
    assert (mixing.rollbacks, baseline.rollbacks) == ({"generator": 1}, {"baseline": 2})


def test_a_run_as_shipped_has_no_changed_settings(tmp_path):
    for name, config in (
        ("grid", "digits.py:chimeramix_grid"),
        ("cut", "cifair10.py:cutout"),
        ("own", "stl10.py:mixup"),
    ):
        trials, _ = read(make_run(tmp_path / name, 0.5, config=f"configs/{config}", precision="float32"))
        assert {key for trial in trials for key in trial.changed} == {"precision"}
    changes = {"dataset__name": "image_folder", "dataset__directory": "photos"}
    (trial,), _ = read(make_run(tmp_path / "gpu", 0.5, config="configs/image_folder_gpu.py:baseline", **changes))
    assert trial.changed == {}


def test_settings_changed_by_hand_are_told_with_what_is_shipped(tmp_path):
    config = "configs/digits.py:chimeramix_grid"
    changes = {
        "classifier__epochs": 3,
        "generator__epochs": 2,
        "mixing__segmentation_scale": 5.0,
        "evaluation__every_epochs": 7,
    }
    (mixing, baseline), _ = read(make_run(tmp_path / "run", 0.8, config=config, baseline_top1=0.7, **changes))
    assert mixing.changed == {"generator.epochs": 16, "classifier.epochs": 20}
    assert baseline.changed == {"classifier.epochs": 20}


@pytest.mark.parametrize(("experiment", "mask"), [("chimeramix_grid", "none"), ("baseline", "grid")])
def test_an_experiment_that_mixes_otherwise_than_shipped_is_told(tmp_path, experiment, mask):
    (trial, *_), _ = read(make_run(tmp_path / "run", 0.5, config=f"configs/digits.py:{experiment}", mixing__mask=mask))
    assert set(trial.changed) == {"mixing.mask"} and trial.settings["mixing.mask"] == mask
