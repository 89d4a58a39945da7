"""Ensembles: trained in one run, resumed, and used as one classifier."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY
from flax import nnx
from photos import write_photos

import chimeramix_jax
from chimeramix_jax.augment.geometry import normalize
from chimeramix_jax.config import load
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.errors import InputError
from chimeramix_jax.models.class_activation import contrast_maps
from chimeramix_jax.models.ensemble import Ensemble
from chimeramix_jax.reporting.results import closing_text
from chimeramix_jax.runs.restore import TrainedClassifier
from chimeramix_jax.use.export import onnx_file
from chimeramix_jax.use.export.program import Program

MEMBERS = 2


@pytest.fixture(scope="module")
def config(data_dir):
    config = load("configs/digits.py:baseline")
    config.update_from_flattened_dict(TINY | {"dataset.data_dir": str(data_dir), "classifier.members": MEMBERS})
    return config


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """The directory of a finished run with two members, and what it returned."""
    workdir = tmp_path_factory.mktemp("members") / "run"
    return workdir, chimeramix_jax.train_and_evaluate(config, workdir)


@pytest.fixture(scope="module")
def members(finished):
    """The two networks, each restored from its own directory."""
    alone = [finished[0] / "classifier", finished[0] / "classifier" / "member-2"]
    return restore_each(alone)


def restore_each(directories):
    ensemble = TrainedClassifier.newest(directories[0]).network
    assert isinstance(ensemble, Ensemble) and len(ensemble.members) == len(directories)
    return list(ensemble.members)


@pytest.fixture(scope="module")
def held_out(config):
    return load_few_shot(config.dataset, config.max_labels_per_class, config.seed).held_out


def shares_of(networks, images):
    classify = nnx.jit(lambda network, images: network(images))
    return [np.asarray(jax.nn.softmax(classify(network, normalize(jnp.asarray(images))))) for network in networks]


def weights_of(network):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(network, nnx.Param, nnx.BatchStat))]


def same(one, other):
    pairs = zip(weights_of(one), weights_of(other), strict=True)
    return all(np.array_equal(left, right) for left, right in pairs)


def test_the_first_member_is_the_classifier_of_a_run_without_others_and_the_second_differs(members, trained_run):
    alone = chimeramix_jax.restore_classifier(trained_run, "baseline")  # of the same images and seed
    assert same(members[0], alone)
    assert not same(members[0], members[1])


def test_the_results_are_those_of_the_averaged_probabilities_beside_each_members(finished, members, held_out):
    workdir, returned = finished
    stored = json.loads((workdir / "results.json").read_text())
    shares = shares_of(members, held_out.images)
    average, rows = np.mean(shares, axis=0), np.arange(len(held_out.labels))
    np.testing.assert_allclose(stored["test"]["loss"], -np.log(average[rows, held_out.labels]).mean(), rtol=1e-4)
    assert stored["test"]["top1"] == np.mean(average.argmax(axis=1) == held_out.labels)
    expected = [np.mean(share.argmax(axis=1) == held_out.labels) for share in shares]
    assert stored["members"]["top1"] == expected and expected[0] != expected[1]
    assert sum(stored["members"]["seconds"]) == stored["seconds"]["classifier"]
    sentence = f"an ensemble of 2 networks, each of which alone has {np.mean(expected):.1%} on average ("
    assert f"baseline: {sentence}" in closing_text(returned)
    assert f"baseline is {sentence}" in (workdir / "report.html").read_text()
    assert "2 such networks were trained on the same images" in (workdir / "model_card.md").read_text()


def test_an_interrupted_ensemble_trains_only_what_is_missing_and_ends_the_same(
    finished, members, config, tmp_path, capsys
):
    workdir = shutil.copytree(finished[0], tmp_path / "run")
    for place in ("classifier/checkpoints", "classifier/metrics.jsonl", "results.json"):
        path = workdir / place
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(InputError, match="holds no"):
        chimeramix_jax.predict(workdir, np.zeros((8, 8, 3), np.uint8))
    capsys.readouterr()
    results = chimeramix_jax.train_and_evaluate(config, workdir)
    errors = capsys.readouterr().err
    assert "member 1 of 2" in errors and "member 2 of 2" not in errors
    assert results["test"]["loss"] == finished[1]["test"]["loss"]
    again = restore_each([workdir / "classifier", workdir / "classifier" / "member-2"])
    assert all(same(one, other) for one, other in zip(again, members, strict=True))


def test_predictions_exports_and_model_files_average_the_probabilities(finished, members, config, held_out, tmp_path):
    workdir, images = finished[0], held_out.images[:4]
    expected = np.mean(shares_of(members, images), axis=0)
    model, onnx = tmp_path / "model.zip", tmp_path / "model.onnx"
    chimeramix_jax.export(workdir, model)
    assert chimeramix_jax.export(workdir, onnx).agreement.images == len(held_out.labels)
    names = chimeramix_jax.class_names(workdir)
    for source in (workdir, model):
        for prediction, row in zip(chimeramix_jax.predict(source, images), expected, strict=True):
            shares = dict(zip(prediction.classes, prediction.probabilities, strict=True))
            np.testing.assert_allclose([shares[name] for name in names], row, rtol=1e-3)
    mixed = [images[0], load_few_shot(config.dataset, config.max_labels_per_class, config.seed).train.images[0]]
    for source in (workdir, model):
        assert [prediction.trained_on for prediction in chimeramix_jax.predict(source, mixed)] == [False, True]
    np.testing.assert_allclose(onnx_file.runner(onnx.read_bytes())(images), expected, atol=1e-5)
    program = Program(TrainedClassifier.newest(workdir / "classifier").in_float32(), [8], False, {})
    np.testing.assert_allclose(program.of_any_images(jnp.asarray(images)), expected, atol=1e-5)


def test_maps_are_the_means_of_the_members_maps(members, held_out):
    images, classes, rivals = normalize(jnp.asarray(held_out.images[:2])), jnp.array([1, 4]), jnp.array([2, 3])
    maps = [np.asarray(contrast_maps(member, images, classes, rivals)) for member in members]
    joint = contrast_maps(Ensemble(members), images, classes, rivals)
    np.testing.assert_allclose(joint, np.mean(maps, axis=0), atol=1e-5)
    assert np.abs(maps[0] - maps[1]).max() > 1e-2


def test_folds_measure_ensembles_and_their_members(photo_settings, tmp_path):
    write_photos(tmp_path / "photos")
    changes = {"folds": 2, "classifier.members": MEMBERS, "max_labels_per_class": None, "classifier.epochs": 1}
    config = photo_settings(tmp_path / "photos", "baseline", **changes)
    results = chimeramix_jax.train_and_evaluate(config, tmp_path / "run")
    by_fold = []
    for fold in ("fold-1-of-2", "fold-2-of-2"):
        stored = json.loads((tmp_path / "run" / "folds" / fold / "results.json").read_text())
        by_fold.append(stored["members"]["top1"])
    assert results["members"]["top1"] == results["folds"]["members_top1"]
    np.testing.assert_allclose(results["members"]["top1"], np.mean(by_fold, axis=0))
    assert results["calibration"]["temperature"] is not None
    assert (tmp_path / "run" / "classifier" / "member-2" / "checkpoints").is_dir()


def test_a_choice_of_the_recipe_refuses_ensembles(tmp_path, photo_settings):
    config = photo_settings(tmp_path, "baseline", **{"classifier.members": 2})
    config.experiment = "auto"
    with pytest.raises(InputError, match=r"classifier\.members: 2, but a choice of the recipe plans its time for one"):
        chimeramix_jax.choose_and_train(config, tmp_path / "run")
