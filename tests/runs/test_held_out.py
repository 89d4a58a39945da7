"""The list of held-out images by loss: its order, its file, and what a real run writes."""

import csv
import json

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import chimeramix_jax
from chimeramix_jax.augment.geometry import normalize
from chimeramix_jax.config import from_json
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.dataset import FewShotDataset, LabelledImages
from chimeramix_jax.models.layers import mean_over_pixels
from chimeramix_jax.runs.held_out import HeldOutPredictions, write_table
from chimeramix_jax.runs.nearest import Neighbours


def predictions(losses, predicted, labels):
    shares = np.exp(-np.asarray(losses, np.float64))
    nearest = Neighbours(np.array([[1, 0]] * len(labels)), np.full((len(labels), 2), 0.5, np.float32))
    return HeldOutPredictions(
        np.array(labels), np.array(predicted), 1 - shares, shares, np.array(losses, np.float64), nearest, {}
    )


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_images_are_listed_by_falling_loss_and_undefined_losses_first():
    listed = predictions([0.5, 3.0, float("nan"), 0.5], [0, 1, 1, 1], [0, 0, 1, 0])
    assert listed.by_loss().tolist() == [2, 1, 0, 3]
    assert listed.mistakes().tolist() == [1, 3]


def test_the_table_has_a_line_per_image_with_names_of_files(tmp_path):
    def images(*names):
        return LabelledImages(np.zeros((2, 8, 8, 3), np.uint8), np.arange(2, dtype=np.int32), names)

    train, held_out = images("cat/1.jpg", "dog/\udcff.jpg"), images("cat/a,\r b.jpg", "dog/c.jpg")
    dataset = FewShotDataset("image_folder", ("cat", "dog"), train, np.arange(2), held_out)
    write_table(tmp_path / "held_out.csv", predictions([0.25, 2.0], [0, 0], [0, 1]), dataset)
    first, second = rows(tmp_path / "held_out.csv")
    assert (first["image"], first["true_class"], first["predicted_class"]) == ("dog/c.jpg", "dog", "cat")
    assert (second["image"], second["true_class"], second["predicted_class"]) == ("cat/a,\r b.jpg", "cat", "cat")
    assert float(first["loss"]) == 2 and float(first["probability_of_true_class"]) == pytest.approx(
        np.exp(-2), rel=1e-5
    )
    assert (first["nearest_1"], first["nearest_1_class"], first["nearest_1_similarity"]) == (
        r"dog/\xff.jpg",
        "dog",
        "0.5000",
    )
    assert first["nearest_2"] == "cat/1.jpg"


def test_a_run_lists_every_held_out_image_with_the_figures_of_its_results(trained_run):
    listed = rows(trained_run / "held_out.csv")
    results = json.loads((trained_run / "results.json").read_text())
    assert sorted(row["image"] for row in listed) == [f"test_{number:05}" for number in range(697)]
    losses = [float(row["loss"]) for row in listed]
    assert losses == sorted(losses, reverse=True)
    assert np.mean(losses) == pytest.approx(results["test"]["loss"], rel=1e-4)
    confusion = np.zeros((10, 10), int)
    for row in listed:
        confusion[int(row["true_class"]), int(row["predicted_class"])] += 1
    assert confusion.tolist() == results["test"]["confusion"]
    report = (trained_run / "report.html").read_text()
    mistakes = [row for row in listed if row["true_class"] != row["predicted_class"]]
    assert f"The 20 of\n{len(mistakes)} misclassified images" in report
    assert mistakes[0]["image"] in report and mistakes[20]["image"] not in report


def test_the_nearest_training_images_have_the_largest_cosine_of_the_classifiers_features(trained_run):
    config = from_json((trained_run / "config.json").read_text())
    dataset = load_few_shot(config.dataset, config.max_labels_per_class, config.seed)
    listed = {row["image"]: row for row in rows(trained_run / "held_out.csv")}
    pixels = np.concatenate([dataset.held_out.images[:5], dataset.train.images])  # the digits need no resizing

    @nnx.jit
    def features(network, images):
        return mean_over_pixels(network.feature_maps(normalize(images)))

    vectors = np.array(features(chimeramix_jax.restore_classifier(trained_run), jnp.asarray(pixels)))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for name, cosines in zip(dataset.held_out.names[:5], vectors[:5] @ vectors[5:].T, strict=True):
        row, order = listed[name], np.argsort(-cosines)
        assert [row[f"nearest_{place}"] for place in (1, 2, 3)] == [dataset.train.names[index] for index in order[:3]]
        assert row["nearest_1_class"] == str(dataset.train.labels[order[0]])
        assert float(row["nearest_1_similarity"]) == pytest.approx(cosines[order[0]], abs=1e-3)
