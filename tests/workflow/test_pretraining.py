"""Contrastive pretraining: what the classifier takes from it, and that runs with it resume and are measured."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import TINY
from flax import nnx

import chimeramix_jax
from chimeramix_jax.config import load
from chimeramix_jax.data import load_few_shot
from chimeramix_jax.data.sampling import EpochPlan
from chimeramix_jax.errors import InputError
from chimeramix_jax.runs.out_of_fold import folder_of_fold
from chimeramix_jax.training import checkpoints
from chimeramix_jax.training.networks import build_classifier, update_all_but_head
from chimeramix_jax.training.pretraining import PretrainingStage
from chimeramix_jax.training.stage_data import StageData, load_stage_data


def settings(data_dir, experiment="baseline_simclr", **changes):
    config = load(f"configs/digits.py:{experiment}")
    config.update_from_flattened_dict(TINY | {"dataset.data_dir": str(data_dir)} | changes)
    return config


@pytest.fixture(scope="module")
def config(data_dir):
    return settings(data_dir)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    """The directory of a finished run, and what it returned."""
    workdir = tmp_path_factory.mktemp("pretraining") / "run"
    return workdir, chimeramix_jax.train_and_evaluate(config, workdir)


def weights(workdir, part="classifier"):
    network = chimeramix_jax.restore_classifier(workdir, part)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(nnx.state(network, nnx.Param, nnx.BatchStat))]


def losses(workdir):
    """The mean loss of every epoch of pretraining."""
    lines = (workdir / "pretraining" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def same(some, others):
    return all(np.array_equal(one, other) for one, other in zip(some, others, strict=True))


def test_it_is_a_stage_of_its_own_with_time_curves_and_a_sentence_in_the_report(finished):
    workdir, returned = finished
    lines = [json.loads(line) for line in (workdir / "pretraining" / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert {line["stage"] for line in lines} == {"pretraining"} and {"loss", "accuracy"} < lines[0].keys()
    seconds = returned["seconds"]
    assert seconds.keys() == {"pretraining", "classifier"} and seconds["pretraining"] > 0
    assert returned["summary"][0]["seconds"] == pytest.approx(sum(seconds.values()))
    assert "Curves of pretraining" in (workdir / "report.html").read_text()
    assert "recognise views of the same training image" in (workdir / "model_card.md").read_text()


def test_a_classifier_starts_from_the_pretrained_network_with_a_head_of_its_own(config):
    fresh, pretrained = (build_classifier(config, 10, nnx.Rngs(seed)) for seed in (0, 1))
    head = np.asarray(fresh.head.kernel[...])
    state = {"parameters": nnx.state(pretrained, nnx.Param), "batch_statistics": nnx.state(pretrained, nnx.BatchStat)}
    update_all_but_head(fresh, state)
    np.testing.assert_array_equal(fresh.head.kernel[...], head)
    pretrained.head = fresh.head
    assert jax.tree.all(jax.tree.map(np.array_equal, nnx.state(fresh), nnx.state(pretrained)))


def test_pretraining_changes_the_classifier_and_one_that_is_resumed_ends_the_same(
    finished, config, trained_run, tmp_path
):
    workdir, _ = finished
    assert not same(weights(workdir), weights(trained_run, "baseline"))  # of the same images and seed

    again = tmp_path / "again"  # as if it had been killed after pretraining
    shutil.copytree(workdir, again)
    shutil.rmtree(again / "classifier")
    (again / "results.json").unlink()
    chimeramix_jax.train_and_evaluate(config, again)
    assert same(weights(workdir), weights(again))


def test_a_finished_run_is_measured_and_predicts_without_the_files_of_pretraining(finished, config, tmp_path):
    workdir, returned = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    shutil.rmtree(copy / "pretraining")
    measured = chimeramix_jax.train_and_evaluate(config, copy, stage="evaluate")
    assert (measured["test"]["top1"], measured["test"]["loss"]) == (returned["test"]["top1"], returned["test"]["loss"])
    chimeramix_jax.train_and_evaluate(config, copy)
    assert not (copy / "pretraining").exists()  # nothing was left to train


def test_retraining_the_classifier_pretrains_again_and_keeps_the_old_files(finished, config, tmp_path):
    workdir, _ = finished
    copy = tmp_path / "copy"
    shutil.copytree(workdir, copy)
    chimeramix_jax.train_and_evaluate(config, copy, stage="classifier", retrain=True)
    assert (copy / "pretraining.replaced-1").is_dir() and (copy / "pretraining").is_dir()
    assert same(weights(workdir), weights(copy))


def test_the_loss_falls_and_labels_play_no_part(config):
    config = config.copy_and_resolve_references()
    config.pretraining.epochs, config.pretraining.learning_rate, config.classifier.dropout_rate = 150, 0.003, 0.0
    dataset = load_few_shot(config.dataset, config.max_labels_per_class, config.seed)
    states, stages, indices = [], [], jnp.arange(20)

    @jax.jit  # once for both, which differ only in their inputs
    def step(state, inputs, key):
        return stages[0].train_step(state, inputs, indices, None, key, key)

    for labels in (dataset.train.labels, dataset.train.labels[::-1].copy()):
        data = load_stage_data(config, "classifier", dataset.train.images, labels, 10)
        stage = PretrainingStage(config, StageData(data.images, data.augmentation, EpochPlan(20, 1, 20)), 10)
        stages.append(stage)
        state, losses = jax.jit(stage.initial_state)(jax.random.key(0)), []
        for number in range(150):
            state, metrics = step(state, stage.inputs, jax.random.key(number))
            losses.append(float(metrics["loss"]))
        assert np.mean(losses[-10:]) < np.log(39) - 0.2  # the loss if all views look the same
        states.append(jax.tree.leaves(state["parameters"]))
    assert same(*states)


def test_copies_of_an_image_are_not_told_apart(config):
    """A fold's run may have an image twice, at different positions."""
    dataset = load_few_shot(config.dataset, 2, config.seed)
    images, labels = (np.concatenate([array, array[:3]]) for array in (dataset.train.images, dataset.train.labels))
    data = load_stage_data(config, "classifier", images, labels, 10)
    assert PretrainingStage(config, data, 10).inputs.numbers.tolist() == [*range(20), 0, 1, 2]


def test_the_learning_rate_rises_for_a_twentieth_of_the_steps_and_falls_to_0(config, data_dir):
    config = settings(data_dir, **{"pretraining.epochs": 200, "pretraining.learning_rate": 0.1})
    dataset = load_few_shot(config.dataset, config.max_labels_per_class, config.seed)
    data = load_stage_data(config, "classifier", dataset.train.images, dataset.train.labels, 10)
    stage = PretrainingStage(config, StageData(data.images, data.augmentation, EpochPlan(20, 1, 20)), 10)
    rates = np.array([stage.learning_rate(step) for step in range(200)])
    assert rates.argmax() == 10 and rates.max() == pytest.approx(0.1)
    assert np.all(np.diff(rates[:11]) > 0) and np.all(np.diff(rates[10:]) < 0) and rates[-1] < 1e-4


def test_a_choice_of_the_recipe_refuses_it_because_it_plans_no_time_for_it(data_dir):
    for changes, named in (
        ({"recipes": "baseline,baseline_simclr"}, "recipes: 'baseline_simclr', but neither the choice"),
        ({"pretraining.method": "simclr"}, "pretraining.method: 'simclr', but neither the choice"),
    ):
        with pytest.raises(InputError, match=named):
            chimeramix_jax.choose_and_train(settings(data_dir, "auto", **changes), "unused")


@pytest.mark.slow
def test_seeds_that_are_trained_in_one_program_pretrain_together_and_end_as_alone(finished, config, tmp_path):
    both = config.copy_and_resolve_references()
    both.seeds, both.seeds_per_call = "0,1", 2
    chimeramix_jax.train_and_evaluate_seeds(both, tmp_path / "seed-{seed}")
    alone, together, other = (losses(place) for place in (finished[0], tmp_path / "seed-0", tmp_path / "seed-1"))
    np.testing.assert_allclose(together[:2], alone[:2], rtol=2e-3)  # sums are rounded otherwise in every step
    assert not np.allclose(other[:2], alone[:2], rtol=2e-3)
    assert not same(weights(tmp_path / "seed-0"), weights(tmp_path / "seed-1"))


@pytest.mark.slow
def test_every_fold_is_pretrained_without_its_own_images(data_dir, tmp_path):
    folds = settings(data_dir, folds=2)
    returned = chimeramix_jax.train_and_evaluate(folds, tmp_path)
    assert returned["folds"]["folds"] == 2
    for fold in (1, 2):
        about = checkpoints.newest(tmp_path / "folds" / folder_of_fold(folds, fold) / "pretraining")
        assert len(about["train_indices"]) == 10 and about["epoch"] == 5
