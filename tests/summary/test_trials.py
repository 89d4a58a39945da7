import json
import math

import pytest

from benchmarks.made_runs import make_run
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.summary.trials import Address, Status, find_runs, read_run


def read(path, metric="top1"):
    return read_run(Workdir(path), metric)


def change(path, **members):
    """Overwrites members of a JSON file; None removes a member."""
    content = json.loads(path.read_text()) | members
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_runs_are_found_at_any_depth_but_not_inside_runs(tmp_path):
    for place in ("b", "a/seed-1", "a/seed-0"):
        make_run(tmp_path / place, 0.5)
    (tmp_path / "b" / "classifier").mkdir()
    (tmp_path / "b" / "classifier" / "config.json").write_text("{}")
    (tmp_path / "notes").mkdir()
    found = [str(run.path.relative_to(tmp_path)) for run in find_runs(tmp_path, on_error=pytest.fail)]
    assert found == ["a/seed-0", "a/seed-1", "b"]


def test_runs_linked_into_a_folder_are_found_once(tmp_path):
    make_run(tmp_path / "elsewhere" / "run", 0.5)
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "run").symlink_to("../elsewhere/run")
    (tmp_path / "paper" / "circle").symlink_to("../paper")
    found = [run.path for run in find_runs(tmp_path / "paper", on_error=pytest.fail)]
    assert found == [tmp_path / "paper" / "run"]


def test_a_finished_run_has_an_address_and_a_result(tmp_path):
    (trial,), problems = read(make_run(tmp_path / "run", 0.75, seed=3))
    assert problems == []
    assert trial.address == Address("digits", "test", "baseline", 5, 3)
    assert (trial.status, trial.accuracy, trial.embedded, trial.mean_images) == (Status.FINISHED, 0.75, False, 5)
    assert "JAX" in trial.environment


def test_another_metric_can_be_read(tmp_path):
    (trial,), _ = read(make_run(tmp_path / "run", 0.75), metric="top5")
    assert trial.accuracy == 0.875


def measured_by_folds(path, **figures):
    """Makes a run's test figures those of its folds."""
    results = json.loads((path / "results.json").read_text())
    change(path / "results.json", test=None, folds=results["test"] | figures)
    return path


def test_a_recipe_that_was_chosen_by_its_folds_counts_with_its_corrected_accuracy(tmp_path):
    chosen = measured_by_folds(make_run(tmp_path / "run", 0.75), expected_accuracy=0.71, optimism=0.04)
    (trial,), problems = read(chosen)
    assert problems == [] and trial.address.split == "folds"
    assert (trial.accuracy, trial.optimism) == (0.71, 0.04)
    (trial,), _ = read(chosen, metric="macro_accuracy")
    assert trial.accuracy != 0.71 and trial.optimism == 0.04  # which the summary says
    (trial,), _ = read(measured_by_folds(make_run(tmp_path / "earlier", 0.75)))
    assert (trial.accuracy, trial.optimism) == (0.75, 0.0)


def test_an_embedded_baseline_has_the_settings_of_a_separate_one(tmp_path):
    embedded = make_run(tmp_path / "grid", 0.8, config="configs/digits.py:chimeramix_grid", baseline_top1=0.7)
    separate = make_run(tmp_path / "baseline", 0.7)
    (mixing, compared), _ = read(embedded)
    (own,), _ = read(separate)
    assert (mixing.address.experiment, mixing.accuracy, mixing.embedded) == ("chimeramix_grid", 0.8, False)
    assert (compared.accuracy, compared.embedded) == (0.7, True)
    assert (compared.address, compared.settings, compared.images) == (own.address, own.settings, own.images)


def test_a_run_of_an_earlier_version_has_the_defaults_of_settings_added_later(tmp_path):
    old, new = make_run(tmp_path / "old", 0.7), make_run(tmp_path / "new", 0.7)
    for name in ("config.json", "results.json"):
        content = json.loads((old / name).read_text())
        stored = content.get("config", content)
        del stored["classifier"]["growing_sides"], stored["evaluation"]["mirror"]
        (old / name).write_text(json.dumps(content))
    assert read(old)[0][0].settings == read(new)[0][0].settings


@pytest.mark.parametrize("kind", ["autoaugment", "cosine", "harmonic", "simclr"])
def test_an_embedded_baseline_is_the_experiment_that_lacks_only_mixing(tmp_path, kind):
    config = f"configs/digits.py:chimeramix_grid_{kind}"
    (_, compared), _ = read(make_run(tmp_path / "run", 0.8, config=config, baseline_top1=0.7))
    (own,), _ = read(make_run(tmp_path / "own", 0.7, config=f"configs/digits.py:baseline_{kind}"))
    assert (compared.address, compared.settings) == (own.address, own.settings)


@pytest.mark.parametrize("data", ["tfds:flowers", "digits"])
def test_a_baseline_with_own_ideas_or_no_experiments_settings_is_never_shown_as_the_shipped_one(tmp_path, data):
    config = "configs/digits.py:chimeramix_grid_trivialaugment"
    changes = {
        "dataset__name": data,
        "augment__own": "speckle",
        "augment__own_code": "mine.py 0f",
        "classifier__head": "tvmf",
    }
    path = make_run(tmp_path / "run", 0.8, config=config, baseline_top1=0.7, **changes)
    (mixing, compared), problems = read(path)
    assert problems == [] and compared.address.experiment == "baseline_trivialaugment"
    for trial in (mixing, compared):
        changed = {key: value for key, value in trial.changed.items() if not key.endswith("_code")}
        assert changed == {"augment.own": "", "classifier.head": "linear"}


def test_the_split_of_a_run_on_validation_images_is_validation(tmp_path):
    (trial,), _ = read(make_run(tmp_path / "run", 0.5, dataset__evaluate_on="validation"))
    assert trial.address.split == "validation" and trial.accuracy == 0.5


def test_image_folders_are_distinguished_by_name(tmp_path):
    changes = {"dataset__name": "image_folder", "dataset__directory": "photos/birds/"}
    (trial,), _ = read(make_run(tmp_path / "run", 0.5, **changes))
    assert trial.address.dataset == "image_folder (birds)"


def test_settings_without_effect_on_results_are_left_out(tmp_path):
    (first,), _ = read(make_run(tmp_path / "first", 0.5, evaluation__batch_size=10, generator__epochs=3))
    (second,), _ = read(make_run(tmp_path / "second", 0.5, evaluation__batch_size=20, generator__epochs=4))
    assert first.settings == second.settings
    assert {"classifier.epochs", "precision"} <= set(first.settings)


def test_a_run_without_results_and_its_baseline_are_unfinished(tmp_path):
    config = "configs/digits.py:chimeramix_grid"
    trials, problems = read(make_run(tmp_path / "run", None, config=config, compare_with_baseline=True))
    assert problems == []
    assert [(trial.address.experiment, trial.status) for trial in trials] == [
        ("chimeramix_grid", Status.UNFINISHED),
        ("baseline", Status.UNFINISHED),
    ]
    assert all(math.isnan(trial.accuracy) for trial in trials)


def test_a_baseline_that_is_not_trained_yet_is_unfinished(tmp_path):
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
def test_damaged_results_are_reported_and_the_run_is_identified_by_its_settings(tmp_path, members, named):
    path = make_run(tmp_path / "run", 0.5)
    change(path / "results.json", **members)
    (trial,), (problem,) = read(path)
    assert (trial.status, trial.address.seed) == (Status.DAMAGED, 0)
    assert "results.json" in problem and any(part in problem for part in named.split("|"))


@pytest.mark.parametrize("content", [b"", b'{"dataset": ', b"\xff\xfe", b"[1]", b"[" * 100_000, b'{"seed": NaN'])
def test_results_that_are_not_a_json_object_are_reported(tmp_path, content):
    path = make_run(tmp_path / "run", 0.5)
    (path / "results.json").write_bytes(content)
    (trial,), (problem,) = read(path)
    assert trial.status == Status.DAMAGED
    assert "results.json: cannot be read" in problem


def test_a_run_without_readable_files_has_no_trials(tmp_path):
    path = make_run(tmp_path / "run", 0.5)
    (path / "results.json").write_text("{")
    (path / "config.json").write_text("{}")
    trials, problems = read(path)
    assert trials == []
    assert [name in problem for name, problem in zip(("results.json", "config.json"), problems, strict=True)]


def test_results_suffice_without_config(tmp_path):
    path = make_run(tmp_path / "run", 0.5)
    (path / "config.json").unlink()
    (trial,), problems = read(path)
    assert (trial.accuracy, problems) == (0.5, [])


def test_rollbacks_are_those_of_the_parts_that_a_classifier_uses(tmp_path):
    path = make_run(tmp_path / "run", 0.8, config="configs/digits.py:chimeramix_grid", baseline_top1=0.7)
    change(path / "results.json", rollbacks={"generator": [{}], "classifier": [], "baseline": [{}, {}]})
    (mixing, baseline), _ = read(path)
    assert (mixing.rollbacks, baseline.rollbacks) == ({"generator": 1}, {"baseline": 2})


def test_a_shipped_run_has_no_changed_settings(tmp_path):
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


def test_changed_settings_are_listed_with_their_shipped_values(tmp_path):
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
def test_an_experiment_with_another_mask_than_shipped_is_listed_as_changed(tmp_path, experiment, mask):
    (trial, *_), _ = read(make_run(tmp_path / "run", 0.5, config=f"configs/digits.py:{experiment}", mixing__mask=mask))
    assert set(trial.changed) == {"mixing.mask"} and trial.settings["mixing.mask"] == mask


def test_the_accuracy_of_each_class_is_its_share_of_the_row_of_the_confusion_matrix(tmp_path):
    path = make_run(tmp_path / "run", 0.75, classes=2, examples=200)
    (trial,), _ = read(path)
    assert trial.class_accuracies == {"class 0": 0.75, "class 1": 0.75}
    evaluation = json.loads((path / "results.json").read_text())["test"]
    for confusion, expected in (
        ([[3, 1], [0, 0]], {"class 0": 0.75}),  # a class without images has no accuracy
        ([[3, 1]], {}),
        ([[3, 1], ["0", 0]], {}),
        (None, {}),
    ):
        change(path / "results.json", test=evaluation | {"confusion": confusion})
        (trial,), _ = read(path)
        assert trial.class_accuracies == expected


@pytest.mark.parametrize(
    ("members", "named"),
    [
        ({"baseline": 3}, "baseline: not a JSON object"),
        ({"config": {"dataset": {"division": "first"}}}, "dataset.division: 'first'"),
        ({"config": {"dataset": {"directory": 3}}}, "dataset.directory: 3"),
    ],
)
def test_values_of_other_types_are_damage_and_end_no_summary(tmp_path, members, named):
    path = make_run(tmp_path / "run", 0.5, config="configs/digits.py:chimeramix_grid", baseline_top1=0.4)
    content = json.loads((path / "results.json").read_text())
    content["config"]["dataset"] |= members.get("config", {}).get("dataset", {})
    content |= {key: value for key, value in members.items() if key != "config"}
    (path / "results.json").write_text(json.dumps(content))
    trials, (problem,) = read(path)
    assert {trial.status for trial in trials} == {Status.DAMAGED}
    assert "results.json" in problem and named in problem


def test_unreadable_rollbacks_do_not_end_a_summary(tmp_path):
    path = make_run(tmp_path / "run", 0.5)
    change(path / "results.json", rollbacks={"classifier": 3})
    (trial,), problems = read(path)
    assert (trial.status, trial.rollbacks, problems) == (Status.FINISHED, {}, [])
