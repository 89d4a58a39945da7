"""A whole run, small, through the real command line and from Python."""

import hashlib
import json
import os
import re
import resource
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY, WATCHED
from flax import nnx
from PIL import Image

import chimeramix_jax
from chimeramix_jax.config import load
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.preparation import SkippedWarning
from chimeramix_jax.errors import InputError
from chimeramix_jax.mixing.blending import mixed_images
from chimeramix_jax.reporting.results import closing_text
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.training.checkpoints import DamagedCheckpointWarning


@pytest.fixture(scope="module")
def finished(trained_run, tmp_path_factory):
    """A copy of a finished run, which these tests may change."""
    return shutil.copytree(trained_run, tmp_path_factory.mktemp("finished") / "run")


@pytest.fixture
def settings(data_dir):
    def make(experiment="chimeramix_grid", **changes):
        config = load(f"configs/digits.py:{experiment}")
        config.update_from_flattened_dict(TINY | WATCHED | {"dataset.data_dir": str(data_dir)} | changes)
        return config

    return make


@pytest.mark.parametrize(
    ("experiment", "changes", "name"),
    [
        ("chimeramix_grid_direct", {"augment.policy": "trivialaugment"}, "baseline_trivialaugment"),
        ("baseline", {"mixing.mask": "grid", "mixing.of": "pixels"}, "baseline without mixing"),
    ],
)
def test_the_baseline_has_the_name_of_the_experiment_that_it_is(settings, tmp_path, experiment, changes, name):
    config = settings(experiment, compare_with_baseline=True, **{"classifier.epochs": 1} | changes)
    results = chimeramix_jax.train_and_evaluate(config, tmp_path / "run")
    assert [row["experiment"] for row in results["summary"]] == [name, experiment]
    assert results["baseline"]["experiment"] == name and "top1" in results["baseline"]["test"]
    text = " ".join((tmp_path / "run" / "report.html").read_text().split())
    assert f"The baseline ({name}), trained without mixing, has" in text
    assert f"{experiment} against {name}, 2 images per class: " in closing_text(results)


def test_a_run_writes_results_and_pictures_and_prints_a_table(trained_run, finished):
    output, errors = ((trained_run.parent / name).read_text() for name in ("output", "errors"))
    results = json.loads((finished / "results.json").read_text())
    assert (results["dataset"], results["experiment"], results["seed"]) == ("digits", "chimeramix_grid", 0)
    assert results["max_labels_per_class"] == 2
    for test in (results["test"], results["baseline"]["test"]):
        assert test["examples"] == np.sum(test["confusion"]) == 697
        assert 0 <= test["macro_accuracy"] <= 1 and test["top1"] <= test["top5"] and test["loss"] > 0
    assert set(results["seconds"]) == {"generator", "classifier", "baseline"}
    assert results["device"]["backend"] == jax.default_backend()
    assert results["versions"]["jax"] == jax.__version__
    assert len(results["train_indices"]) == 20
    indices = ",".join(str(index) for index in results["train_indices"])
    assert results["train_indices_sha256"] == hashlib.sha256(indices.encode()).hexdigest()
    assert results["rollbacks"] == {"generator": [], "classifier": [], "baseline": []}
    assert results["config"]["seed"] == 0 and "git_commit" in results
    assert f"{results['test']['top1']:.1%}" in output and "baseline" in output
    assert "measured on 697 test images" in output and "exact McNemar test" in output
    *_, report, classify = output.splitlines()
    assert report == f"report:           {trained_run / 'report.html'}"
    assert classify.startswith("classify photos:  ") and f"--stage=predict --workdir={trained_run} " in classify
    assert 0 <= results["mixes"]["recognized"] <= 1 and results["mixes"]["distance"] > 0
    mixes = f"of {results['mixes']['examples']} mixes and of"
    assert mixes in " ".join((finished / "report.html").read_text().split())
    assert (mixes in " ".join(output.split())) == ("may become worse" in " ".join(output.split()))
    paired = results["against_baseline"]
    gained = paired["only_classifier_right"] - paired["only_baseline_right"]
    assert gained == round(697 * (results["test"]["top1"] - results["baseline"]["test"]["top1"]))
    for picture in ("mixing.png", "masks.png", "generator/pictures/mixing-epoch-0002.png"):
        with Image.open(finished / picture) as image:
            assert image.size[0] > 500
    assert f"{100 * results['test']['top1']:.1f}\N{NO-BREAK SPACE}%" in (finished / "report.html").read_text()
    assert "Traceback" not in errors


def log(workdir, stage):
    return [json.loads(line) for line in (workdir / stage / "metrics.jsonl").read_text().splitlines()]


def test_a_baseline_run_equals_the_baseline_of_a_comparison_also_if_evaluated_on_validation_images(
    run_here, finished, tmp_path
):
    code, output, errors = run_here(
        "--config=configs/digits.py:baseline",
        f"--workdir={tmp_path}",
        "--config.dataset.evaluate_on=validation",
        **WATCHED,
    )
    assert code == 0, errors
    results = json.loads((tmp_path / "results.json").read_text())
    assert "test" not in results and results["validation"]["examples"] == 1100 - 20
    assert "measured on 1080 validation images" in output
    assert "generator" not in results["seconds"] and "baseline" not in results
    lines, compared = log(tmp_path, "classifier"), log(finished, "baseline")
    assert [line["loss"] for line in lines] == [line["loss"] for line in compared]
    assert lines[-1]["loss"] < lines[0]["loss"]
    for log_lines, split in ((lines, "validation"), (compared, "test")):  # which has not changed the training
        measured = {name for line in log_lines for name in line if name.endswith("_top1")}
        assert measured == {f"{split}_top1"}
        assert [line["epoch"] for line in log_lines if f"{split}_top1" in line] == [2, 4]


def test_a_finished_run_is_not_trained_again(run_here, finished):
    before = {path: path.read_bytes() for path in finished.glob("*/metrics.jsonl")}
    code, output, errors = run_here(f"--workdir={finished}")
    assert code == 0 and "steps" not in errors
    assert "chimeramix_grid" in output
    assert {path: path.read_bytes() for path in finished.glob("*/metrics.jsonl")} == before


def test_evaluating_a_finished_run_gives_the_same_metrics(settings, finished):
    stored = json.loads((finished / "results.json").read_text())
    again = chimeramix_jax.train_and_evaluate(settings(), finished, stage="evaluate")
    assert again["test"]["top1"] == stored["test"]["top1"]
    assert again["baseline"]["test"]["loss"] == stored["baseline"]["test"]["loss"]


def test_the_report_of_a_finished_run_can_be_drawn_again(settings, finished):
    before = {path: path.read_bytes() for path in (finished / "report.html", finished / "results.json")}
    (finished / "report.html").unlink()
    before[finished / "held_out.csv"] = (finished / "held_out.csv").read_bytes()
    (finished / "held_out.csv").unlink()  # as in runs of earlier versions
    returned = chimeramix_jax.train_and_evaluate(settings(), finished, stage="report")
    assert finished / "report.html" in returned["files"] and "summary" not in returned
    assert {path: path.read_bytes() for path in before} == before


def test_the_report_of_a_run_without_results_is_refused(settings, finished, tmp_path):
    with pytest.raises(InputError, match="holds no finished classifier; finish it with"):
        chimeramix_jax.train_and_evaluate(settings(), tmp_path / "new", stage="report")
    (finished / "results.json").rename(tmp_path / "results.json")
    with pytest.raises(InputError, match="--stage=evaluate"):
        chimeramix_jax.train_and_evaluate(settings(), finished, stage="report")
    (tmp_path / "results.json").rename(finished / "results.json")


def test_networks_are_restored_without_giving_settings(finished):
    generator = chimeramix_jax.restore_generator(finished)
    classifier = chimeramix_jax.restore_classifier(finished)
    a, b = jax.random.uniform(jax.random.key(0), (2, 3, 32, 32, 3), minval=-1, maxval=1)
    mixed = nnx.jit(mixed_images)(generator, a, b, jnp.ones((3, 8, 8, 1)))
    assert mixed.shape == a.shape
    assert classifier(a[:, ::4, ::4]).shape == (3, 10)
    assert chimeramix_jax.class_names(finished) == tuple("0123456789")


@pytest.mark.parametrize(
    ("part", "restore"),
    [("generator", chimeramix_jax.restore_generator), ("classifier", chimeramix_jax.restore_classifier)],
)
def test_a_network_whose_newest_checkpoint_is_damaged_is_restored_from_the_previous_checkpoint(
    finished, tmp_path, part, restore
):
    shutil.copytree(finished / part, tmp_path / part)
    older, newest = sorted((tmp_path / part / "checkpoints").iterdir(), key=lambda path: int(path.name))
    about = newest / "about" / "metadata"
    about.write_bytes(about.read_bytes()[:-1])
    with pytest.warns(DamagedCheckpointWarning, match=rf"{newest}: about/metadata .* going back to {older}"):
        restore(tmp_path)
    shutil.rmtree(older)
    with pytest.raises(InputError, match="no intact checkpoint"):
        restore(tmp_path)


def test_the_accuracy_of_a_restored_classifier_equals_its_results(settings, finished):
    from chimeramix_jax.augment.geometry import normalize
    from chimeramix_jax.data.resizing import resize

    config = settings()
    test = load_few_shot(config.dataset, config.max_labels_per_class, config.seed).held_out
    classifier = chimeramix_jax.restore_classifier(finished)
    logits = nnx.jit(lambda model, images: model(normalize(images)))(classifier, resize(test.images, 8))
    accuracy = np.mean(np.argmax(logits, axis=1) == test.labels)
    assert accuracy == pytest.approx(json.loads((finished / "results.json").read_text())["test"]["top1"], abs=2e-3)


def test_retraining_keeps_the_old_files(settings, finished):
    old = (finished / "results.json").read_text()
    chimeramix_jax.train_and_evaluate(settings(), finished, stage="classifier", retrain=True)
    assert (finished / "results.replaced-1.json").read_text() == old
    assert (finished / "classifier.replaced-1" / "metrics.jsonl").exists()
    assert json.loads((finished / "results.json").read_text())["test"]["loss"] == json.loads(old)["test"]["loss"]


def test_another_run_in_the_same_directory_is_refused_naming_the_differing_settings(run_here, finished):
    before = (finished / "results.json").read_bytes()
    code, _, errors = run_here(f"--workdir={finished}", seed=3)
    assert code == 2
    assert errors.count("\n") == 1 and "seed: 0 stored, 3 requested" in errors
    assert (finished / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("experiment", "changes", "differing"),
    [
        ("baseline", {}, "experiment: 'chimeramix_grid' stored, 'baseline' requested"),
        ("chimeramix_grid", {"classifier.learning_rate": 0.5}, "classifier.learning_rate: 0.1 stored, 0.5 requested"),
        ("chimeramix_grid", {"generator.channels": 6}, "generator.channels: 4 stored, 6 requested"),
    ],
)
def test_networks_of_other_settings_are_no_part_of_a_run_whose_settings_were_lost_or_edited(
    settings, finished, tmp_path, experiment, changes, differing
):
    run = shutil.copytree(finished, tmp_path / "run")
    requested = settings(experiment, **changes)
    (run / "config.json").unlink()
    with pytest.raises(InputError, match="was trained with other settings.*" + re.escape(differing)):
        chimeramix_jax.train_and_evaluate(requested, run)
    Workdir(run).claim(requested)
    with pytest.raises(InputError, match=r"whatever config\.json says"):
        chimeramix_jax.train_and_evaluate(requested, run, stage="evaluate")


def test_a_run_whose_settings_were_lost_continues_with_its_own(settings, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "config.json").unlink()
    results = chimeramix_jax.train_and_evaluate(settings(), run)
    assert results["test"]["top1"] == json.loads((finished / "results.json").read_text())["test"]["top1"]


def test_more_labels_than_in_the_smallest_class_are_refused_and_the_directory_stays_unclaimed(run_here, tmp_path):
    code, _, errors = run_here(f"--workdir={tmp_path}", max_labels_per_class=1000)
    assert code == 2
    assert errors.count("\n") == 1 and "max_labels_per_class" in errors and "1000" in errors
    assert not (tmp_path / "config.json").exists()


def test_a_classifier_without_its_generator_is_refused(settings, tmp_path):
    with pytest.raises(InputError, match="--stage=generator"):
        chimeramix_jax.train_and_evaluate(settings(), tmp_path, stage="classifier")


def test_a_generator_for_an_experiment_that_does_not_mix_is_refused(settings, tmp_path):
    with pytest.raises(InputError, match="baseline"):
        chimeramix_jax.train_and_evaluate(settings("baseline"), tmp_path, stage="generator")


def test_a_learning_rate_that_leads_to_nan_ends_the_run_with_exit_code_3_and_without_results(run_here, tmp_path):
    changes = {"generator.learning_rate": 1e30, "checkpoint.every_seconds": 600.0}  # however slow the machine is
    code, output, errors = run_here(f"--workdir={tmp_path}", **changes)
    assert (code, output) == (3, "")
    assert "Traceback" not in errors
    last_line = errors.splitlines()[-1]
    assert last_line.startswith("chimeramix: generator: not finite in epoch 1, step 2: ") and "rollback" in last_line
    assert not (tmp_path / "results.json").exists() and not list(tmp_path.glob("generator/checkpoints/[0-9]*"))


@pytest.mark.parametrize(
    ("limit", "unwritten"),
    [(300, "config.json"), pytest.param(20_000, "generator/checkpoints/3", marks=pytest.mark.slow)],
)
def test_a_run_on_a_full_disk_names_the_file_in_one_line_with_exit_code_1(
    start_main, settings, tmp_path, monkeypatch, limit, unwritten
):
    config = settings()
    load_few_shot(config.dataset, config.max_labels_per_class, config.seed)  # prepares the data
    # Programs may be read from the compilation cache, but there is no room to add any.
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1e9")
    changes = {"checkpoint.every_seconds": 0.0, "evaluation.every_epochs": 100}
    process = start_main(f"--workdir={tmp_path}", "--stage=generator", **changes)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    output, errors = process.communicate(timeout=900)
    assert (process.returncode, output) == (1, ""), errors
    assert "Traceback" not in errors
    last_line = errors.splitlines()[-1]
    assert last_line.startswith(f"chimeramix: {tmp_path / unwritten}: cannot be written: File too large (")
    assert " needed, " in last_line and " free)" in last_line


@pytest.mark.slow
def test_a_run_in_bfloat16_keeps_its_parameters_in_float32_and_trains(settings, tmp_path):
    config = settings(precision="bfloat16", compare_with_baseline=False)
    results = chimeramix_jax.train_and_evaluate(config, tmp_path / "run")
    for network in (
        chimeramix_jax.restore_generator(tmp_path / "run"),
        chimeramix_jax.restore_classifier(tmp_path / "run"),
    ):
        leaves = jax.tree.leaves(nnx.state(network, nnx.Param))
        assert all(leaf.dtype == np.float32 and np.all(np.isfinite(leaf)) for leaf in leaves)
    for part, loss in (("generator", "reconstruction"), ("classifier", "loss")):
        lines = [json.loads(line) for line in (tmp_path / "run" / part / "metrics.jsonl").read_text().splitlines()]
        assert lines[-1][loss] < lines[0][loss]
    assert np.isfinite(results["test"]["loss"])


def test_names_that_are_not_utf_8_are_shown_in_the_report_and_the_card(photo_settings, tmp_path):
    photos = tmp_path / os.fsdecode(b"M\xfcller")
    random = np.random.default_rng(0)
    for number in range(40):  # ten classes, as the digits have, so that no other program has to be compiled
        place = photos / f"class-{number % 10}" / os.fsdecode(b"caf\xe9-%d.png" % number)
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(place)
    (photos / "class-0" / os.fsdecode(b"damaged-\xe9.png")).write_bytes(b"\x89PNG\r\n\x1a\n")
    config = photo_settings(photos, "baseline", **{"dataset.skip_unreadable": True, "classifier.epochs": 1})
    with pytest.warns(SkippedWarning, match="damaged"):
        chimeramix_jax.train_and_evaluate(config, tmp_path / "run")
    assert "M\\xfcller" in (tmp_path / "run" / "report.html").read_text()
    assert (tmp_path / "run" / "model_card.md").read_text()


def test_a_directory_that_is_not_utf_8_is_refused_before_anything_is_trained(settings, tmp_path):
    config = settings()
    with pytest.raises(InputError, match=r"^--workdir=.*Z\\xfcrich: .*Z\\xfcrich is not UTF-8"):
        chimeramix_jax.train_and_evaluate(config, tmp_path / os.fsdecode(b"Z\xfcrich"))
    config.dataset.data_dir = str(tmp_path / os.fsdecode(b"Z\xfcrich") / "data")
    with pytest.raises(InputError, match=r"^dataset.data_dir=.*is not UTF-8"):
        chimeramix_jax.train_and_evaluate(config, tmp_path / "run")
    assert not any(tmp_path.rglob("*"))
