"""Model cards: their metadata, their figures and their words."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from chimeramix_jax import files, report
from chimeramix_jax.config import load
from chimeramix_jax.config.experiments import EXPERIMENTS
from chimeramix_jax.data.dataset import FewShotDataset, LabelledImages
from chimeramix_jax.report.model_card import escaped
from chimeramix_jax.report.recipe import recipe_in_words
from chimeramix_jax.reporting import statistics
from chimeramix_jax.runs.workdir import Workdir
from chimeramix_jax.stored_format import marked
from tests.report import finished_run

NAMES = ("cat", "dog", "h\u00e9ron | <b>grey</b>")


def parts(workdir):
    """Returns the metadata of a card, and its text."""
    nothing, front, body = workdir.model_card.read_text(encoding="utf-8").split("---\n", 2)
    assert nothing == ""
    return front, body


def metric(front):
    (model,) = yaml.safe_load(front)["model-index"]
    (result,) = model["results"]
    (accuracy,) = result["metrics"]
    return result["dataset"], accuracy


def written(made):
    workdir, dataset, predictions = made
    report.write(workdir, dataset, predictions)
    return workdir, workdir.read_results(), *parts(workdir)


def test_the_metadata_of_a_run_are_what_the_hub_reads(trained_run):
    workdir = Workdir(trained_run)
    front, body = parts(workdir)
    metadata, results = yaml.safe_load(front), workdir.read_results()
    assert front.startswith("# license: ") and "license" not in metadata and "datasets" not in metadata
    assert (metadata["library_name"], metadata["pipeline_tag"]) == ("chimeramix_jax", "image-classification")
    assert metadata["metrics"] == ["accuracy"] and {"chimeramix", "few-shot"} <= set(metadata["tags"])
    dataset, accuracy = metric(front)
    assert dataset == {"type": "digits", "name": "digits", "split": "test"}
    assert accuracy["type"] == "accuracy" and accuracy["value"] == round(results["test"]["top1"], 3)
    assert str(trained_run.parent) not in front + body


def test_the_figures_are_those_of_the_results(trained_run):
    results, (_, body) = Workdir(trained_run).read_results(), parts(Workdir(trained_run))
    test = results["test"]
    right = round(test["top1"] * test["examples"])
    low, high = (statistics.percent(bound, 697) for bound in statistics.wilson_interval(right, 697))
    first = statistics.percent(test["top1"], 697)
    assert f"**{first}** ({right} of 697 test images are right; 95 % interval {low} to {high})." in body
    assert re.search(r"Guessing would be right 10% of the time\. (The model is clearly|There are too few test)", body)
    assert "trained from scratch on 20 labelled images, 2 of each class" in body
    baseline = statistics.percent(results["baseline"]["test"]["top1"], 697)
    assert f"The same network, trained without mixing, has {baseline} (interval" in body
    for digit, row in enumerate(np.asarray(test["confusion"])):
        share = statistics.percent(row[digit] / row.sum(), int(row.sum()))
        assert f"\n| {digit} | 2 | {row.sum()} | {share} | " in body
    assert f"`{results['data_sha256']['train']}`" in body and f"`{results['data_sha256']['held_out']}`" in body
    assert "training images per class: 2" in body  # as check.json says
    assert "\n# Image classifier for the data set digits\n" in body
    assert "chimeramix --stage=predict --workdir=model.zip --images=new-photos" in body
    assert 'pip install "chimeramix_jax[serve] @ ADDRESS"' in body and "<!-- Replace ADDRESS by" in body
    error = results["calibration"]["before"]["error"]
    assert f"\n| expected calibration error | {100 * error:.1f}% |\n" in body


def test_a_temperature_is_named_with_the_error_that_it_leaves(tmp_path):
    _, results, _, body = written(finished_run.make(tmp_path, ("cat", "dog")))
    found = results["calibration"]
    row = f"expected calibration error at a temperature of {found['temperature']:.2f}"
    assert f"\n| {row} | {100 * found['after']['error']:.1f}% |\n" in body


def test_names_of_own_classes_are_shown_literally_and_name_no_data_set(tmp_path):
    made = finished_run.make_of_photos(tmp_path / "run", tmp_path / "photos", classes=3, per_class=10, side=8)
    workdir, dataset, predictions = made
    _, _, front, body = written((workdir, dataclasses.replace(dataset, class_names=NAMES), predictions))
    metadata = yaml.safe_load(front)
    assert metadata["model-index"][0]["name"] == f"Image classifier for cat, dog and {NAMES[2]}"
    assert metric(front)[0] == {"type": "imagefolder", "name": "own images", "split": "test"}
    assert "datasets" not in metadata
    assert "# Image classifier for cat, dog and h\u00e9ron \\| \\<b\\>grey\\</b\\>\n" in body
    rows = [line for line in body.splitlines() if line.startswith("| h\u00e9ron \\| ")]
    assert len(rows) == 1 and len(re.findall(r"(?<!\\)\|", rows[0])) == 6
    assert "The images are the author's own." in body and "a part of each class was held out" in body
    assert str(tmp_path) not in front + body


def test_a_card_of_folds_says_that_there_are_no_test_images(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", NAMES, baseline=False)
    results = workdir.read_results()
    folds = results.pop("test") | {"expected_accuracy": 0.5, "optimism": 0.021, "interval": [0.4, 0.6]}
    folds |= {"folds": 5, "repeats": 1, "predictions": 60, "runs": [{"workdir": "a", "top1": 0.5, "examples": 12}] * 5}
    digests = {"data_sha256": {"train": "1f", "held_out": "2e"}}
    files.write_json(workdir.results, marked(results | digests | {"folds": folds}))
    _, _, front, body = written((workdir, dataset, predictions))
    dataset, accuracy = metric(front)
    assert (dataset["split"], accuracy) == (
        "train",
        {"type": "accuracy", "value": 0.5, "name": "Expected accuracy by folds"},
    )
    assert "The model is expected to classify **50%** of new images correctly (95 % interval " in body
    assert "There are no test images." in body and "`1f`" in body and "`2e`" not in body
    assert "| class | training images | predicted images |" in body


def test_a_card_does_not_claim_folds_that_there_was_no_time_for(tmp_path):
    workdir, dataset, predictions = finished_run.make(tmp_path / "run", NAMES, baseline=False)
    results = workdir.read_results()
    folds = results.pop("test") | {"examples": 24, "expected_accuracy": 0.5, "optimism": 0.0, "interval": [0.4, 0.6]}
    folds |= {"folds": 5, "repeats": 1, "predictions": 24, "runs": [{"workdir": "a", "top1": 0.5, "examples": 12}] * 2}
    files.write_json(workdir.results, marked(results | {"folds": folds}))
    *_, body = written((workdir, dataset, predictions))
    text = " ".join(body.split())
    assert "divided into 5 folds, and there was time for 2 of them: 24 images were each predicted by a model" in text
    assert "the published model was trained on all 15." in text and "The 24 training images" not in text


def test_a_data_set_of_the_hub_is_linked(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), np.uint8)
    images = LabelledImages(pixels, np.arange(6, dtype=np.int32) % 3, tuple("abcdef"))
    data = FewShotDataset("cifar10", NAMES, images, np.arange(6), images)
    _, _, front, body = written(finished_run.of_data(tmp_path / "run", data, 2))
    assert yaml.safe_load(front)["datasets"] == ["uoft-cs/cifar10"]
    assert metric(front)[0]["type"] == "uoft-cs/cifar10" and "from the data set cifar10" in body


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_recipe_has_words(experiment):
    config = load(f"image_folder:{experiment}")
    text = " ".join(recipe_in_words(config))
    assert ("generator" in text) == (experiment.startswith(("chimeramix", "hydramix")))
    for word, named_by in (("TrivialAugment", "trivialaugment"), ("mixup", "mixup"), ("a square of 8x8", "cutout")):
        assert (word in text) == (named_by in experiment)
    assert "mirrored" in text and "None" not in text and f"{config.classifier.epochs} epochs" in text
    assert "grew during training: 16x16 pixels for 40% of the steps, 24x24 pixels for 30%" in text


def test_text_of_users_has_no_meaning_in_markdown():
    assert escaped("a*b_c\n# [x](y) `z` <i> $1") == r"a\*b\_c # \[x\](y) \`z\` \<i\> \$1"
    assert escaped("golden retriever (2)") == "golden retriever (2)"
    assert escaped(Path("a-b.c")) == "a-b.c"
